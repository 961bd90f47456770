//! Several learners that share updates learn what one learner does.

mod faults;
mod losses;
mod remote;
mod settings;

use rekindle::algorithms::{AlgorithmConfig, Replay, Result, Synchronous, TrainingConfig};
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::learner::{Collective, Fault, LocalCollective};
use rekindle::prelude::*;

use crate::support::device;

/// A plan whose runners never see what is learned, so that the experience does not depend on the learner.
#[derive(Debug, Clone)]
struct Unseen<P> {
    plan: P,
    modules: Option<MultiRLModule>,
    /// Learners to add in the first step, whose gradients are not added up.
    deaf: usize,
}

impl<P> Unseen<P> {
    fn new(plan: P) -> Self {
        Self { plan, modules: None, deaf: 0 }
    }
}

/// A collective that exchanges nothing.
#[derive(Debug)]
struct Deaf(LocalCollective);

impl Collective for Deaf {
    fn rank(&self) -> usize {
        self.0.rank()
    }
    fn size(&self) -> usize {
        self.0.size()
    }
    fn all_reduce_sum(&mut self, _: &mut [f32]) -> Result<(), Fault> {
        Ok(())
    }
    fn broadcast(&mut self, _: &mut [u8], _: usize) -> Result<(), Fault> {
        Ok(())
    }
    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        Ok(flag)
    }
    fn abort(&mut self, reason: &str) {
        self.0.abort(reason);
    }
    fn rebuild(&mut self) -> Result<(), Fault> {
        self.0.rebuild()
    }
}

impl<P: ExecutionPlan> ExecutionPlan for Unseen<P> {
    fn name(&self) -> &str {
        "Unseen"
    }
    fn collects_batches(&self) -> bool {
        self.plan.collects_batches()
    }
    fn replays(&self) -> bool {
        self.plan.replays()
    }
    fn learns_offline(&self) -> bool {
        self.plan.learns_offline()
    }
    fn required_row_values(&self) -> &'static [&'static str] {
        self.plan.required_row_values()
    }
    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let modules =
            self.modules.get_or_insert_with(|| cx.learner.module().without_learner_only()).clone();
        if self.deaf > 0 {
            let devices = vec![device(); self.deaf];
            cx.learner.add_learners_with(&devices, |member| Box::new(Deaf(member)))?;
            self.deaf = 0;
        }
        let report = self.plan.training_step(cx)?;
        cx.env_runners.set_modules(&modules, PublishedAt::new(0, cx.env_steps()))?;
        Ok(report)
    }
    fn get_state(&self) -> Result<State> {
        self.plan.get_state()
    }
}

/// The floats of a state and its parts.
fn numbers(state: &State) -> Vec<f32> {
    let mut all = Vec::new();
    for array in state.tensors.values() {
        if let Ok(values) = array.as_slice::<f32>() {
            all.extend_from_slice(values);
        } else if let Ok(values) = array.as_slice::<f64>() {
            all.extend(values.iter().map(|value| *value as f32));
        }
    }
    let parts = state.components.keys().chain(state.shards.keys());
    parts.for_each(|name| all.extend(numbers(&state.part(name).unwrap())));
    all
}

/// The weights of all modules of the learner.
fn weights(algo: &Algorithm) -> Vec<f32> {
    numbers(algo.learner().get_state().unwrap().component("rl_module").unwrap())
}

/// What the learner reports, without durations.
fn metrics(result: &Metrics) -> Vec<(String, f64)> {
    let of_time = |key: &str| key.contains("timer") || key.contains("throughput");
    let of_learner = |key: &str| key.starts_with("learners/") && !of_time(key);
    let all = result.iter().filter(|(key, _)| of_learner(key));
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(!a.is_empty());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Checks that all learners have the same state, bit for bit: weights, moments, losses and random streams.
fn all_equal(algo: &Algorithm, learners: usize) {
    assert_eq!(algo.learner().num_learners(), learners);
    let first = algo.learner().get_state().unwrap();
    let others = algo.learner().group().map_or(Vec::new(), |group| group.states().unwrap());
    assert_eq!(others.len() + 1, learners);
    for (index, other) in others.iter().enumerate() {
        assert!(first == *other, "learner {} of {learners}", index + 1);
    }
}

fn with<T: TrainingConfig>(config: &AlgorithmConfig<T>, learners: usize) -> Algorithm {
    config.clone().learners(|l| l.num_learners(learners)).build(&device()).unwrap()
}

/// Trains with 1, 2 and 4 learners. Returns the largest differences of the weights after the first update and at the
/// end.
fn compare<T: TrainingConfig>(
    name: &str,
    config: &AlgorithmConfig<T>,
    first: usize,
    updates: usize,
) -> [f32; 2] {
    let mut largest = [0.0f32; 2];
    let (mut expected, mut expected_metrics) = (Vec::new(), Vec::new());
    for learners in [1, 2, 4] {
        let mut algo = with(config, learners);
        let start = weights(&algo);
        let (mut found, mut found_metrics) = (Vec::new(), Vec::new());
        for update in 1..=updates.max(first) {
            let result = algo.train().unwrap();
            if update == first {
                found_metrics = metrics(&result);
            }
            if update == first || update == updates {
                all_equal(&algo, learners);
                found.push(weights(&algo));
            }
        }
        assert!(difference(&start, &found[0]) > 0.0, "{name} does not learn");
        if learners == 1 {
            (expected, expected_metrics) = (found, found_metrics);
            continue;
        }
        // Also the norms of gradients, whose scale Adam hides.
        assert!(expected_metrics.len() > 2 && expected_metrics.len() == found_metrics.len());
        for ((key, a), (_, b)) in expected_metrics.iter().zip(&found_metrics) {
            let close = (a - b).abs() <= 1e-5 * a.abs().max(1e-2) || a.is_nan() && b.is_nan();
            assert!(close, "{name} with {learners} learners: {key} is {b} instead of {a}");
        }
        for (largest, (a, b)) in largest.iter_mut().zip(expected.iter().zip(&found)) {
            *largest = largest.max(difference(a, b));
        }
    }
    println!(
        "{name}: {:.1e} after the first update, {:.1e} after {updates}",
        largest[0], largest[1]
    );
    largest
}

fn ppo() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| {
            t.train_batch_size(100).minibatch_size(100).num_epochs(1).lr(1e-3).entropy_coeff(0.01)
        })
        .seed(3)
}

/// Learns once in each iteration, from the first one with enough steps.
fn replay(batch_size: usize, prioritized: bool) -> Replay {
    let mut buffer = ReplayConfig::default().capacity(1000);
    if prioritized {
        buffer = buffer.prioritized(PrioritizedConfig::default());
    }
    Replay::new(buffer, batch_size)
        .learning_starts(36)
        .sample_timesteps(4)
        .updates_per_env_step(0.25)
}

fn dqn() -> DqnConfig {
    DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| t.train_batch_size(30).lr(1e-3).target_network_update_freq(40))
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(4)
}

fn sac() -> SacConfig {
    SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| t.train_batch_size(30))
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(5)
}

/// The iteration in which a plan of [`replay`] learns first.
const FIRST_REPLAY: usize = 10;

#[test]
fn ppo_dqn_and_sac_learn_what_one_learner_does_and_stay_equal_bit_for_bit() {
    let of_ppo = ppo().with_execution_plan(Unseen::new(Synchronous::new(100)));
    let of_dqn = dqn().with_execution_plan(Unseen::new(replay(30, true)));
    let of_sac = sac().with_execution_plan(Unseen::new(replay(30, false)));
    for [first, last] in [
        compare("PPO", &of_ppo, 1, 100),
        compare("DQN", &of_dqn, FIRST_REPLAY, 100 + FIRST_REPLAY),
        compare("SAC", &of_sac, FIRST_REPLAY, 100 + FIRST_REPLAY),
    ] {
        assert!(first <= 1e-6 && last <= 1e-2, "{first} {last}");
    }
}

#[test]
fn without_adding_up_gradients_learners_differ() {
    let mut plan = Unseen::new(Synchronous::new(100));
    let config = ppo().with_execution_plan(plan.clone());
    plan.deaf = 1;
    let deaf = ppo().with_execution_plan(plan);
    let [one, deaf] = [config, deaf].map(|config| {
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        algo
    });
    let difference = difference(&weights(&one), &weights(&deaf));
    assert!(difference > 1e-4, "{difference}");
    let others = deaf.learner().group().unwrap().states().unwrap();
    assert!(others[0] != deaf.learner().get_state().unwrap());
}

#[test]
fn several_epochs_of_shuffled_minibatches_that_do_not_divide_are_shared() {
    // 7 rows for 4 learners, and 2 rows, so that some learners have none.
    for size in [7, 2] {
        let config = ppo().training(|t| t.minibatch_size(size).num_epochs(2).target_kl(1e-3));
        let [mut one, mut four] = [1, 4].map(|learners| with(&config, learners));
        let [a, b] = [&mut one, &mut four].map(|algo| algo.train().unwrap());
        let difference = difference(&weights(&one), &weights(&four));
        assert!(difference <= 1e-5, "{size}: {difference}");
        all_equal(&four, 4);
        // What is reported and decides on early stops is that of whole minibatches.
        for name in ["mean_kl_loss", "curr_kl_coeff", "num_early_stops_lifetime", "total_loss"] {
            let [a, b] =
                [&a, &b].map(|result| result.get(&format!("learners/default_policy/{name}")));
            let (a, b) = (a.unwrap_or(-1.0), b.unwrap_or(-1.0));
            assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{name}: {a} {b}");
        }
    }
}

#[test]
fn modules_with_and_without_rows_and_memory_are_shared() {
    // Sequences of one module, rows of the other: a minibatch has fewer sequences than there are learners.
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![8])
        .model("use_lstm", true)
        .model("lstm_cell_size", 4)
        .model("max_seq_len", 10)
        .training(|t| t.train_batch_size(60).minibatch_size(20).num_epochs(2))
        .seed(2);
    let [mut one, mut four] = [1, 4].map(|learners| with(&config, learners));
    for algo in [&mut one, &mut four] {
        algo.train().unwrap();
    }
    let difference = difference(&weights(&one), &weights(&four));
    assert!(difference <= 1e-5, "{difference}");
    all_equal(&four, 4);
}

#[test]
fn priorities_are_those_of_all_rows() {
    let config = dqn().with_execution_plan(Unseen::new(replay(30, true)));
    let [one, three] = [1, 3].map(|learners| {
        let mut algo = with(&config, learners);
        (0..FIRST_REPLAY + 2).for_each(|_| drop(algo.train().unwrap()));
        let state = algo.get_state().unwrap();
        numbers(state.component("execution_plan").unwrap())
    });
    let difference = difference(&one, &three);
    assert!(difference <= 1e-4, "{difference}");
}

#[test]
fn a_checkpoint_of_two_learners_continues_with_one_and_with_three() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two");
    let config = sac().with_execution_plan(replay(30, false));
    let mut two = with(&config, 2);
    (0..FIRST_REPLAY + 1).for_each(|_| drop(two.train().unwrap()));
    two.save_to_path(&path).unwrap();
    two.train().unwrap();
    for learners in [1, 3] {
        let adapt = |saved: SacConfig| {
            let saved = saved.with_execution_plan(replay(30, false));
            saved.learners(|l| l.num_learners(learners))
        };
        let mut restored =
            Algorithm::from_checkpoint_with::<SacTraining>(&path, &device(), adapt).unwrap();
        restored.train().unwrap();
        all_equal(&restored, learners);
        let difference = difference(&weights(&two), &weights(&restored));
        assert!(difference <= 1e-5, "{learners}: {difference}");
    }
}

#[test]
fn changes_between_updates_reach_all_learners() {
    let mut algo = with(&ppo(), 2);
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    algo.train().unwrap();
    algo.restore_from_path(&path).unwrap();
    algo.train().unwrap();
    all_equal(&algo, 2);
    let spec = algo.module(DEFAULT_MODULE_ID).unwrap().spec().clone();
    let module = spec.build_seeded(&device(), Generator::from_seed(9)).unwrap();
    algo.replace_module(DEFAULT_MODULE_ID, module).unwrap();
    algo.train().unwrap();
    all_equal(&algo, 2);
}

#[test]
fn results_do_not_depend_on_threads() {
    if let Ok(path) = std::env::var("REKINDLE_SEVERAL_LEARNERS") {
        let config = ppo().env_runners(|e| e.num_threads(1));
        let mut algo = with(&config, 2);
        (0..2).for_each(|_| drop(algo.train().unwrap()));
        algo.learner().save_to_path(path).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = |threads: &str| {
        let path = folder.path().join(threads);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "several_learners::results_do_not_depend_on_threads"])
            .env("REKINDLE_SEVERAL_LEARNERS", &path)
            .env("REKINDLE_NUM_THREADS", threads)
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success());
        rekindle::checkpoint::read(path).unwrap()
    };
    assert!(state("1") == state("3"));
}
