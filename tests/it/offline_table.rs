//! BC, MARWIL, CQL, discrete CQL, IQL, discrete IQL and TD3+BC from recorded data in every modality: each cell of the
//! table trains, or is refused at build with what to do instead.

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::offline::OfflineData;
use rekindle::prelude::*;
use rekindle::rl_module::SoftActorCritic;
use serde_json::{Value, json};

use crate::replay_table::register_environments;
use crate::support::device;

/// What a cell of the table does.
#[derive(Clone, Copy)]
enum Cell {
    /// It trains.
    Trains,
    /// It is refused at build, with this in the message.
    Refused(&'static str),
}

use Cell::{Refused, Trains};

const NO_MASK: Cell = Refused("masks the actions of a Discrete space, and a Box has none");
const CQL_MEMORY: Cell = Refused("CQL samples actions for single rows");
const IQL_MEMORY: Cell = Refused("the value function has no memory");

#[rustfmt::skip]
const TABLE: [(&str, [Cell; 7]); 7] = [
    // algorithm       mask     LSTM        Dict    image   two     bundle  resume
    ("BC",           [Trains,  Trains,     Trains, Trains, Trains, Trains, Trains]),
    ("MARWIL",       [Trains,  Trains,     Trains, Trains, Trains, Trains, Trains]),
    ("CQL",          [NO_MASK, CQL_MEMORY, Trains, Trains, Trains, Trains, Trains]),
    ("discrete CQL", [Trains,  CQL_MEMORY, Trains, Trains, Trains, Trains, Trains]),
    ("IQL",          [NO_MASK, IQL_MEMORY, Trains, Trains, Trains, Trains, Trains]),
    ("discrete IQL", [Trains,  IQL_MEMORY, Trains, Trains, Trains, Trains, Trains]),
    ("TD3+BC",       [NO_MASK, Trains,     Trains, Trains, Trains, Trains, Trains]),
];

const MODALITIES: [&str; 7] = ["mask", "LSTM", "Dict", "image", "two modules", "bundle", "resume"];

/// An algorithm, with what its cells need.
struct Case<T: TrainingConfig> {
    name: &'static str,
    config: AlgorithmConfig<T>,
    is_discrete: bool,
    /// The prefixes of the weights that learn, and those that follow.
    learns: &'static [&'static str],
}

#[test]
fn bc_in_every_modality() {
    let config = BcConfig::new().training(|t| t.train_batch_size(12).lr(1e-3));
    check(&Case { name: "BC", config, is_discrete: true, learns: &["pi"] });
}

#[test]
fn marwil_in_every_modality() {
    let config = MarwilConfig::new().training(|t| t.train_batch_size(12).lr(1e-3).lambda_(0.9));
    check(&Case { name: "MARWIL", config, is_discrete: true, learns: &["pi", "vf"] });
}

const OF_CQL: &[&str] = &["encoder", "pi", "qf", "target_qf"];

#[test]
fn cql_in_every_modality() {
    let config = CqlConfig::new().training(|t| {
        t.train_batch_size(12).num_actions(2).bc_iters(4).lagrangian(true).calibrated(true)
    });
    check(&Case { name: "CQL", config, is_discrete: false, learns: OF_CQL });
}

#[test]
fn discrete_cql_in_every_modality() {
    let config = CqlConfig::new().training(|t| t.train_batch_size(12).bc_iters(4).n_step(1..=2));
    check(&Case { name: "discrete CQL", config, is_discrete: true, learns: OF_CQL });
}

const OF_IQL: &[&str] = &["encoder", "pi", "qf", "target_qf", "vf"];

#[test]
fn iql_in_every_modality() {
    let config = IqlConfig::new().training(|t| t.train_batch_size(12).tau(0.5).n_step(1..=2));
    check(&Case { name: "IQL", config, is_discrete: false, learns: OF_IQL });
}

#[test]
fn discrete_iql_in_every_modality() {
    let config = IqlConfig::new().training(|t| t.train_batch_size(12).tau(0.5));
    check(&Case { name: "discrete IQL", config, is_discrete: true, learns: OF_IQL });
}

#[test]
fn td3_bc_in_every_modality() {
    let config = Td3BcConfig::new().training(|t| t.train_batch_size(12).tau(0.5));
    let learns = &["encoder", "pi", "qf", "target_encoder", "target_pi", "target_qf"];
    check(&Case { name: "TD3+BC", config, is_discrete: false, learns });
}

/// The environment and the model config of a modality.
fn setting(modality: &str, is_discrete: bool) -> (&'static str, Vec<(&'static str, Value)>) {
    let choose = |discrete, boxed| if is_discrete { discrete } else { boxed };
    let narrow = ("fcnet_hiddens", json!([8]));
    match modality {
        "mask" => (choose("Table/Masked-v0", "Table/MaskedBox-v0"), vec![narrow]),
        "LSTM" => (
            choose("StatelessCartPole-v1", "Pendulum-v1"),
            vec![
                narrow,
                ("use_lstm", json!(true)),
                ("lstm_cell_size", json!(6)),
                ("max_seq_len", json!(4)),
            ],
        ),
        "Dict" => (
            choose("Table/Dict-v0", "Table/DictBox-v0"),
            vec![narrow, ("fusionnet_hiddens", json!([8]))],
        ),
        "image" => (
            choose("Table/Image-v0", "Table/ImageBox-v0"),
            vec![("conv_filters", json!([[4, 3, 2], [8, 3, 2]]))],
        ),
        "two modules" => (choose("MultiAgentCartPole-v1", "MultiAgentPendulum-v1"), vec![narrow]),
        _ => (choose("CartPole-v1", "Pendulum-v1"), vec![narrow]),
    }
}

/// Records random steps of every agent. A module with memory records its states.
pub(crate) fn recorded(env: &str, modality: &str, model: &[(&'static str, Value)]) -> OfflineData {
    let mut config = EnvRunnerConfig::new(env).num_envs(4).seed(1);
    if modality == "two modules" {
        let agents = MultiAgentConfig::default().policies(["0", "1"].map(String::from));
        config = config
            .env_config(EnvConfig::new().with("num_agents", 2))
            .multi_agent(Some(agents.policy_mapping(PolicyMapping::ByAgent)));
    }
    let mut runners = EnvRunnerGroup::new(&config, 1, 1, &device()).unwrap();
    let spaces = runners.module_spaces();
    let model: serde_json::Map<_, _> =
        model.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
    let specs = spaces.iter().map(|(id, (observations, actions))| {
        let spec = RLModuleSpec::of::<SoftActorCritic>()
            .observation_space(observations.clone())
            .action_space(actions.clone())
            .model_config(Value::Object(model.clone()));
        (id.clone(), spec)
    });
    let module = MultiRLModuleSpec::new(specs).build(&device(), 0).unwrap();
    runners.set_modules(&module, PublishedAt::new(0, 0)).unwrap();
    let experience = runners.sample_timesteps(160, SampleOptions::random()).unwrap();
    let mut data = OfflineData::of_modules(spaces);
    data.push(&experience.rollouts).unwrap();
    data
}

/// Checks all cells of an algorithm, without an environment except for the bundle.
fn check<T: TrainingConfig>(case: &Case<T>) {
    register_environments();
    let (_, cells) = TABLE.iter().find(|(name, _)| *name == case.name).unwrap();
    for (modality, cell) in MODALITIES.into_iter().zip(cells) {
        let name = format!("{} × {modality}", case.name);
        let (env, model) = setting(modality, case.is_discrete);
        let cannot_record = matches!(cell, Refused(message) if message.contains("masks"));
        let data = match cannot_record {
            // The recording module would be refused for the same reason.
            true => {
                let env = make(env).unwrap();
                OfflineData::new(env.observation_space().clone(), env.action_space().clone())
            }
            false => recorded(env, modality, &model),
        };
        let mut config = case
            .config
            .clone()
            .offline_source(data)
            .offline_data(|o| o.dataset_num_iters_per_learner(4).buffer_steps(100))
            .seed(3);
        for (field, value) in model {
            config = config.model(field, value);
        }
        match (cell, modality) {
            (Refused(expected), _) => {
                let message = config.build(&device()).unwrap_err().to_string();
                assert!(message.contains(expected), "{name}: {message}");
            }
            (Trains, "bundle") => {
                trains(&name, case, &config);
                acts(&name, &config.environment(env));
            }
            (Trains, "resume" | "LSTM") => {
                trains(&name, case, &config);
                resumes(&name, &config);
            }
            (Trains, _) => trains(&name, case, &config),
        }
    }
}

const ITERATIONS: usize = 3;

/// Trains, and checks that all numbers of the losses are finite.
fn train(name: &str, algo: &mut Algorithm) {
    for _ in 0..ITERATIONS {
        let result = algo.train().unwrap();
        for (key, value) in result.iter().filter(|(key, _)| key.starts_with("learners/")) {
            assert!(value.is_finite(), "{name}: {key} is {value}");
            assert!(!key.contains("num_non_finite"), "{name}: {key} is {value}");
        }
    }
}

fn trains<T: TrainingConfig>(name: &str, case: &Case<T>, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let ids: Vec<_> = algo.learner().module().keys().cloned().collect();
    let weights = |algo: &Algorithm, id: &str| algo.module(id).unwrap().state_dict().unwrap();
    let before: Vec<_> = ids.iter().map(|id| weights(&algo, id)).collect();
    train(name, &mut algo);
    assert_eq!(ids.len(), if name.ends_with("two modules") { 2 } else { 1 }, "{name}");
    for (id, before) in ids.iter().zip(before) {
        let after = weights(&algo, id);
        for prefix in case.learns {
            let of = |weight: &&String| {
                weight.starts_with(&format!("{prefix}.")) && weight.ends_with("weight")
            };
            let all: Vec<_> = after.keys().filter(of).collect();
            let moved = all.iter().filter(|weight| after[**weight] != before[**weight]).count();
            assert!(!all.is_empty() && moved == all.len(), "{name}: {prefix} of {id}: {all:?}");
        }
    }
    // Steps learned from: 4 minibatches an iteration, or whole episodes.
    assert!(algo.env_steps() >= (ITERATIONS * 4 * 12) as u64, "{name}: {}", algo.env_steps());
}

/// A bundle on disk acts in the environment as an evaluation does.
fn acts<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    train(name, &mut algo);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    let policy = PolicyBundle::from_checkpoint(&path, &device()).unwrap();
    let env = config.environment.env.as_deref().unwrap();
    let (runner, options) = (EnvRunnerConfig::new(env), SampleOptions::default().explore(false));
    let played = evaluate_policy(&policy, &runner, 8, options, &device()).unwrap();
    assert_eq!((played.returns.len(), algo.evaluate().unwrap().returns.len()), (8, 10), "{name}");
}

/// N and N iterations are 2N, bit for bit, and other data are refused.
fn resumes<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    train(name, &mut straight);
    straight.save_to_path(&path).unwrap();
    let missing = Algorithm::from_checkpoint::<T>(&path, &device()).unwrap_err().to_string();
    assert!(missing.contains("config.offline_source(…)"), "{name}: {missing}");
    let again = |_: AlgorithmConfig<T>| config.clone();
    let mut resumed = Algorithm::from_checkpoint_with::<T>(&path, &device(), again).unwrap();
    for algo in [&mut straight, &mut resumed] {
        train(name, algo);
    }
    let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
    for component in ["learner", "env_runners", "execution_plan"] {
        let of = |state: &State| state.component(component).ok().cloned();
        assert!(of(&straight) == of(&resumed), "{name}: {component}");
    }
}
