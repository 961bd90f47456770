//! Learner connectors: transforms of experience before losses see it.

use std::sync::{Arc, Once};

use rekindle::algorithms::AlgorithmError;
use rekindle::algorithms::a2c::A2cLoss;
use rekindle::learner::{LearnerError, Result as LearnerResult};
use rekindle::prelude::*;
use serde_json::{Value, json};

use crate::support::{data, device, experience, rollout, saved, weights};

#[path = "../../examples/curiosity.rs"]
#[allow(dead_code, reason = "the example has a `main`")]
mod example;

/// Adds 1 to every reward, and counts the rows.
#[derive(Debug)]
struct OneMore {
    rows: u64,
}

impl LearnerConnector for OneMore {
    fn transform(
        &mut self,
        _: &PrepareContext<'_>,
        mut data: TrainData,
    ) -> LearnerResult<TrainData> {
        self.rows += data.rows() as u64;
        let more = data.as_f32(Columns::REWARDS)?.iter().map(|reward| reward + 1.0).collect();
        data.insert_f32(Columns::REWARDS, more)?;
        Ok(data)
    }

    fn get_state(&self) -> LearnerResult<State> {
        Ok(State::from_data(&self.rows)?)
    }

    fn set_state(&mut self, state: &State) -> LearnerResult<()> {
        self.rows = state.data_as()?;
        Ok(())
    }
}

/// Breaks what its settings say.
#[derive(Debug)]
struct Broken(String);

impl LearnerConnector for Broken {
    fn transform(
        &mut self,
        _: &PrepareContext<'_>,
        mut data: TrainData,
    ) -> LearnerResult<TrainData> {
        match self.0.as_str() {
            "rows" => {
                let mut columns = rekindle::core::HostBatch::new();
                for (name, column) in data.host()?.iter() {
                    columns.insert(name.to_owned(), column.slice(0..data.rows() - 1)?)?;
                }
                return Ok(columns.into());
            }
            "segments" => {
                Arc::make_mut(&mut data.segments).pop();
            }
            "column" => {
                data.insert_f32("bonus", vec![0.0])?;
            }
            "panic" => panic!("no bonus today"),
            _ => {
                data.as_f32("gold")?;
            }
        }
        Ok(data)
    }

    fn get_state(&self) -> LearnerResult<State> {
        Ok(State::new())
    }
}

fn register_all() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        example::register_all().unwrap();
        register_learner_connector("OneMore", |_| Ok(Box::new(OneMore { rows: 0 })));
        register_learner_connector("Broken", |config: &Value| {
            let what = config.as_str().ok_or_else(|| LearnerError::custom("what is broken?"))?;
            Ok(Box::new(Broken(what.into())))
        });
    });
}

fn one_more() -> LearnerConnectorConfig {
    LearnerConnectorConfig::new("OneMore", Value::Null)
}

fn a2c(connectors: Vec<LearnerConnectorConfig>) -> Learner {
    register_all();
    let module = RLModuleSpec::default()
        .observation_space(Space::boxed(-10.0, 10.0, &[1]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .build_seeded(&device(), Generator::from_seed(0))
        .unwrap();
    let training = A2cTraining::default().gamma(0.5).lambda_(1.0);
    let new_loss = move |_: &str| -> Box<dyn Loss> { Box::new(A2cLoss::new(training.clone())) };
    let config = LearnerConfig::default().connectors(connectors);
    Learner::new(config, new_loss, module.as_multi_rl_module().unwrap(), &device()).unwrap()
}

#[test]
fn advantages_and_value_targets_include_what_a_connector_adds_to_rewards() {
    let observations = Buffer::from_f32(vec![0.0, 1.0, 2.0], &[1]).unwrap();
    let rollouts =
        data(&[("default_policy", vec![rollout(observations, vec![0, 1, 0], vec![0.0; 3])])]);
    let prepared = |mut learner: Learner| {
        let data = learner.gather(&rollouts).unwrap();
        learner.prepare(data, 0).unwrap().remove("default_policy").unwrap()
    };
    let [plain, more] = [vec![], vec![one_more()]].map(|connectors| prepared(a2c(connectors)));
    assert_eq!(more.as_f32(Columns::REWARDS).unwrap(), [1.0; 3]);
    for column in [Columns::ADVANTAGES, Columns::VALUE_TARGETS] {
        let [plain, more] = [&plain, &more].map(|data| data.as_f32(column).unwrap().to_vec());
        let bonus: Vec<f32> = more.iter().zip(plain).map(|(more, plain)| more - plain).collect();
        // 1 + 0.5·(1 + 0.5·1) and so on.
        let expected = [1.75, 1.5, 1.0];
        assert!(
            bonus.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{column}: {bonus:?}"
        );
    }
}

#[test]
fn a_module_that_learns_from_a_batch_by_itself_sees_what_connectors_changed() {
    register_all();
    let learned = |connectors| {
        let spec = RLModuleSpec::of::<crate::policy_from_scratch::example::RandomPolicy>()
            .observation_space(Space::discrete(4).unwrap())
            .action_space(Space::discrete(2).unwrap());
        let module = spec.build(&device()).unwrap().as_multi_rl_module().unwrap();
        let config = LearnerConfig::default().connectors(connectors);
        let new_loss =
            |_: &str| -> Box<dyn Loss> { Box::new(A2cLoss::new(A2cTraining::default())) };
        let mut learner = Learner::new(config, new_loss, module, &device()).unwrap();
        let rows = experience(&Space::discrete(4).unwrap(), 2, 8, 0);
        learner.update(&data(&[("default_policy", rows)]), 0).unwrap();
        weights(&learner, "default_policy")["w"].as_slice::<f64>().unwrap()[0]
    };
    // The weight begins at 1 and moves towards rewards of 0.5, or of 1.5.
    assert!(learned(vec![]) < 1.0);
    assert!(learned(vec![one_more()]) > 1.0);
}

#[test]
fn n_plus_n_iterations_equal_2n_with_curiosity() {
    register_all();
    let mut straight = example::curious(3).build(&device()).unwrap();
    let counts = |algo: &Algorithm| {
        let path = "learner/connectors/default_policy/Curiosity";
        algo.get_state().unwrap().component(path).unwrap().data.clone()
    };
    // The dry run tried another instance.
    assert_eq!(counts(&straight), json!({"observations": [], "counts": []}));
    straight.train().unwrap();
    let half = counts(&straight);
    let seen = half["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap());
    assert_eq!(seen.sum::<u64>(), 1024);
    let folder = tempfile::tempdir().unwrap();
    straight.save_to_path(folder.path().join("half")).unwrap();
    straight.train().unwrap();
    let mut resumed =
        Algorithm::from_checkpoint::<PpoTraining>(folder.path().join("half"), &device()).unwrap();
    assert_eq!(counts(&resumed), half);
    resumed.train().unwrap();
    for component in ["learner", "env_runners"] {
        let [a, b] = [&straight, &resumed].map(|algo| algo.get_state().unwrap());
        assert_eq!(a.components[component], b.components[component], "{component}");
    }
}

#[test]
fn checkpoints_name_connectors_and_are_refused_without_them() {
    register_all();
    let algo = example::curious(0).build(&device()).unwrap();
    let mut state = algo.get_state().unwrap();
    let (_folder, path) = saved(&state);
    let without = |mut config: PpoConfig| {
        config.learners.learner_connector.clear();
        config
    };
    let error = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), without);
    let error = error.unwrap_err().to_string();
    assert!(error.contains(r#"{"Curiosity"} there and {} here"#), "{error}");
    assert!(error.contains("`learners.learner_connector`"), "{error}");

    state.data["config"]["learners"]["learner_connector"][0]["name"] = json!("Lost");
    let (_folder, path) = saved(&state);
    let error = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap_err();
    assert!(
        matches!(&error, AlgorithmError::Learner(LearnerError::UnregisteredConnector { name, .. }) if name == "Lost"),
        "{error}"
    );
    let error = error.to_string();
    assert!(error.contains(r#"call `register_learner_connector("Lost", …)`"#), "{error}");
    assert!(error.contains("Curiosity"), "{error}");
}

#[test]
fn a_failed_restore_leaves_connectors_as_they_were() {
    let connectors = || vec![one_more()];
    let mut source = a2c(connectors());
    let rows = experience(&Space::boxed(-10.0, 10.0, &[1]).unwrap(), 2, 8, 0);
    source.update(&data(&[("default_policy", rows)]), 0).unwrap();
    let mut state = source.get_state().unwrap();
    let mut target = a2c(connectors());
    let before = target.get_state().unwrap();
    let of_connectors = state.components.get_mut("connectors").unwrap();
    let of_module = of_connectors.components.get_mut("default_policy").unwrap();
    of_module.insert_component("OneMore", State::from_data("eight").unwrap());
    target.set_state(&state).unwrap_err();
    assert!(target.get_state().unwrap() == before);
    target.set_state(&source.get_state().unwrap()).unwrap();
    assert!(target.get_state().unwrap() == source.get_state().unwrap());
}

#[test]
fn mistakes_of_connectors_surface_when_the_algorithm_is_built() {
    register_all();
    let message = |connectors: Vec<LearnerConnectorConfig>| {
        let mut config = PpoConfig::new().environment("CartPole-v1");
        config.learners.learner_connector = connectors;
        config.build(&device()).unwrap_err().to_string()
    };
    let broken = |what: &str| message(vec![LearnerConnectorConfig::new("Broken", what)]);
    let rows = broken("rows");
    assert!(
        rows.contains("`Broken` changed the rows of module `default_policy` from 8 to 7"),
        "{rows}"
    );
    assert!(broken("segments").contains("or their segments"), "{}", broken("segments"));
    let column = broken("column");
    assert!(column.contains("`bonus`") && column.contains('8') && column.contains('1'), "{column}");
    assert!(broken("gold").contains("column `gold`"), "{}", broken("gold"));
    let unknown = message(vec![LearnerConnectorConfig::new("OneMor", Value::Null)]);
    assert!(unknown.contains("connector `OneMor` is not registered"), "{unknown}");
    assert!(unknown.contains("Broken, Curiosity, OneMore"), "{unknown}");
    let settings = message(vec![LearnerConnectorConfig::new("Curiosity", json!({"scal": 1}))]);
    assert!(settings.contains("unknown field `scal`"), "{settings}");
    let twice = message(vec![one_more(), one_more()]);
    assert!(twice.contains("already has one of this name"), "{twice}");
    let folder = message(vec![LearnerConnectorConfig::new("one/more", Value::Null)]);
    assert!(folder.contains("`learner_connector.name`"), "{folder}");
    let module = message(vec![one_more().for_modules(["default_polcy"])]);
    assert!(module.contains("no module `default_polcy`"), "{module}");
    let nobody = message(vec![one_more().for_modules(Vec::<String>::new())]);
    assert!(nobody.contains("at least one module"), "{nobody}");
}

#[test]
fn connectors_belong_to_the_modules_that_they_name() {
    register_all();
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .learners(|l| l.learner_connector(one_more().for_modules(["1"])))
        .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
        .seed(0);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let connectors = |algo: &Algorithm| {
        algo.get_state()
            .unwrap()
            .component("learner")
            .unwrap()
            .components
            .get("connectors")
            .cloned()
    };
    let of = connectors(&algo).unwrap();
    assert_eq!(of.components.keys().collect::<Vec<_>>(), ["1"]);
    let rows = of.component("1/OneMore").unwrap().data.as_u64().unwrap();
    assert!(rows > 0 && rows <= 64, "{rows}");

    // A removed module takes its connectors with it.
    algo.remove_module("1", Some(PolicyMapping::All("0".into()))).unwrap();
    algo.train().unwrap();
    assert_eq!(connectors(&algo), None);
    assert!(algo.config().learners.learner_connector.is_empty());
    let (_folder, path) = saved(&algo.get_state().unwrap());
    Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
}

#[test]
fn a_panic_of_a_connector_is_an_error_that_names_connector_and_module() {
    let broken = LearnerConnectorConfig::new("Broken", json!("panic"));
    let mut learner = a2c(vec![broken]);
    let space = Space::boxed(-10.0, 10.0, &[1]).unwrap();
    let rows = data(&[(DEFAULT_MODULE_ID, experience(&space, 2, 5, 0))]);
    let error = learner.update(&rows, 0).unwrap_err();
    assert!(matches!(error, LearnerError::Panicked { .. }), "{error}");
    let message = error.to_string();
    for part in ["learner connector `Broken`", "`default_policy`", "no bonus today"] {
        assert!(message.contains(part), "{message}");
    }
}
