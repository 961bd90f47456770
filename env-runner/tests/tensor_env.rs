//! Environments as tensor programs: equal to those on the host, step by step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::prelude::*;
use rekindle_catalog::{Categorical, Distribution};
use rekindle_checkpoint::Checkpointable as _;
use rekindle_core::any_tensor::{to_f32, to_i64};
use rekindle_core::{AnyTensor, Column, Generator};
use rekindle_env::classic_control::{CartPole, Pendulum};
use rekindle_env::{Buffer, Discrete, Env, EnvConfig, Space, SyncVectorEnv, VectorEnv, VectorStep};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, EnvRunnerGroup, Experience, PublishedAt, RunnerError, SampleOptions,
    TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum, TensorVectorEnv,
};
use rekindle_metrics::{Metrics, MetricsLogger};
use rekindle_rl_module::{AnyRLModule, MultiRLModule, RLModuleSpec};

const ENVS: usize = 16;

fn device() -> Device {
    Device::flex()
}

fn uniform(rng: &mut Generator, columns: usize) -> Tensor<2> {
    let values: Vec<f32> = (0..ENVS * columns).map(|_| rng.random() as f32).collect();
    Tensor::from_data(TensorData::new(values, [ENVS, columns]), &device())
}

fn tensor(values: &[f32], columns: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [ENVS, columns]), &device())
}

/// Environments on the host in the given states.
fn set_states<E: Env>(envs: &mut SyncVectorEnv<E>, states: &[f32]) {
    let mut saved = envs.state().unwrap().unwrap();
    let of_env = states.len() / ENVS;
    for (env, state) in saved.as_array_mut().unwrap().iter_mut().zip(states.chunks(of_env)) {
        env["physics"] = serde_json::json!(state);
    }
    envs.set_state(&saved).unwrap();
}

/// Steps both from the same states with the same actions, many times, and compares the results.
fn compare<E: Env, T: TensorEnv>(
    host: Vec<E>,
    env: T,
    mut draw: impl FnMut(&mut Generator) -> f32,
    to_buffer: impl Fn(&[f32]) -> Buffer,
) -> usize {
    let mut rng = Generator::from_seed(11);
    let draws = env.reset_draws();
    let mut host = SyncVectorEnv::new(host).unwrap();
    let mut found = VectorStep::new(host.observation_space(), ENVS);
    host.reset_with(&[Some(0); ENVS], &serde_json::Map::new(), &mut found).unwrap();
    let mut envs = TensorVectorEnv::new(env, uniform(&mut rng, draws));
    let mut ended = 0;
    for t in 0..400 {
        set_states(&mut host, &to_f32(envs.state()).unwrap());
        let actions: Vec<f32> = (0..ENVS).map(|_| draw(&mut rng)).collect();
        host.step(&to_buffer(&actions), &mut found).unwrap();
        let fresh = uniform(&mut rng, draws);
        let step = envs.step(tensor(&actions, 1), fresh.clone());

        let terminated: Vec<bool> =
            to_i64(step.terminated.int()).unwrap().iter().map(|&flag| flag == 1).collect();
        assert_eq!(terminated, found.terminated, "step {t}");
        let rewards = to_f32(step.rewards).unwrap();
        for (reward, expected) in rewards.iter().zip(&found.rewards) {
            assert!((f64::from(*reward) - expected).abs() < 1e-5, "{reward} {expected}");
        }
        let next = to_f32(step.next_observations).unwrap();
        let now = to_f32(step.observations).unwrap();
        let first = to_f32(envs.env().observe(envs.env().reset(fresh))).unwrap();
        let truncated = to_i64(step.truncated.int()).unwrap();
        let width = next.len() / ENVS;
        for env in 0..ENVS {
            let row = env * width..(env + 1) * width;
            let host = match terminated[env] {
                true => &found.final_observations,
                false => &found.observations,
            };
            let host = &host.as_f32().unwrap()[row.clone()];
            for (value, expected) in next[row.clone()].iter().zip(host) {
                assert!((value - expected).abs() < 5e-6, "step {t}: {value} {expected}");
            }
            let done = terminated[env] || truncated[env] == 1;
            ended += usize::from(done);
            let expected = if done { &first } else { &next };
            assert_eq!(now[row.clone()], expected[row], "what is seen after step {t}");
        }
    }
    ended
}

#[test]
fn cart_pole_equals_the_one_on_the_host_step_by_step() {
    let host = vec![CartPole::new(&EnvConfig::new()).unwrap(); ENVS];
    let to_buffer = |actions: &[f32]| {
        Buffer::from_i64(actions.iter().map(|&a| a as i64).collect(), &[]).unwrap()
    };
    let draw = |rng: &mut Generator| rng.integers(0, 2) as f32;
    let ended = compare(host, TensorCartPole::new().unwrap(), draw, to_buffer);
    assert!(ended > 100, "{ended} episodes ended");
}

#[test]
fn pendulum_equals_the_one_on_the_host_step_by_step() {
    let host = vec![Pendulum::new(&EnvConfig::new()).unwrap(); ENVS];
    let to_buffer = |actions: &[f32]| Buffer::from_f32(actions.to_vec(), &[1]).unwrap();
    // Beyond the bounds too: the environment clips.
    let draw = |rng: &mut Generator| rng.uniform(-3.0, 3.0) as f32;
    let ended = compare(host, TensorPendulum::new().unwrap(), draw, to_buffer);
    assert_eq!(ended, 2 * ENVS, "time limits at 200 and 400 steps");
}

#[test]
fn spaces_are_those_of_the_registered_environments() {
    let cart_pole = TensorCartPole::new().unwrap();
    assert_eq!(cart_pole.action_space(), &Space::discrete(2).unwrap());
    let env = rekindle_env::make("Pendulum-v1").unwrap();
    let pendulum = TensorPendulum::new().unwrap();
    assert_eq!(pendulum.observation_space(), env.observation_space());
    assert_eq!(pendulum.action_space(), env.action_space());
}

#[test]
fn a_balanced_pole_is_truncated_after_500_steps_and_not_terminated() {
    let mut rng = Generator::from_seed(5);
    let mut envs = TensorVectorEnv::new(TensorCartPole::new().unwrap(), uniform(&mut rng, 4));
    let gains = Tensor::<2>::from_floats([[1.0], [1.7], [35.0], [8.0]], &device());
    for t in 1..=501 {
        let push = envs.observations().matmul(gains.clone()).greater_elem(0.0).float();
        let step = envs.step(push, uniform(&mut rng, 4));
        assert_eq!(to_i64(step.terminated.int().sum()).unwrap(), [0], "step {t}");
        let expected = if t == 500 { ENVS as i64 } else { 0 };
        assert_eq!(to_i64(step.truncated.int().sum()).unwrap(), [expected], "step {t}");
    }
}

#[test]
fn a_state_that_is_not_a_number_ends_the_episode() {
    let env = TensorCartPole::new().unwrap();
    let step = env.step(tensor(&[f32::NAN; ENVS * 4], 4), tensor(&[0.0; ENVS], 1));
    let terminated = to_i64(step.terminated.unwrap().int().sum()).unwrap();
    assert_eq!(terminated, [ENVS as i64]);
}

fn module(env: &dyn TensorEnv) -> AnyRLModule {
    RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(serde_json::json!({ "fcnet_hiddens": [16] }))
        .build_seeded(&device(), Generator::from_seed(0))
        .unwrap()
}

#[test]
fn a_rollout_is_a_record_of_what_happened() {
    let env = TensorCartPole::new().unwrap();
    let module = module(&env);
    let mut runner = TensorEnvRunner::new(env, ENVS, 3, &device()).unwrap();
    let rollout = runner.sample(&module, 100).unwrap();
    assert_eq!(rollout.env_steps(), 100 * ENVS);
    assert_eq!(rollout.observations.dims(), [100 * ENVS, 4]);
    assert_eq!(rollout.actions.shape(), [100 * ENVS]);

    let inputs = rollout.action_dist_inputs.clone();
    let Space::Discrete(space) = Space::discrete(2).unwrap() else { panic!("Discrete") };
    let logp =
        Categorical::new(&space).logp(inputs, &Column::from(rollout.actions.clone())).unwrap();
    assert_eq!(to_f32(logp).unwrap(), to_f32(rollout.action_logp.clone()).unwrap());

    // The next observation of a step is the observation of the following step, unless the episode
    // ended.
    let seen = to_f32(rollout.observations.clone()).unwrap();
    let next = to_f32(rollout.next_observations.clone()).unwrap();
    let done = to_f32(rollout.done.clone()).unwrap();
    let returns = to_f32(rollout.episode_returns.clone()).unwrap();
    let (mut count, mut sum) = (0.0, 0.0);
    for row in 0..99 * ENVS {
        let (here, there) = (row * 4..row * 4 + 4, (row + ENVS) * 4..(row + ENVS) * 4 + 4);
        if done[row] == 0.0 {
            assert_eq!(next[here], seen[there]);
            assert_eq!(returns[row + ENVS], returns[row] + 1.0);
        } else {
            assert!(seen[there].iter().all(|x| x.abs() <= 0.05), "a first observation");
            assert_eq!(returns[row + ENVS], 1.0);
        }
    }
    for (done, episode_return) in done.iter().zip(&returns) {
        count += f64::from(*done);
        sum += f64::from(done * episode_return);
    }
    let finished = rollout.finished_episodes().unwrap();
    assert_eq!((finished.count, finished.return_sum), (count, sum));
    assert!((10.0..60.0).contains(&finished.mean_return()), "{finished:?} of a random policy");
}

#[test]
fn a_seed_gives_the_same_rollouts_and_another_seed_others() {
    let rewards = |seed| {
        let env = TensorPendulum::new().unwrap();
        let module = module(&env);
        let mut runner = TensorEnvRunner::new(env, ENVS, seed, &device()).unwrap();
        runner.sample(&module, 5).unwrap();
        to_f32(runner.sample(&module, 5).unwrap().rewards).unwrap()
    };
    assert_eq!(rewards(1), rewards(1));
    assert_ne!(rewards(1), rewards(2));
}

#[test]
fn what_cannot_be_done_on_the_device_is_refused() {
    let env = || TensorCartPole::new().unwrap();
    let message = TensorEnvRunner::new(env(), 0, 0, &device()).unwrap_err().to_string();
    assert!(message.contains("`num_envs` is 0"), "{message}");
    let mut runner = TensorEnvRunner::new(env(), ENVS, 0, &device()).unwrap();
    let pendulum = module(&TensorPendulum::new().unwrap());
    assert!(matches!(runner.sample(&pendulum, 1), Err(RunnerError::Config(_))));
    let lstm = RLModuleSpec::default()
        .observation_space(env().observation_space().clone())
        .action_space(env().action_space().clone())
        .model_config(serde_json::json!({ "use_lstm": true }))
        .build(&device())
        .unwrap();
    let message = runner.sample(&lstm, 1).unwrap_err().to_string();
    assert!(message.contains("SingleAgentEnvRunner"), "{message}");
    let message = runner.sample(&module(&env()), 0).unwrap_err().to_string();
    assert!(message.contains("`steps` is 0"), "{message}");
}

#[test]
fn actions_are_drawn_with_their_probabilities() {
    /// An environment of one step that hands back its actions.
    #[derive(Debug)]
    struct Echo(Space, Space);
    impl TensorEnv for Echo {
        fn observation_space(&self) -> &Space {
            &self.0
        }
        fn action_space(&self) -> &Space {
            &self.1
        }
        fn max_episode_steps(&self) -> usize {
            1
        }
        fn reset_draws(&self) -> usize {
            1
        }
        fn reset(&self, uniform: Tensor<2>) -> Tensor<2> {
            uniform * 0.0 + 1.0
        }
        fn observe(&self, state: Tensor<2>) -> Tensor<2> {
            state
        }
        fn step(
            &self,
            state: Tensor<2>,
            actions: Tensor<2>,
        ) -> rekindle_env_runner::tensor_env::TensorStep {
            let rewards = actions.squeeze_dim(1);
            rekindle_env_runner::tensor_env::TensorStep::new(state, rewards)
        }
    }
    let env = || {
        let actions = Space::Discrete(Discrete::with_start(3, 5).unwrap());
        Echo(Space::boxed(-1.0, 1.0, &[1]).unwrap(), actions)
    };
    let module = module(&env());
    let mut runner = TensorEnvRunner::new(env(), 4000, 0, &device()).unwrap();
    let rollout = runner.sample(&module, 5).unwrap();
    let actions = rollout.actions.to_i64().unwrap();
    let received = to_f32(rollout.rewards).unwrap();
    assert!(actions.iter().zip(&received).all(|(a, r)| *a as f32 == *r));
    // All see the same, so all draw from the same probabilities.
    let inputs = rollout.action_dist_inputs.narrow(0, 0, 1);
    let probabilities = to_f32(burn::tensor::activation::softmax(inputs, 1)).unwrap();
    for (index, probability) in probabilities.iter().enumerate() {
        let count = actions.iter().filter(|&&a| a == index as i64 + 5).count() as f32;
        let (n, p) = (20_000.0, *probability);
        let deviation = (n * p * (1.0 - p)).sqrt();
        assert!((count - n * p).abs() < 4.0 * deviation, "{count} of {n}, {p}");
    }
    let _: &AnyTensor = &rollout.actions;
}

#[test]
fn a_restored_runner_goes_on_exactly() {
    let env = || TensorPendulum::new().unwrap();
    let module = module(&env());
    let mut runner = TensorEnvRunner::new(env(), 3, 7, &device()).unwrap();
    runner.sample(&module, 150).unwrap();
    let state = runner.get_state().unwrap();
    let mut restored = TensorEnvRunner::new(env(), 3, 8, &device()).unwrap();
    restored.set_state(&state).unwrap();
    // Past the time limit of the running episodes.
    let [expected, found] = [&mut runner, &mut restored].map(|runner| {
        let rollout = runner.sample(&module, 60).unwrap();
        [to_f32(rollout.observations), to_f32(rollout.episode_returns)].map(Result::unwrap)
    });
    assert_eq!(expected, found);
    let mut wider = TensorEnvRunner::new(env(), 4, 7, &device()).unwrap();
    let message = wider.set_state(&state).unwrap_err().to_string();
    assert!(message.contains("`state` has shape [3, 2], this runner's has [4, 2]"), "{message}");
}

#[test]
fn a_module_for_other_spaces_is_refused() {
    let built = |observations: &Space, actions: Space| {
        let spec = RLModuleSpec::default().observation_space(observations.clone());
        spec.action_space(actions).build(&device()).unwrap()
    };
    let refused = |error: RunnerError, parts: &[&str]| {
        assert!(matches!(error, RunnerError::ModuleSpaces { .. }), "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "no `{part}` in: {error}");
        }
    };
    let pendulum = TensorPendulum::new().unwrap();
    let seen = pendulum.observation_space().clone();
    let mut runner = TensorEnvRunner::new(pendulum, 2, 0, &device()).unwrap();
    let narrow = built(&seen, Space::boxed(-1.0, 1.0, &[1]).unwrap());
    refused(runner.sample(&narrow, 1).unwrap_err(), &["TensorPendulum", "action space"]);

    let cart_pole = TensorCartPole::new().unwrap();
    let seen = cart_pole.observation_space().clone();
    let mut runner = TensorEnvRunner::new(cart_pole, 2, 0, &device()).unwrap();
    let five = built(&seen, Space::discrete(5).unwrap());
    refused(runner.sample(&five, 1).unwrap_err(), &["TensorCartPole", "action space"]);
    let wide = built(&Space::unbounded(&[9]).unwrap(), Space::discrete(2).unwrap());
    refused(runner.sample(&wide, 1).unwrap_err(), &["TensorCartPole", "observation space"]);
    runner.sample(&built(&seen, Space::discrete(2).unwrap()), 1).unwrap();
}

/// A group of runners on the device with a module.
fn group(env: &str, num_envs: usize, runners: usize) -> EnvRunnerGroup {
    let config = EnvRunnerConfig::new(env).num_envs(num_envs).on_device(true);
    let mut group = EnvRunnerGroup::new(&config, runners, 1, &device()).unwrap();
    let (id, (observations, actions)) = group.module_spaces().pop_first().unwrap();
    let spec = RLModuleSpec::default().observation_space(observations).action_space(actions);
    let mut modules = MultiRLModule::new();
    modules.add_module(id, spec.build(&device()).unwrap(), false).unwrap();
    group.set_modules(&modules, PublishedAt::default()).unwrap();
    group
}

fn sample(group: &mut EnvRunnerGroup, steps: usize) -> Experience {
    group.sample(Amount::Timesteps(steps), SampleOptions::default()).unwrap()
}

/// Returns the metrics of the episodes that ended since the last call.
fn metrics(group: &mut EnvRunnerGroup) -> Metrics {
    group.read_device().unwrap();
    let mut logger = MetricsLogger::new();
    logger.aggregate("", group.take_metrics()).unwrap();
    logger.reduce()
}

#[test]
fn runners_of_one_group_collect_different_experience() {
    let experience = sample(&mut group("CartPole-v1", 4, 3), 40);
    assert_eq!((experience.env_steps, experience.on_device.len()), (120, 3));
    let seen = experience.on_device.iter().map(|rollout| {
        let first = to_f32(rollout.observations.clone().narrow(0, 0, 4)).unwrap();
        (first, rollout.actions.to_i64().unwrap())
    });
    let seen: Vec<_> = seen.collect();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(seen[a].0 != seen[b].0 && seen[a].1 != seen[b].1, "{a} and {b}");
    }
}

#[test]
fn no_steps_are_no_experience() {
    let mut group = group("CartPole-v1", 4, 1);
    let experience = sample(&mut group, 0);
    assert_eq!((experience.env_steps, experience.on_device.len()), (0, 0));
    assert_eq!(sample(&mut group, 4).env_steps, 4);
}

#[test]
fn episodes_on_the_device_are_counted_once_however_late_they_are_read() {
    // Every episode of Pendulum has 200 steps: two copies end two episodes each 100 calls of 4 steps.
    let mut group = group("Pendulum-v1", 2, 1);
    for _ in 0..300 {
        sample(&mut group, 4);
    }
    let of = metrics(&mut group);
    assert_eq!((of.get("num_episodes"), of.get("episode_len_mean")), (Some(6.0), Some(200.0)));
    // Restoring does not lose the episodes that were not read.
    let state = group.get_state().unwrap();
    for _ in 0..100 {
        sample(&mut group, 4);
    }
    group.set_state(&state).unwrap();
    assert_eq!(metrics(&mut group).get("num_episodes"), Some(2.0));
    assert_eq!(metrics(&mut group).get("num_episodes"), Some(0.0));
}
