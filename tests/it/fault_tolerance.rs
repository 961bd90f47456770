//! Training continues while environments and runners fail: assertions 70 and 72 for `Algorithm`.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::Device;
use rekindle::env::EnvError;
use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// PPO on a CartPole that crashes with probability `p_crash` per step and 0.1 per reset.
fn crashing(p_crash: f64) -> PpoConfig {
    let config = PpoConfig::new().environment("CrashingCartPole-v1");
    small(config.env_config(EnvConfig::new().with("p_crash", p_crash).with("p_crash_reset", 0.1)))
}

fn small(config: PpoConfig) -> PpoConfig {
    config
        .env_runners(|e| {
            e.num_env_runners(2)
                .num_envs_per_env_runner(2)
                .num_threads(2)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(200).minibatch_size(64).num_epochs(1))
        .evaluation(|e| e.evaluation_duration(5))
        .seed(2)
}

fn restarting(p_crash: f64) -> PpoConfig {
    crashing(p_crash).fault_tolerance(|f| f.restart_failed_sub_environments(true))
}

#[test]
fn failed_environments_are_restarted_and_no_runner_is() {
    let mut algo = restarting(0.01).build(&device()).unwrap();
    for _ in 0..5 {
        let before = algo.env_steps();
        let result = algo.train().unwrap();
        let steps = algo.env_steps() - before;
        assert!((200..300).contains(&steps), "only what was lost is collected again: {steps}");
        assert_eq!(result.get("fault_tolerance/num_healthy_workers"), Some(2.0));
        assert_eq!(result.get("fault_tolerance/num_remote_worker_restarts"), Some(0.0));
        let sampled = result.get("env_runners/num_env_steps_sampled_lifetime");
        assert_eq!(sampled, Some(algo.env_steps() as f64));
        assert!(result.get("learners/default_policy/policy_loss").unwrap().is_finite());
        let evaluation = algo.evaluate().unwrap();
        assert_eq!(evaluation.returns.len(), 5, "evaluation goes on too");
    }
    let result = algo.train().unwrap();
    assert!(result.get("env_runners/num_env_restarts_lifetime").unwrap() > 5.0);
}

/// RLlib's default: runners are restarted, environments are not.
#[test]
fn failed_runners_are_restarted_twice_in_a_row() {
    let mut algo = crashing(0.005).build(&device()).unwrap();
    let mut restarts = Vec::new();
    for _ in 0..10 {
        let result = algo.train().unwrap();
        assert_eq!(result.get("fault_tolerance/num_healthy_workers"), Some(2.0));
        restarts.push(result.get("fault_tolerance/num_remote_worker_restarts").unwrap());
        let sampled = result.get("env_runners/num_env_steps_sampled_lifetime");
        assert_eq!(sampled, Some(algo.env_steps() as f64));
        assert_eq!(algo.evaluate().unwrap().returns.len(), 5);
    }
    let rising = |pair: &&[f64]| pair[1] > pair[0];
    assert!(restarts.windows(2).filter(rising).count() >= 2, "{restarts:?}");
}

#[test]
fn without_any_policy_training_ends_with_the_error() {
    let config = crashing(0.02).fault_tolerance(|f| f.restart_failed_env_runners(false));
    let mut algo = config.build(&device()).unwrap();
    let error = (0..5).find_map(|_| algo.train().err()).unwrap().to_string();
    assert!(error.contains("a simulated crash"), "{error}");
}

/// A CartPole whose copy breaks down after 300 steps.
struct BreaksDown {
    env: CartPole,
    steps_left: usize,
}

impl Env for BreaksDown {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, out: RowMut<'_>) -> Result<(), EnvError> {
        self.env.reset(options, out)
    }

    fn step(&mut self, action: Row<'_>, out: RowMut<'_>) -> Result<Step, EnvError> {
        self.steps_left =
            self.steps_left.checked_sub(1).ok_or(EnvError::custom("worn out for good"))?;
        self.env.step(action, out)
    }
}

#[test]
fn of_two_runners_one_is_ignored_and_training_goes_on() {
    let copies = AtomicUsize::new(0);
    let make = move |config: &EnvConfig| {
        // The last environment of the second runner.
        let broken = copies.fetch_add(1, Ordering::SeqCst) == 3;
        let steps_left = if broken { 300 } else { usize::MAX };
        Ok(BreaksDown { env: CartPole::new(config)?, steps_left })
    };
    register(EnvSpec::new("BreaksDown-v0", make).with_max_episode_steps(500)).unwrap();
    let config = small(PpoConfig::new().environment("BreaksDown-v0"))
        .fault_tolerance(|f| f.restart_failed_env_runners(false).ignore_env_runner_failures(true));
    let mut algo = config.build(&device()).unwrap();
    let mut healthy = Vec::new();
    for iteration in 1..=10 {
        let result = algo.train().unwrap();
        healthy.push(result.get("fault_tolerance/num_healthy_workers").unwrap());
        assert!(result.get("learners/default_policy/policy_loss").unwrap().is_finite());
        assert_eq!(algo.env_steps(), 200 * iteration, "one runner collects what both should");
        // Evaluation has its own environments.
        assert_eq!(algo.evaluate().unwrap().returns.len(), 5);
    }
    assert_eq!(healthy, [[2.0; 6].as_slice(), &[1.0; 4]].concat());
}

#[test]
fn training_resumes_exactly_after_restarts_of_both_kinds() {
    for config in [restarting(0.01), crashing(0.005)] {
        let mut straight = config.build(&device()).unwrap();
        let restarts = |result: &Metrics| {
            let of_runners = result.get("fault_tolerance/num_remote_worker_restarts").unwrap();
            of_runners + result.get("env_runners/num_env_restarts_lifetime").unwrap_or(0.0)
        };
        let half = (0..6).map(|_| restarts(&straight.train().unwrap())).last().unwrap();
        assert!(half > 0.0);
        let state = straight.get_state().unwrap();
        // Results must not depend on the number of threads.
        let mut resumed = config.env_runners(|e| e.num_threads(1)).build(&device()).unwrap();
        resumed.set_state(&state).unwrap();
        for _ in 0..4 {
            straight.train().unwrap();
            resumed.train().unwrap();
        }
        let (straight, resumed) = (straight.get_state().unwrap(), resumed.get_state().unwrap());
        for component in ["learner", "env_runners"] {
            let (straight, resumed) = (straight.component(component), resumed.component(component));
            assert_eq!(straight.unwrap(), resumed.unwrap(), "{component}");
        }
    }
}

#[test]
fn lifetime_steps_grow_by_the_batch_also_after_restoring() {
    for runners in [1, 5] {
        let config = small(PpoConfig::new().environment("CartPole-v1"))
            .env_runners(|e| e.num_env_runners(runners).num_envs_per_env_runner(1));
        let mut algo = config.build(&device()).unwrap();
        let steps = |algo: &mut Algorithm| {
            let result = algo.train().unwrap();
            result.get("env_runners/num_env_steps_sampled_lifetime").unwrap()
        };
        assert_eq!(steps(&mut algo), 200.0);
        let first = algo.get_state().unwrap();
        assert_eq!(steps(&mut algo), 400.0);
        let second = algo.get_state().unwrap();
        assert_eq!(steps(&mut algo), 600.0);
        for _ in 0..2 {
            let mut restored = config.build(&device()).unwrap();
            restored.set_state(&first).unwrap();
            assert_eq!(steps(&mut restored), 400.0);
            assert_eq!(steps(&mut restored), 600.0);
            restored.set_state(&second).unwrap();
            assert_eq!(steps(&mut restored), 600.0);
        }
    }
}

#[test]
fn settings_are_data_and_contradictions_are_refused() {
    let config = restarting(0.1).fault_tolerance(|f| f.sample_timeout_s(30.0));
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config);
    let message = |json: &str| {
        let config = PpoConfig::from_json(json);
        let checked = config.and_then(|config| config.environment("CartPole-v1").validate());
        checked.unwrap_err().to_string()
    };
    let both = message(r#"{"fault_tolerance": {"ignore_env_runner_failures": true}}"#);
    assert!(both.contains("restart_failed_env_runners"), "{both}");
    let negative = message(r#"{"fault_tolerance": {"sample_timeout_s": -1.0}}"#);
    assert!(negative.contains("`sample_timeout_s` is -1"), "{negative}");
    let unknown = message(r#"{"fault_tolerance": {"delay_between_env_runner_restarts_s": 60}}"#);
    assert!(unknown.contains("unknown field"), "{unknown}");
}

/// RLlib's probabilities of crashes, also used for stalls. `cargo xtask learn crashing-cartpole`
/// trains until 450.
#[test]
fn ppo_learns_crashing_and_stalling_cartpole_to_150_within_40_000_steps() {
    let faults = EnvConfig::new()
        .with("p_crash", 1e-4)
        .with("p_crash_reset", 1e-3)
        .with("p_stall", 1e-4)
        .with("p_stall_reset", 1e-3)
        .with("stall_time_sec", [0.001, 0.01].to_vec());
    let config = PpoConfig::new()
        .environment("CrashingCartPole-v1")
        .env_config(faults)
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(4).num_threads(2))
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| {
            t.lr(2e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(8)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(1);
    let mut algo = config.build(&device()).unwrap();
    let (mut best, mut restarts) = (f64::NEG_INFINITY, 0.0);
    while algo.env_steps() < 40_000 && (best < 150.0 || restarts == 0.0) {
        let result = algo.train().unwrap();
        best = best.max(result.get("env_runners/episode_return_mean").unwrap_or(best));
        restarts = result.get("env_runners/num_env_restarts_lifetime").unwrap();
    }
    assert!(best >= 150.0, "reached {best}, a random policy has about 22");
    assert!(restarts > 0.0, "nothing crashed");
}

/// Counts the recreated runners reported to callbacks, in training and in evaluation.
#[derive(Clone, Default)]
struct Recreated(std::sync::Arc<[AtomicUsize; 2]>);

impl Callbacks for Recreated {
    fn on_env_runners_recreated(
        &self,
        _algorithm: &mut Algorithm,
        env_runner_indices: &[usize],
        is_evaluation: bool,
    ) -> CallbackResult {
        self.0[usize::from(is_evaluation)].fetch_add(env_runner_indices.len(), Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn callbacks_hear_of_every_runner_that_was_built_anew() {
    let recreated = Recreated::default();
    let mut algo = crashing(0.01).callbacks(recreated.clone()).build(&device()).unwrap();
    let mut restarts = 0.0;
    for _ in 0..5 {
        let result = algo.train().unwrap();
        restarts = result.get("fault_tolerance/num_remote_worker_restarts").unwrap();
        algo.evaluate().unwrap();
    }
    let [training, evaluation] = [0, 1].map(|i| recreated.0[i].load(Ordering::Relaxed));
    assert_eq!(training as f64, restarts);
    assert!(training > 0 && evaluation > 0);
}
