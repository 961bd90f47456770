//! PPO in one file: rollouts, advantages, loss and optimizer steps on the library's primitives. Read it
//! from top to bottom to see what [`PpoConfig`] does; `cartpole_ppo` is the same task by configuration.
//!
//! `cargo run --release --example ppo_in_one_file` (see `--help`)

#[path = "common/program.rs"]
mod program;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use clap::Parser;
use rekindle::catalog::distribution::Categorical;
use rekindle::catalog::{Distribution, ModelBuilder};
use rekindle::core::HostBatch;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::rng::{Purpose, stream};
use rekindle::env::{VectorStep, seeds_from};
use rekindle::learner::ops::{gae, standardize};
use rekindle::learner::{GradClipBy, Gradients, Optimizer};
use rekindle::prelude::*;

const ENV: &str = "CartPole-v1";
const NUM_ENVS: usize = 8;
const ROLLOUT: usize = 128; // steps per environment and iteration
const EPOCHS: usize = 10;
const MINIBATCH: usize = 256;
const LEARNING_RATE: f64 = 1e-3; // falls linearly to 0
const GAMMA: f32 = 0.99;
const LAMBDA: f32 = 0.95;
const CLIP: f32 = 0.2;
const VALUE_COEFF: f32 = 0.5;
const ENTROPY_COEFF: f32 = 0.01;
const MAX_GRAD_NORM: f64 = 0.5;
const TARGET_RETURN: f64 = 475.0;
const MAX_STEPS: u64 = 300_000;

/// Policy and value function, two networks.
#[derive(Module, Debug)]
pub(crate) struct Agent {
    policy: Mlp,
    value: Mlp,
}

impl Agent {
    fn new(observations: usize, actions: usize, seed: u64, device: &Device) -> Self {
        let builder = ModelBuilder::new(device, stream(seed, 0, 0, Purpose::Init));
        let mlp = |outputs| MlpConfig::new(observations, &[64, 64], Some(outputs)).build(&builder);
        Self { policy: mlp(actions), value: mlp(1) }
    }

    /// Observations `[B, 4]` to values `[B]`.
    fn values(&self, observations: Tensor<2>) -> Tensor<1> {
        self.value.forward(observations).squeeze_dim(1)
    }
}

/// Uploads the observations of all environments as `[NUM_ENVS, 4]`.
fn upload(observations: &Buffer, device: &Device) -> Result<Tensor<2>, MainError> {
    Ok(rekindle::core::host_batch::upload(observations, device)?.tensor()?.float::<2>()?)
}

/// The trajectory of one environment since the start of its episode or of the rollout.
#[derive(Clone, Default)]
struct Trajectory {
    observations: Vec<f32>,
    actions: Vec<i64>,
    logps: Vec<f32>,
    values: Vec<f32>,
    rewards: Vec<f32>,
}

/// The rows of a train batch.
#[derive(Default)]
struct Rows {
    observations: Vec<f32>,
    actions: Vec<i64>,
    logps: Vec<f32>,
    advantages: Vec<f32>,
    value_targets: Vec<f32>,
}

impl Rows {
    /// Adds a trajectory. `bootstrap` is the value of the observation that follows, or 0 after a
    /// terminal state.
    fn add(&mut self, trajectory: &mut Trajectory, bootstrap: f32) -> Result<(), MainError> {
        let trajectory = std::mem::take(trajectory);
        let (advantages, value_targets) =
            gae(&trajectory.rewards, &trajectory.values, bootstrap, GAMMA, LAMBDA)?;
        self.observations.extend(trajectory.observations);
        self.actions.extend(trajectory.actions);
        self.logps.extend(trajectory.logps);
        self.advantages.extend(advantages);
        self.value_targets.extend(value_targets);
        Ok(())
    }

    fn into_batch(mut self, width: usize) -> Result<HostBatch, MainError> {
        standardize(&mut self.advantages);
        let mut batch = HostBatch::new();
        batch.insert(Columns::OBS, Buffer::from_f32(self.observations, &[width])?)?;
        batch.insert(Columns::ACTIONS, Buffer::from_i64(self.actions, &[])?)?;
        batch.insert_f32(Columns::ACTION_LOGP, self.logps)?;
        batch.insert_f32(Columns::ADVANTAGES, self.advantages)?;
        batch.insert_f32(Columns::VALUE_TARGETS, self.value_targets)?;
        Ok(batch)
    }
}

/// PPO's loss: clipped surrogate, squared error of the values, entropy (Schulman et al., 2017, eq. 9).
fn loss(agent: &Agent, actions: &Categorical, batch: &Batch) -> Result<Tensor<1>, MainError> {
    let observations = batch.float::<2>(Columns::OBS)?;
    let logits = agent.policy.forward(observations.clone());
    let logp = actions.logp(logits.clone(), batch.column(Columns::ACTIONS)?)?;
    let ratio = (logp - batch.float::<1>(Columns::ACTION_LOGP)?).exp();
    let advantages = batch.float::<1>(Columns::ADVANTAGES)?;
    let clipped = ratio.clone().clamp(1.0 - CLIP, 1.0 + CLIP) * advantages.clone();
    let surrogate = (ratio * advantages).min_pair(clipped).mean();
    let error = agent.values(observations) - batch.float::<1>(Columns::VALUE_TARGETS)?;
    let entropy = actions.entropy(logits)?.mean();
    Ok(error.square().mean() * VALUE_COEFF - surrogate - entropy * ENTROPY_COEFF)
}

/// Trains until the mean return of the last 100 episodes is at least `target`. Returns the agent and
/// that mean; calls `report` after every iteration with the steps so far and the mean.
pub(crate) fn train(
    seed: u64,
    target: f64,
    max_steps: u64,
    mut report: impl FnMut(u64, f64) -> Result<(), MainError>,
) -> Result<(Agent, f64), MainError> {
    let plain = DeviceSpec::Cpu.open()?;
    let device = plain.clone().autodiff();
    let mut envs = make_vec(ENV, NUM_ENVS)?;
    let width = envs.observation_space().flat_dim();
    let num_actions = envs.action_space().as_discrete()?.n();
    let distribution = Categorical::new(envs.action_space().as_discrete()?);
    let mut agent = Agent::new(width, num_actions, seed, &device).train();
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let mut action_rng = stream(seed, 0, 0, Purpose::Action);
    let mut shuffle_rng = stream(seed, 0, 0, Purpose::Shuffle);

    let mut step = VectorStep::new(envs.observation_space(), NUM_ENVS);
    let mut actions = Buffer::zeros(envs.action_space(), NUM_ENVS);
    envs.reset(&seeds_from(Some(seed), NUM_ENVS), &mut step)?;
    let mut running_returns = [0.0; NUM_ENVS];
    let mut last_returns = VecDeque::new();
    let (mut steps, mut mean) = (0, f64::NAN);

    while steps < max_steps {
        // 1. A rollout: act in all environments at once, without gradients.
        let actor = agent.valid();
        let mut rows = Rows::default();
        let mut trajectories = vec![Trajectory::default(); NUM_ENVS];
        for _ in 0..ROLLOUT {
            let observations = upload(&step.observations, &plain)?;
            let logits = to_f32(actor.policy.forward(observations.clone()))?;
            let values = to_f32(actor.values(observations))?;
            let logits = logits.chunks(num_actions);
            for ((env, trajectory), logits) in trajectories.iter_mut().enumerate().zip(logits) {
                let action = actions.row_mut(env);
                let logp = distribution.sample_and_logp(logits, &mut action_rng, action)?;
                trajectory.observations.extend(step.observations.row(env).as_f32()?);
                trajectory.actions.push(actions.row(env).as_discrete()?);
                trajectory.logps.push(logp);
                trajectory.values.push(values[env]);
            }
            envs.step(&actions, &mut step)?;
            steps += NUM_ENVS as u64;
            for (env, trajectory) in trajectories.iter_mut().enumerate() {
                trajectory.rewards.push(step.rewards[env] as f32);
                running_returns[env] += step.rewards[env];
                if !step.is_done(env) {
                    continue;
                }
                // 2. Where an episode ends. After a time limit the last observation still has a value.
                let bootstrap = match step.terminated[env] {
                    true => 0.0,
                    false => to_f32(actor.values(upload(&step.final_observations, &plain)?))?[env],
                };
                rows.add(trajectory, bootstrap)?;
                last_returns.push_back(std::mem::take(&mut running_returns[env]));
                if last_returns.len() > 100 {
                    last_returns.pop_front();
                }
            }
        }
        // 3. Where the rollout ends, episodes continue.
        let values = to_f32(actor.values(upload(&step.observations, &plain)?))?;
        for (trajectory, value) in trajectories.iter_mut().zip(values) {
            rows.add(trajectory, value)?;
        }

        // ANCHOR: loop
        // 4. The update: several passes over the rows in shuffled minibatches.
        let batch = Arc::new(rows.into_batch(width)?);
        let lr = LEARNING_RATE * (1.0 - steps as f64 / MAX_STEPS as f64).max(0.0);
        for _ in 0..EPOCHS {
            for minibatch in shuffle_rng.permutation(batch.rows()).chunks(MINIBATCH) {
                let minibatch = batch.gather_to_device(minibatch.to_vec(), &device);
                let mut gradients = loss(&agent, &distribution, &minibatch)?.backward();
                let mut gradients = Gradients::take(&agent, &mut gradients);
                if let Some(norm) = gradients.global_norm()? {
                    gradients = gradients.clip(GradClipBy::GlobalNorm, MAX_GRAD_NORM, &norm)?;
                }
                let (stepped, outcome) = optimizer.step(lr, None, agent, gradients);
                agent = stepped;
                outcome?;
            }
        }
        // ANCHOR_END: loop

        mean = last_returns.iter().sum::<f64>() / last_returns.len() as f64;
        report(steps, mean)?;
        if mean >= target {
            break;
        }
    }
    Ok((agent.valid(), mean))
}

/// Plays one episode in each of 100 environments with the most probable actions. Returns the mean
/// return.
pub(crate) fn play_greedily(agent: &Agent, seed: u64) -> Result<f64, MainError> {
    const EPISODES: usize = 100;
    let device = DeviceSpec::Cpu.open()?;
    let mut envs = make_vec(ENV, EPISODES)?;
    let distribution = Categorical::new(envs.action_space().as_discrete()?);
    let mut step = VectorStep::new(envs.observation_space(), EPISODES);
    let mut actions = Buffer::zeros(envs.action_space(), EPISODES);
    envs.reset(&seeds_from(Some(seed), EPISODES), &mut step)?;
    let (mut returns, mut playing) = (0.0, [true; EPISODES]);
    while playing.contains(&true) {
        let logits = to_f32(agent.policy.forward(upload(&step.observations, &device)?))?;
        for (env, logits) in logits.chunks(logits.len() / EPISODES).enumerate() {
            distribution.deterministic(logits, actions.row_mut(env))?;
        }
        envs.step(&actions, &mut step)?;
        for (env, playing) in playing.iter_mut().enumerate().filter(|(_, playing)| **playing) {
            returns += step.rewards[env];
            *playing = !step.is_done(env);
        }
    }
    Ok(returns / EPISODES as f64)
}

/// Trains PPO on CartPole-v1 to a mean return of 475 over 100 episodes, or for 300 000 steps.
#[derive(Parser)]
struct Args {
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Directory for metrics.jsonl
    #[arg(long, default_value = "runs/ppo_in_one_file")]
    out: PathBuf,
}

#[allow(dead_code, reason = "a test calls `train` and `play_greedily` instead")]
fn main() -> Result<ExitCode, MainError> {
    let args = Args::parse();
    program::show_warnings();
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("cannot create directory {}: {error}", args.out.display()))?;
    let mut jsonl = JsonlSink::create(args.out.join("metrics.jsonl"))?;
    let mut iteration = 0;
    let (agent, mean) = train(args.seed, TARGET_RETURN, MAX_STEPS, |steps, mean| {
        iteration += 1;
        println!("{steps:>7} steps, mean return {mean:.1}");
        let mut metrics = Metrics::new();
        metrics.insert("env_runners/num_env_steps_sampled_lifetime", steps as f64);
        metrics.insert("env_runners/episode_return_mean", mean);
        Ok(jsonl.write(iteration, &metrics)?)
    })?;
    let greedy = play_greedily(&agent, args.seed + 1_000_000)?;
    println!("greedy return, mean 100   {greedy:>10.1}");
    let solved = mean >= TARGET_RETURN;
    Ok(if solved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
