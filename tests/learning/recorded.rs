//! Short training runs from recorded data, with fixed seeds. Scripted policies act in the data.

use burn::prelude::Device;
use rekindle::algorithms::{AlgorithmConfig, Replay, TrainingConfig};
use rekindle::env::{Env, ResetOptions};
use rekindle::env_runner::SegmentEnd;
use rekindle::learner::replay::ReplayConfig;
use rekindle::offline::{Episode, OfflineData};
use rekindle::prelude::*;

/// A scripted policy: from an observation to the number of an action, or to a torque in [−1, 1].
type Policy<'a> = &'a mut dyn FnMut(&[f32], &mut Generator) -> f32;

/// Plays an episode.
fn play(env: &mut dyn Env, seed: u64, rng: &mut Generator, policy: Policy<'_>) -> Episode {
    let space = env.observation_space().clone();
    let mut observations = Buffer::zeros(&space, 1);
    let mut action = Buffer::zeros(env.action_space(), 1);
    let is_discrete = action.as_i64().is_ok();
    let (mut actions, mut rewards) = (Vec::new(), Vec::new());
    env.reset(&ResetOptions::seed(seed), observations.row_mut(0)).unwrap();
    let end = loop {
        let last = observations.rows() - 1;
        let chosen = policy(observations.row(last).as_f32().unwrap(), rng);
        match is_discrete {
            true => action.row_mut(0).write_discrete(chosen as i64).unwrap(),
            // The torque is at most 2.
            false => action.row_mut(0).write_f32(&[2.0 * chosen]).unwrap(),
        }
        observations.extend_zeros(1);
        let step = env.step(action.row(0), observations.row_mut(last + 1)).unwrap();
        actions.push(chosen);
        rewards.push(step.reward as f32);
        if step.is_done() {
            break if step.terminated { SegmentEnd::Terminated } else { SegmentEnd::Truncated };
        }
    };
    let actions = match is_discrete {
        true => Buffer::from_i64(actions.into_iter().map(|x| x as i64).collect(), &[]),
        false => Buffer::from_f32(actions, &[1]),
    };
    Episode { observations, actions: actions.unwrap(), rewards, end }
}

/// Data with the spaces of modules in an environment.
fn data_of(env: &str) -> OfflineData {
    let device = DeviceSpec::Cpu.open().unwrap();
    let runners = EnvRunnerGroup::new(&EnvRunnerConfig::new(env), 1, 1, &device).unwrap();
    OfflineData::of_modules(runners.module_spaces())
}

/// Balances the pole, with one action in ten at random.
fn balance(obs: &[f32], rng: &mut Generator) -> f32 {
    let [x, velocity, angle, turning] = [obs[0], obs[1], obs[2], obs[3]];
    let right = angle + 0.3 * turning + 0.02 * x + 0.05 * velocity > 0.0;
    f32::from(right != (rng.random() < 0.05))
}

/// Pushes to the left, with one action in ten at random.
fn push_left(_: &[f32], rng: &mut Generator) -> f32 {
    f32::from(rng.random() < 0.05)
}

type Script = fn(&[f32], &mut Generator) -> f32;

/// Steps of a good policy on CartPole, and of a bad one.
fn cartpole([good, bad]: [usize; 2]) -> OfflineData {
    let (mut env, mut rng) = (make("CartPole-v1").unwrap(), Generator::from_seed(0));
    let mut data = data_of("CartPole-v1");
    for (steps, policy) in [(good, balance as Script), (bad, push_left as Script)] {
        let mut left = steps as i64;
        while left > 0 {
            let seed = data.num_episodes() as u64;
            let episode = play(&mut *env, seed, &mut rng, &mut |obs, rng| policy(obs, rng));
            left -= episode.rewards.len() as i64;
            data.push_episode(episode).unwrap();
        }
    }
    data
}

/// Episodes of a controller that swings up a pendulum, with more or less noise.
fn pendulum(episodes: usize) -> OfflineData {
    let (mut env, mut rng) = (make("Pendulum-v1").unwrap(), Generator::from_seed(0));
    let mut data = data_of("Pendulum-v1");
    for number in 0..episodes {
        let noise = number as f64 / episodes as f64;
        let mut policy = |obs: &[f32], rng: &mut Generator| {
            let (cos, angle, speed) = (obs[0], obs[1].atan2(obs[0]), obs[2]);
            let energy = speed * speed / 6.0 + 5.0 * (cos - 1.0);
            let best = match cos > 0.9 {
                true => -5.0 * angle - 1.0 * speed,
                false => -2.0 * energy * speed.signum(),
            };
            match rng.random() < noise {
                true => rng.uniform(-1.0, 1.0) as f32,
                false => best.clamp(-1.0, 1.0),
            }
        };
        let episode = play(&mut *env, number as u64, &mut rng, &mut policy);
        data.push_episode(episode).unwrap();
    }
    data
}

fn returns_of(algo: &Algorithm, env: &str, device: &Device) -> f64 {
    let played = EnvRunnerConfig::new(env).num_envs(10).seed(77);
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    evaluate(module, &played, 20, SampleOptions::greedy(), device).unwrap().mean_return()
}

/// Learns for at most `rounds` of 100 updates, until 20 greedy episodes have a mean return of at least `enough`.
/// Returns the best mean.
fn learned<T: TrainingConfig>(
    config: AlgorithmConfig<T>,
    data: OfflineData,
    env: &str,
    rounds: usize,
    enough: f64,
) -> f64 {
    let device = DeviceSpec::Cpu.open().unwrap();
    let config = config.model("fcnet_hiddens", vec![64, 64]).offline_source(data).seed(1);
    let mut algo = config.build(&device).unwrap();
    let mut best = f64::NEG_INFINITY;
    for _ in 0..rounds {
        algo.train().unwrap();
        best = best.max(returns_of(&algo, env, &device));
        if best >= enough {
            break;
        }
    }
    best
}

#[test]
fn bc_clones_an_expert_and_its_loss_begins_at_the_entropy_of_a_coin() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = BcConfig::new()
        .offline_source(cartpole([5_000, 0]))
        .offline_data(|o| o.dataset_num_iters_per_learner(1))
        .training(|t| t.lr(1e-3).train_batch_size(512))
        .model("fcnet_hiddens", vec![64, 64])
        .seed(1)
        .build(&device)
        .unwrap();
    let mut loss = || algo.train().unwrap().get("learners/default_policy/policy_loss").unwrap();
    let first = loss();
    assert!((first - 2.0_f64.ln()).abs() < 0.03, "{first}");
    assert!((1..1000).any(|_| loss() < 0.4));
    let mut reached = f64::NEG_INFINITY;
    for _ in 0..20 {
        (0..20).for_each(|_| drop(algo.train().unwrap()));
        reached = returns_of(&algo, "CartPole-v1", &device);
        if reached >= 450.0 {
            break;
        }
    }
    assert!(reached >= 450.0, "{reached}");
}

#[test]
fn marwil_and_discrete_cql_exceed_a_mixture_that_bc_cannot() {
    let data = cartpole([3_000, 6_000]);
    let bc = BcConfig::new().training(|t| t.lr(1e-3).train_batch_size(256));
    let cloned = learned(bc, data.clone(), "CartPole-v1", 5, 250.0);
    assert!(cloned < 250.0, "BC reached {cloned}");
    let marwil = MarwilConfig::new().training(|t| t.lr(1e-3).train_batch_size(256));
    let reached = learned(marwil, data.clone(), "CartPole-v1", 20, 350.0);
    assert!(reached >= 350.0, "MARWIL reached {reached}");
    let cql = CqlConfig::new().training(|t| {
        t.train_batch_size(128).bc_iters(0).min_q_weight(0.5).actor_lr(1e-3).tau(0.02).gamma(0.97)
    });
    let reached = learned(cql, data, "CartPole-v1", 20, 400.0);
    assert!(reached >= 400.0, "CQL reached {reached}");
}

fn iql() -> IqlConfig {
    IqlConfig::new().training(|t| {
        t.tau(0.01)
            .expectile(0.8)
            .beta(0.3)
            .gamma(0.95)
            .train_batch_size(64)
            .actor_lr(1e-3)
            .critic_lr(1e-3)
            .value_lr(1e-3)
    })
}

#[test]
fn cql_learns_to_swing_up_a_pendulum_from_noisy_episodes() {
    let cql = CqlConfig::new().training(|t| {
        t.train_batch_size(64)
            .bc_iters(500)
            .num_actions(4)
            .min_q_weight(1.0)
            .actor_lr(1e-3)
            .initial_alpha(0.1)
    });
    let reached = learned(cql, pendulum(40), "Pendulum-v1", 30, -300.0);
    assert!(reached >= -300.0, "{reached}");
}

#[test]
fn iql_learns_to_swing_up_a_pendulum_from_noisy_episodes() {
    let reached = learned(iql(), pendulum(40), "Pendulum-v1", 60, -300.0);
    assert!(reached >= -300.0, "{reached}");
}

#[test]
fn iql_from_few_noisy_episodes_improves_in_the_environment() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learner");
    let config = iql().model("fcnet_hiddens", vec![64, 64]).offline_source(pendulum(4)).seed(1);
    let mut offline = config.build(&device).unwrap();
    (0..5).for_each(|_| drop(offline.train().unwrap()));
    let before = returns_of(&offline, "Pendulum-v1", &device);
    offline.save_to_path(&path).unwrap();
    let plan = Replay::new(ReplayConfig::default().capacity(20_000), 64).data_share(0.25);
    let config = config
        .environment("Pendulum-v1")
        .with_execution_plan(plan)
        .reporting(|r| r.min_sample_timesteps_per_iteration(500));
    let mut online = config.build(&device).unwrap();
    online.restore_component(path.join("learner"), "learner").unwrap();
    let mut after = before;
    while online.env_steps() < 8_000 && after < before + 200.0 {
        online.train().unwrap();
        after = returns_of(&online, "Pendulum-v1", &device);
    }
    assert!(before < -300.0 && after >= before + 200.0, "{before} {after}");
}
