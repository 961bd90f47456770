//! Environments on the device, chosen by a setting.

use burn::prelude::*;
use burn::tensor::Bool;
use rekindle::algorithms::{AlgorithmConfig, ImpalaConfig, TrainingConfig};
use rekindle::checkpoint;
use rekindle::env::EnvError;
use rekindle::env_runner::TensorEnv;
use rekindle::env_runner::tensor_env::{TensorStep, register_tensor_env};
use rekindle::prelude::*;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn config(env: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(16 * 32).minibatch_size(100).num_epochs(2))
        .seed(5)
}

#[test]
fn n_plus_n_iterations_on_the_device_equal_2n_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half");
    for env in ["CartPole-v1", "Pendulum-v1"] {
        let mut straight = config(env).build(&device()).unwrap();
        (0..3).for_each(|_| drop(straight.train().unwrap()));
        straight.save_to_path(&path).unwrap();
        let mut resumed = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
        let results = [&mut straight, &mut resumed].map(|algo| {
            let results: Vec<_> = (0..3).map(|_| algo.train().unwrap()).collect();
            let of = |key: &str| results.iter().map(|r| r.get(key)).collect::<Vec<_>>();
            [of("env_runners/episode_return_mean"), of("learners/default_policy/policy_loss")]
        });
        assert_eq!(results[0], results[1], "{env}");
        assert!(results[0][1].iter().all(Option::is_some), "{env}");
        assert_eq!(straight.env_steps(), 6 * 16 * 32);
        let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
        for component in ["learner", "env_runners"] {
            let of = |state: &State| state.component(component).unwrap().clone();
            assert_eq!(of(&straight), of(&resumed), "{component} of {env}");
        }
        let runner = straight.component("env_runners/runner_0").unwrap();
        assert_eq!(runner.tensors.len(), 3, "{env}");
    }
}

#[test]
fn restoring_rewinds_an_algorithm_on_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut algo = config("CartPole-v1").build(&device()).unwrap();
    algo.train().unwrap();
    algo.save_to_path(&path).unwrap();
    let key = "learners/default_policy/policy_loss";
    let first = algo.train().unwrap().get(key);
    algo.restore_from_path(&path).unwrap();
    assert_eq!(algo.train().unwrap().get(key), first);
    assert!(first.is_some());
    algo.restore_component(path.join("env_runners"), "env_runners").unwrap();
    let [state, saved] = [algo.get_state().unwrap(), checkpoint::read(&path).unwrap()];
    let runner = |state: &State| state.component("env_runners/runner_0").unwrap().clone();
    assert_eq!(runner(&state).tensors, runner(&saved).tensors);
    let streams =
        |state: &State| ["action_rng", "reset_rng"].map(|key| runner(state).data[key].clone());
    assert_eq!(streams(&state), streams(&saved));
    // The steps are those of the algorithm, which published weights to the restored runner.
    assert_eq!(runner(&state).data["env_steps"], algo.env_steps());
}

#[test]
fn another_number_of_copies_begins_new_episodes_on_the_saved_streams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut algo = config("CartPole-v1").build(&device()).unwrap();
    algo.train().unwrap();
    algo.save_to_path(&path).unwrap();
    let narrower = |config: PpoConfig| {
        config.env_runners(|e| e.num_envs_per_env_runner(4)).training(|t| t.train_batch_size(128))
    };
    let restored =
        || Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), narrower).unwrap();
    let [a, b] = [restored(), restored()].map(|mut algo| {
        assert_eq!(algo.module(DEFAULT_MODULE_ID).unwrap().num_params(), 2 * (4 * 16 + 16) + 51);
        algo.train().unwrap();
        assert_eq!(algo.env_steps(), 16 * 32 + 128);
        algo.get_state().unwrap().component("env_runners").unwrap().clone()
    });
    assert_eq!(a, b);
}

#[test]
fn metrics_are_those_of_the_episodes_that_end_and_evaluation_is_on_the_host() {
    // All episodes of Pendulum have 200 steps: those of all 16 copies end in the seventh rollout.
    let config = config("Pendulum-v1").evaluation(|e| e.evaluation_duration(3));
    let mut algo = config.build(&device()).unwrap();
    for iteration in 1..=6 {
        let result = algo.train().unwrap();
        let of = |key: &str| result.get(&format!("env_runners/{key}"));
        assert_eq!(of("num_episodes"), None, "{iteration}");
        assert_eq!(of("num_env_steps_sampled"), Some(512.0));
        assert_eq!(of("num_env_steps_sampled_lifetime"), Some(512.0 * f64::from(iteration)));
        assert_eq!(of("num_module_steps_sampled/default_policy"), Some(512.0));
        assert_eq!(of("num_agent_steps_sampled/default_agent"), Some(512.0));
        assert_eq!(of("weights_seq_no"), Some(f64::from(iteration - 1)));
    }
    let result = algo.train().unwrap();
    let of = |key: &str| result.get(&format!("env_runners/{key}")).unwrap();
    assert_eq!((of("num_episodes"), of("episode_len_mean")), (16.0, 200.0));
    assert!(
        (of("episode_return_min")..=of("episode_return_max")).contains(&of("episode_return_mean"))
    );
    assert!((-2000.0..0.0).contains(&of("episode_return_mean")));
    assert_eq!(of("module_episode_returns_mean/default_policy"), of("episode_return_mean"));

    let evaluation = algo.evaluate().unwrap();
    assert_eq!(evaluation.returns.len(), 3);
    assert_eq!(evaluation.metrics.get("env_runners/episode_len_mean"), Some(200.0));
    let mut bundle = algo.policy_bundle().unwrap();
    let observations = Buffer::from_f32(vec![1.0, 0.0, 0.5], &[3]).unwrap();
    let actions = bundle.compute_actions(&observations, false).unwrap();
    assert!(actions.as_f32().unwrap()[0].abs() <= 2.0);
}

/// A point that moves by the action, and is rewarded near the origin. Ends after some steps.
#[derive(Debug)]
struct Point {
    spaces: [Space; 2],
    steps: usize,
    /// Returns rewards of another shape.
    broken: bool,
    /// The reward of every step, if set.
    reward: Option<f32>,
}

impl Point {
    fn new(config: &EnvConfig) -> Result<Self, EnvError> {
        config.deny_unknown("Point", &["steps", "broken", "nan"])?;
        Ok(Self {
            spaces: [Space::unbounded(&[2])?, Space::boxed(-1.0, 1.0, &[2])?],
            steps: config.get_i64("steps")?.map_or(10, |steps| steps as usize),
            broken: config.get_bool("broken")?.unwrap_or(false),
            reward: config.get_bool("nan")?.unwrap_or(false).then_some(f32::NAN),
        })
    }
}

impl TensorEnv for Point {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }
    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }
    fn max_episode_steps(&self) -> usize {
        self.steps
    }
    fn reset_draws(&self) -> usize {
        2
    }
    fn reset(&self, uniform: Tensor<2>) -> Tensor<2> {
        uniform * 2.0 - 1.0
    }
    fn observe(&self, state: Tensor<2>) -> Tensor<2> {
        state
    }
    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep {
        let state = state + actions * 0.1;
        let mut rewards = state.clone().square().sum_dim(1).neg().squeeze_dim::<1>(1);
        if let Some(reward) = self.reward {
            rewards = rewards.zeros_like() + reward;
        }
        if self.broken {
            rewards = Tensor::cat(vec![rewards.clone(), rewards], 0);
        }
        let far: Tensor<1, Bool> = state.clone().abs().max_dim(1).greater_elem(3.0).squeeze_dim(1);
        TensorStep::new(state, rewards).terminated(far)
    }
}

fn point() -> PpoConfig {
    // Tests share the registry, and run in any order.
    let _ = register_tensor_env("Test/Point-v0", Point::new);
    config("Test/Point-v0")
}

fn fails(config: &PpoConfig, parts: &[&str]) {
    let message = config.build(&device()).unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}` in: {message}"));
}

#[test]
fn environments_of_users_learn_and_change_their_settings() {
    let config = point().training(|t| t.lr(3e-3).num_epochs(8).gamma(0.9));
    let mut algo = config.build(&device()).unwrap();
    let mut returns = Vec::new();
    for _ in 0..30 {
        returns.push(algo.train().unwrap().get("env_runners/episode_return_mean").unwrap());
    }
    assert!(returns[29] > returns[0] + 1.0, "{returns:?}");
    assert_eq!(algo.train().unwrap().get("env_runners/episode_len_max"), Some(10.0));
    algo.set_env_config(&EnvConfig::new().with("steps", 4)).unwrap();
    // The window of 100 episodes is filled by the 128 that end within 32 steps.
    assert_eq!(algo.train().unwrap().get("env_runners/episode_len_max"), Some(4.0));
    let message = algo.set_env_config(&EnvConfig::new().with("stepz", 4)).unwrap_err().to_string();
    assert!(message.contains("stepz"), "{message}");
    // There is no such environment on the host.
    fails(&config.evaluation(|e| e.evaluation_interval(1)), &["`Test/Point-v0` on the host"]);
    let message = algo.evaluate().unwrap_err().to_string();
    assert!(message.contains("`Test/Point-v0` on the host"), "{message}");
    assert!(register_tensor_env("Test/Point-v0", Point::new).is_err());
}

#[test]
fn mistakes_of_an_environment_surface_when_it_is_built_or_read() {
    let with = |option: &str| point().env_config(EnvConfig::new().with(option, true));
    fails(&with("broken"), &["step (rewards)", "Test/Point-v0", "[6]", "[3]"]);
    fails(&config("Test/Unknown-v0"), &["Test/Unknown-v0", "CartPole-v1", "register_tensor_env"]);
    let options = EnvConfig::new().with("sutton_barto_reward", true);
    fails(&config("CartPole-v1").env_config(options), &["sutton_barto_reward", "on the device"]);
    let mut algo = with("nan").build(&device()).unwrap();
    let message = algo.train().unwrap_err().to_string();
    assert!(message.contains("environment 0 of `Test/Point-v0`"), "{message}");
    assert!(message.contains("NaN"), "{message}");
}

struct WatchesEpisodes;
impl Callbacks for WatchesEpisodes {}

struct WatchesResults;
impl Callbacks for WatchesResults {
    fn watches_runners(&self) -> bool {
        false
    }
    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        result.insert("seen", 1.0);
        Ok(())
    }
}

#[test]
fn settings_that_need_the_host_are_refused_with_both_names() {
    let cart_pole = || config("CartPole-v1");
    let refused = |config: PpoConfig, field: &str| fails(&config, &["on_device", field]);
    refused(cart_pole().env_runners(|e| e.num_env_runners(2)), "num_env_runners");
    let complete =
        |e: rekindle::algorithms::EnvRunnersConfig| e.batch_mode(BatchMode::CompleteEpisodes);
    refused(cart_pole().env_runners(complete), "batch_mode");
    let filter = ConnectorConfig::mean_std_filter();
    refused(cart_pole().env_runners(|e| e.env_to_module_connector(filter.clone())), "connector");
    refused(cart_pole().env_runners(|e| e.module_to_env_connector(filter)), "connector");
    refused(cart_pole().model("lstm_use_prev_action", true).model("use_lstm", true), "connector");
    refused(cart_pole().callbacks(WatchesEpisodes), "callbacks");
    refused(
        cart_pole().fault_tolerance(|f| f.restart_failed_sub_environments(true)),
        "restart_failed_sub_environments",
    );
    refused(cart_pole().fault_tolerance(|f| f.sample_timeout_s(1.0)), "sample_timeout_s");
    refused(config("Pendulum-v1").normalize_actions(false), "normalize_actions");
    fails(&cart_pole().model("use_lstm", true), &["TensorEnvRunner", "stateful"]);
    refused(cart_pole().multi_agent(|m| m.policies(["default_policy"])), "multi_agent");
    refused(cart_pole().with_execution_plan(HostOnly), "HostOnly");

    fn impala<T: TrainingConfig>(config: AlgorithmConfig<T>) -> String {
        let config = config.environment("CartPole-v1").env_runners(|e| e.on_device(true));
        config.build(&device()).unwrap_err().to_string()
    }
    let message = impala(ImpalaConfig::new());
    assert!(message.contains("on_device") && message.contains("Asynchronous"), "{message}");
    // Without a critic, the whole returns would be needed, which nobody knows yet.
    let config = VpgConfig::new()
        .environment("CartPole-v1")
        .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.9))
        .env_runners(|e| e.on_device(true));
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("accelerator") || message.contains("device"), "{message}");

    let mut algo = cart_pole().callbacks(WatchesResults).build(&device()).unwrap();
    assert_eq!(algo.train().unwrap().get("seen"), Some(1.0));
}

#[derive(Debug, Clone)]
struct HostOnly;
impl ExecutionPlan for HostOnly {
    fn name(&self) -> &str {
        "HostOnly"
    }
    fn training_step(
        &mut self,
        cx: &mut TrainingContext<'_>,
    ) -> rekindle::algorithms::Result<StepReport> {
        Ok(StepReport::of(&cx.sample(8)?))
    }

    fn get_state(&self) -> rekindle::algorithms::Result<State> {
        Ok(State::new())
    }
}

#[test]
fn a2c_learns_on_the_device_from_all_that_it_collects() {
    let config = A2cConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(16).rollout_fragment_length(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(160))
        .seed(1);
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    // Three fragments of 16 · 4 steps.
    assert_eq!(algo.env_steps(), 192);
    let key = "learners/default_policy/num_module_steps_trained_lifetime";
    assert_eq!(result.get(key), Some(192.0));
    assert!(result.get("learners/default_policy/policy_loss").is_some());
}
