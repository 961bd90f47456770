//! Modules that learn from batches by themselves, alone and beside networks.

use std::sync::Once;

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AppoConfig, Asynchronous};
use rekindle::core::weights::LoadReport;
use rekindle::env_runner::SegmentEnd;
use rekindle::learner::ModuleRollouts;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::{data, device, learner, metrics, rollout, saved, weights};

#[path = "../../examples/policy_from_scratch.rs"]
#[allow(dead_code, reason = "the example has a `main`")]
pub(crate) mod example;

use example::{QTable, RandomPolicy};

pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| example::register_grid_worlds().unwrap());
}

fn component(algo: &Algorithm, path: &str) -> State {
    algo.get_state().unwrap().component(path).unwrap().clone()
}

#[test]
fn q_learning_reaches_the_optimum_of_the_grid_within_5_000_steps_and_random_actions_do_not() {
    register();
    let (steps, smallest) =
        example::train(&example::alone(RLModuleSpec::of::<QTable>(), 1), 5_000).unwrap();
    assert!(smallest >= 1.0, "reached {smallest} after {steps} steps");
    let random = example::alone(RLModuleSpec::of::<RandomPolicy>(), 1);
    let (_, smallest) = example::train(&random, 5_000).unwrap();
    assert!(smallest < 1.0, "reached {smallest}");
}

#[test]
fn n_plus_n_iterations_equal_2n_with_a_table() {
    register();
    let config =
        example::alone(RLModuleSpec::of::<QTable>(), 2).env_runners(|e| e.num_env_runners(2));
    let mut straight = config.build(&device()).unwrap();
    straight.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    straight.save_to_path(folder.path().join("half")).unwrap();
    let half = straight.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    straight.train().unwrap();
    let mut resumed =
        Algorithm::from_checkpoint::<LearnOnBatchTraining>(folder.path().join("half"), &device())
            .unwrap();
    assert_eq!(resumed.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap(), half);
    resumed.train().unwrap();
    for part in ["learner", "env_runners"] {
        assert_eq!(component(&straight, part), component(&resumed, part), "{part}");
    }
    assert_ne!(straight.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap(), half);
}

#[test]
fn a_table_and_a_random_policy_learn_beside_a_network_and_all_resume_bit_for_bit() {
    register();
    let config = example::beside_a_network(3);
    let mut straight = config.build(&device()).unwrap();
    let of = |algo: &Algorithm, id: &str| algo.module(id).unwrap().state_dict().unwrap();
    let before = ["random", "table", "network"].map(|id| of(&straight, id));
    let result = straight.train().unwrap();
    for (id, before) in ["random", "table", "network"].into_iter().zip(before) {
        assert_ne!(of(&straight, id), before, "{id} learns");
        let key = format!("learners/{id}/num_module_steps_trained_lifetime");
        // An agent that has reached its corner waits for the others.
        let epochs = if id == "network" { 6.0 } else { 1.0 };
        let rows = result.get(&key).unwrap() / epochs;
        assert!((256.0..=1024.0).contains(&rows) && rows.fract() == 0.0, "{id}: {rows} rows");
    }
    assert!(result.get("learners/table/td_error_mean").is_some_and(|error| error > 0.0));
    assert!(result.get("learners/network/policy_loss").is_some_and(f64::is_finite));
    assert!(result.get("learners/table/policy_loss").is_none());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half");
    straight.save_to_path(&path).unwrap();
    straight.train().unwrap();
    let mut resumed = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    resumed.train().unwrap();
    for part in ["learner", "env_runners"] {
        assert_eq!(component(&straight, part), component(&resumed, part), "{part}");
    }

    // One table alone, from the checkpoint of all, and under the same id elsewhere.
    let mut other = example::beside_a_network(4).build(&device()).unwrap();
    let random = of(&other, "random");
    let saved = path.join("learner/rl_module/table");
    other.restore_component(&saved, "learner/rl_module/table").unwrap();
    let from_file = QTable::from_checkpoint(&saved, &device()).unwrap();
    assert_eq!(of(&other, "table"), from_file.get_weights().unwrap());
    assert_eq!(of(&other, "random"), random);
    let error = other.restore_component(&saved, "learner/rl_module/network").unwrap_err();
    assert!(error.to_string().contains("do not fit"), "{error}");
    let optimizer = other.restore_component(&saved, "learner/optimizer/table").unwrap_err();
    assert!(optimizer.to_string().contains("is not a component"), "{optimizer}");
}

#[test]
fn only_the_policies_to_train_learn() {
    register();
    let config =
        example::beside_a_network(0).multi_agent(|m| m.policies_to_train(["network", "random"]));
    let mut algo = config.build(&device()).unwrap();
    let of = |algo: &Algorithm, id: &str| algo.module(id).unwrap().state_dict().unwrap();
    let [table, random] = ["table", "random"].map(|id| of(&algo, id));
    algo.train().unwrap();
    assert_eq!(of(&algo, "table"), table);
    assert_ne!(of(&algo, "random"), random);
}

#[test]
fn a_table_learns_in_the_plans_of_appo_and_impala() {
    register();
    let table = || RLModuleSpec::of::<QTable>();
    let mut config = AppoConfig::new().environment("GridWorld-v0").rl_module(table()).seed(0);
    config.training = config.training.train_batch_size(128).deterministic(true);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let plan = Asynchronous::new(64, 8).batches_per_step(2);
    let config = example::alone(table(), 0).with_execution_plan(plan);
    let mut other = config.build(&device()).unwrap();
    other.train().unwrap();
    for algo in [algo, other] {
        let values = &algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()["values"];
        assert!(values.as_slice::<f32>().unwrap().iter().any(|value| *value != 0.0));
    }
}

#[test]
fn beside_a_network_in_appos_circular_buffer_a_table_learns_once_from_each_batch() {
    register();
    let of_ppo = example::beside_a_network(3);
    let (iterations, batches) = (3, 2);
    let mut config = AppoConfig::new()
        .environment("ThreeGridWorlds-v0")
        .env_config(EnvConfig::new().with("num_agents", 3))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![8])
        .training(|t| {
            t.train_batch_size(80)
                .fragment_length(10)
                .circular_buffer_num_batches(batches)
                .circular_buffer_iterations_per_batch(iterations)
                .deterministic(true)
        })
        .seed(3);
    config.multi_agent = of_ppo.multi_agent;
    let mut algo = config.build(&device()).unwrap();
    let results: Vec<_> = (0..2).map(|_| algo.train().unwrap()).collect();
    let trained = |id: &str| {
        let key = format!("learners/{id}/num_module_steps_trained_lifetime");
        results[1].get(&key).unwrap()
    };
    // One row of the table at most for each step of the environment, once for each batch.
    let steps = results[1].get("learners/__all_modules__/num_env_steps_trained_lifetime").unwrap();
    assert!(trained("table") > 0.3 * steps && trained("table") <= steps, "{}", trained("table"));
    assert!(trained("network") > 2.0 * trained("table"));
}

#[test]
fn a_bundle_carries_the_table() {
    register();
    let mut algo = example::alone(RLModuleSpec::of::<QTable>(), 5).build(&device()).unwrap();
    for _ in 0..4 {
        algo.train().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    let bundle = PolicyBundle::from_checkpoint(&path, &device()).unwrap();
    let [one, other] = [bundle.module(), algo.module(DEFAULT_MODULE_ID).unwrap()];
    assert_eq!(one.state_dict().unwrap(), other.state_dict().unwrap());
}

/// Counts its updates, and does what its mode says.
#[derive(Module, Debug)]
struct Probe {
    #[module(skip)]
    mode: &'static str,
    #[module(skip)]
    updates: f64,
    #[module(skip)]
    seen: Vec<f32>,
    #[module(skip)]
    drawn: f64,
}

impl RLModule for Probe {
    fn setup(_: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { mode: "", updates: 0.0, seen: Vec::new(), drawn: 0.0 })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let observations = batch.float::<2>(Columns::OBS)?;
        let (rows, device) = (observations.dims()[0], observations.device());
        let mut out = Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, Tensor::<2>::zeros([rows, 2], &device))
            .with("updates", Tensor::<1>::full([rows], self.updates, &device));
        if self.mode == "memory" {
            out = out.with(Columns::STATE_OUT, batch.float::<2>(Columns::STATE_IN)? + 1.0);
        }
        Ok(out)
    }

    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        let initial = || Ok(Buffer::from_f32(vec![0.0], &[1])?);
        (self.mode == "memory").then(initial).transpose()
    }

    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        Some(self)
    }

    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        (self.mode != "one accessor").then_some(self)
    }
}

impl LearnOnBatch for Probe {
    fn learn_on_batch(
        &mut self,
        batch: &HostBatch,
        cx: &mut LearnContext<'_>,
    ) -> ModuleResult<LearnStats> {
        self.updates += 1.0;
        self.drawn = cx.rng.random();
        let mut stats = LearnStats::new();
        if batch.contains("updates") {
            let updates = batch.as_f32("updates")?;
            stats.insert("oldest".into(), updates.iter().copied().fold(f32::MAX, f32::min).into());
        }
        match self.mode {
            "columns" => {
                for column in ["new_obs", "terminateds", "truncateds"] {
                    self.seen.extend(batch.as_f32(column)?);
                }
                self.seen.extend(batch.column(Columns::T)?.as_i64()?.iter().map(|t| *t as f32));
                let ends = cx.trajectories.iter().flat_map(|rows| [rows.start, rows.end]);
                self.seen.extend(ends.map(|row| row as f32));
            }
            "memory" => {
                for column in [Columns::STEP_STATE_IN, Columns::STEP_STATE_OUT] {
                    self.seen.extend(batch.as_f32(column)?);
                }
                self.seen.extend(batch.column(Columns::T)?.as_i64()?.iter().map(|t| *t as f32));
            }
            "nan weight" => self.updates = f64::NAN,
            "infinite number" => {
                stats.insert("loss".into(), f64::INFINITY);
            }
            "panic" => panic!("the table is on fire"),
            "error" => return Err(ModuleError::custom("no rows of gold")),
            "column" => {
                batch.column("gold")?;
            }
            _ => {}
        }
        Ok(stats)
    }

    fn get_weights(&self) -> ModuleResult<Weights> {
        let mut weights = Weights::from([
            ("drawn".into(), vec![self.drawn].into()),
            ("updates".into(), vec![self.updates].into()),
        ]);
        if matches!(self.mode, "columns" | "memory") {
            weights.insert("seen".into(), self.seen.clone().into());
        }
        if self.mode == "names" && self.updates > 0.0 {
            weights.insert("more".into(), vec![1.0f32].into());
        }
        Ok(weights)
    }

    fn set_weights(&mut self, weights: &Weights) -> ModuleResult<()> {
        self.drawn = weights["drawn"].as_slice::<f64>()?[0];
        if let Some(seen) = weights.get("seen") {
            self.seen = seen.as_slice::<f32>()?.to_vec();
        }
        if self.mode != "forgets" {
            self.updates = weights["updates"].as_slice::<f64>()?[0];
        }
        Ok(())
    }
}

fn probe(mode: &'static str) -> RLModuleSpec {
    RLModuleSpec::from_fn(format!("probe: {mode}"), move |cx| {
        Ok(Probe { mode, ..Probe::setup(cx)? })
    })
    .observation_space(Space::boxed(-10.0, 10.0, &[1]).unwrap())
    .action_space(Space::discrete(2).unwrap())
}

/// A learner of a probe `a` and a network `b`.
fn both(mode: &'static str) -> Learner {
    let network = RLModuleSpec::default()
        .observation_space(Space::boxed(-10.0, 10.0, &[1]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    let specs = MultiRLModuleSpec::new([("a", probe(mode)), ("b", network)]);
    learner(LearnerConfig::default().num_epochs(3), specs.build(&device(), 0).unwrap())
}

fn rows() -> ModuleRollouts {
    let observations = Buffer::from_f32(vec![0.0, 1.0, 2.0, 10.0], &[1]).unwrap();
    let mut of = rollout(observations, vec![0, 1, 0, 1], vec![1.0; 4]);
    of.segments = vec![
        Segment::new(0..3, SegmentEnd::Terminated),
        Segment::new(3..4, SegmentEnd::Truncated).with_t_started(7),
    ];
    of.final_observations = Buffer::from_f32(vec![3.0, 11.0], &[1]).unwrap();
    data(&[("a", vec![of.clone()]), ("b", vec![of])])
}

#[test]
fn a_module_learns_once_an_update_from_all_rows_in_order_of_time() {
    let mut learner = both("columns");
    learner.update(&rows(), 0).unwrap();
    let found = weights(&learner, "a");
    assert_eq!(found["updates"].as_slice::<f64>().unwrap(), [1.0]);
    let expected = [
        [1.0, 2.0, 3.0, 11.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 2.0, 7.0],
        [0.0, 3.0, 3.0, 4.0],
    ];
    assert_eq!(found["seen"].as_slice::<f32>().unwrap(), expected.concat());
    let metrics = metrics(&mut learner);
    assert_eq!(metrics.get("learner/a/num_module_steps_trained_lifetime"), Some(4.0));
    assert_eq!(metrics.get("learner/b/num_module_steps_trained_lifetime"), Some(12.0));
    assert!(metrics.get("learner/a/total_loss").is_none());
    assert_eq!(learner.weights_seq_no(), 1);
}

#[test]
fn a_failure_to_learn_is_an_error_that_names_the_module_and_changes_nothing() {
    for (mode, expected) in [
        ("nan weight", "left the weight `updates` with the value NaN at position 0"),
        ("infinite number", "returned inf as `loss`"),
        ("panic", "`learn_on_batch` of module `probe: panic` panicked: the table is on fire"),
        ("error", "no rows of gold"),
        ("column", "`learn_on_batch` of module `probe: column`: column `gold`"),
        ("names", "from [drawn, updates] to [drawn, more, updates]"),
    ] {
        let mut learner = both(mode);
        let before = learner.get_state().unwrap();
        let error = learner.update(&rows(), 0).unwrap_err().to_string();
        assert!(error.contains("module `a` failed to learn"), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(learner.get_state().unwrap() == before, "{mode} has changed the learner");
    }
}

#[test]
fn weights_are_restored_exactly_or_not_at_all() {
    let mut source = both("");
    source.update(&rows(), 0).unwrap();
    let (_folder, path) = saved(&source.get_state().unwrap());
    let mut target = both("");
    target.restore_component(path.join("rl_module/a"), "rl_module/a").unwrap();
    assert_eq!(weights(&target, "a"), weights(&source, "a"));
    target.restore_from_path(&path).unwrap();
    for learner in [&mut source, &mut target] {
        learner.update(&rows(), 0).unwrap();
    }
    assert!(source.get_state().unwrap() == target.get_state().unwrap(), "the stream continues");

    let mut forgetful = both("forgets");
    let before = weights(&forgetful, "a");
    let mut multi = forgetful.module().clone();
    let error = multi.load_state_dict("a", &weights(&source, "a")).unwrap_err().to_string();
    assert!(error.contains("`set_weights` of module `probe: forgets` did not keep"), "{error}");
    assert_eq!(multi.module("a").unwrap().state_dict().unwrap(), before);
    let mut wrong = before.clone();
    wrong.insert("updates".into(), vec![f64::NAN].into());
    let error = multi.load_state_dict("a", &wrong).unwrap_err().to_string();
    assert!(error.contains("`updates` with the value NaN"), "{error}");
    wrong.remove("updates");
    let error = multi.load_state_dict("a", &wrong).unwrap_err().to_string();
    assert!(error.contains("missing [updates]"), "{error}");
    wrong.insert("updates".into(), vec![0.0f64].into());
    wrong.insert("gold".into(), vec![0.0f64].into());
    let error = multi.load_state_dict("a", &wrong).unwrap_err().to_string();
    assert!(error.contains("unexpected [gold]"), "{error}");
    assert_eq!(multi.module("a").unwrap().state_dict().unwrap(), before);

    wrong.insert("drawn".into(), vec![0.5f64, 0.5].into());
    wrong.insert("updates".into(), vec![0.0f64].into());
    let report: LoadReport = forgetful.load_module_matching("a", &wrong).unwrap();
    assert_eq!((report.loaded, report.misshapen), (vec!["updates".into()], vec!["drawn".into()]));
    assert_eq!((report.unexpected, report.missing), (vec!["gold".into()], vec![]));
}

#[test]
fn modules_that_break_the_rules_of_the_role_are_refused_when_they_are_built() {
    let error = probe("one accessor").build(&device()).unwrap_err().to_string();
    assert!(error.contains("`as_learn_on_batch_mut` differ: return `Some(self)`"), "{error}");
    let spec = RLModuleSpec::from_fn("clashing", |cx| {
        Ok(Clashing { updates: cx.mlp(1, &[], 2), inner: Probe::setup(cx)? })
    });
    let spec = spec
        .observation_space(Space::boxed(-1.0, 1.0, &[1]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    let error = spec.build(&device()).unwrap_err().to_string();
    assert!(error.contains("returned a weight `updates.layers.0.bias`"), "{error}");
}

/// Has a parameter and a weight of the same name.
#[derive(Module, Debug)]
struct Clashing {
    updates: Mlp,
    inner: Probe,
}

impl RLModule for Clashing {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { updates: cx.mlp(1, &[], 2), inner: Probe::setup(cx)? })
    }
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.inner.forward_train(batch)
    }
    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        Some(self)
    }
    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        Some(self)
    }
}

impl LearnOnBatch for Clashing {
    fn learn_on_batch(
        &mut self,
        batch: &HostBatch,
        cx: &mut LearnContext<'_>,
    ) -> ModuleResult<LearnStats> {
        self.inner.learn_on_batch(batch, cx)
    }
    fn get_weights(&self) -> ModuleResult<Weights> {
        Ok(Weights::from([("updates.layers.0.bias".into(), vec![0.0f32].into())]))
    }
    fn set_weights(&mut self, _: &Weights) -> ModuleResult<()> {
        Ok(())
    }
}

#[test]
fn algorithms_refuse_what_has_no_effect_on_a_module_that_learns_by_itself() {
    register();
    let overrides =
        example::beside_a_network(0).multi_agent(|m| m.override_module("table", "lr", 1e-3));
    let error = overrides.build(&device()).unwrap_err().to_string();
    assert!(
        error.contains("`table`") && error.contains("learns from a batch by itself"),
        "{error}"
    );
    let network = LearnOnBatchConfig::new().environment("GridWorld-v0");
    let error = network.build(&device()).unwrap_err().to_string();
    assert!(error.contains("lacks the role LearnOnBatch"), "{error}");
}

/// Every row of the second batch was collected with the weights after the first update, by both runners.
#[test]
fn all_runners_act_with_the_weights_that_were_learned() {
    let spec = RLModuleSpec::from_fn("probe of CartPole", Probe::setup);
    let config = LearnOnBatchConfig::new()
        .environment("CartPole-v1")
        .rl_module(spec)
        .env_runners(|e| e.num_env_runners(2))
        .training(|t| t.train_batch_size(64));
    let mut algo = config.build(&device()).unwrap();
    for iteration in 0..3 {
        let result = algo.train().unwrap();
        let oldest = result.get("learners/default_policy/oldest");
        assert_eq!(oldest, Some(f64::from(iteration)));
    }
}

#[test]
fn a_module_with_memory_sees_its_state_before_and_after_every_step() {
    let spec = RLModuleSpec::from_fn("probe with memory", |cx| {
        Ok(Probe { mode: "memory", ..Probe::setup(cx)? })
    });
    let config = LearnOnBatchConfig::new()
        .environment("CartPole-v1")
        .rl_module(spec)
        .training(|t| t.train_batch_size(64))
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let seen = weights["seen"].as_slice::<f32>().unwrap();
    assert_eq!(seen.len(), 3 * 64);
    for row in 0..64 {
        // The probe counts the steps of the episode.
        let [before, after, t] = [0, 64, 128].map(|column| seen[column + row]);
        assert_eq!((before, after), (t, t + 1.0), "row {row}");
    }
}
