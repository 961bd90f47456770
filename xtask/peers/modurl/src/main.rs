//! DQN on CartPole-v1 and SAC on Pendulum-v1 with ModuRL, timed after a warm-up.
//!
//! The workloads `dqn-cartpole` and `sac-pendulum-64` of `cargo xtask compare`; prints one JSON line per case. The
//! settings are those of the other peers: 64 × 64 relu networks, minibatches of 64.

use std::fmt::Debug;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use clap::Parser;
use modurl::prelude::*;
use modurl_gym::classic_control::{cartpole::CartPoleV1, pendulum::PendulumV1};

/// Steps of one call of `learn`.
const STEPS: usize = 500;
/// Far beyond what is measured; schedules end there.
const HORIZON: usize = 10_000_000;
const CAPACITY: usize = 100_000;
const MINIBATCH: usize = 64;
const LEARNING_STARTS: usize = 101;

/// Measures DQN and SAC and prints one line of JSON per case.
#[derive(Parser)]
struct Args {
    /// `dqn` and `sac-64`, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "dqn,sac-64")]
    cases: Vec<String>,
    /// Seconds to measure each case.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Threads of candle.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Not used: candle's generator on the CPU has no seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let _ = args.seed;
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    for case in &args.cases {
        let value = match case.as_str() {
            "dqn" => dqn(args.seconds)?,
            "sac-64" => sac(args.seconds)?,
            _ => bail!("invalid case `{case}`"),
        };
        let line = serde_json::json!({
            "case": case,
            "system": "modurl",
            "version": "0.1.0",
            "value": value,
        });
        println!("{line}");
    }
    Ok(())
}

/// Calls `learn` for some time after a first call, and returns steps per second.
fn rate(seconds: f64, mut learn: impl FnMut() -> Result<()>) -> Result<f64> {
    learn()?;
    let (started, mut steps) = (Instant::now(), 0);
    loop {
        learn()?;
        steps += STEPS;
        let elapsed = started.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(steps as f64 / elapsed);
        }
    }
}

/// ModuRL's errors implement `Debug` alone.
fn plain<T, E: Debug>(result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn adam(vars: &VarMap, lr: f64) -> Result<AdamW> {
    let settings = ParamsAdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    AdamW::new(vars.all_vars(), settings).context("optimizer")
}

fn network(vars: &VarMap, inputs: usize, outputs: usize, name: &str) -> Result<MLP> {
    let network = MLP::builder()
        .input_size(inputs)
        .output_size(outputs)
        .vb(VarBuilder::from_varmap(vars, DType::F32, &Device::Cpu))
        .activation(Tensor::relu)
        .hidden_layer_sizes(vec![64, 64])
        .name(name.to_owned())
        .build()?;
    Ok(network)
}

/// Stores observations on the processor, in single precision.
fn storage() -> ReplayStorageConfig {
    ReplayStorageConfig::new(ReplayDeviceStrategy::OneDevice(Device::Cpu))
}

fn dqn(seconds: f64) -> Result<f64> {
    let device = Device::Cpu;
    let mut env =
        VectorizedGymWrapper::from(vec![plain(CartPoleV1::builder().device(&device).build())?]);
    let observations = env.observation_space();
    let (online, mut target) = (VarMap::new(), VarMap::new());
    let networks = (network(&online, 4, 2, "q")?, network(&target, 4, 2, "q")?);
    let mut agent = plain(
        DQNAgent::builder()
            .dtype(DType::F32)
            .action_space(Discrete::new(2))
            .observation_space(observations)
            .online_q_network(networks.0)
            .target_q_network(networks.1)
            .online_vars(&online)
            .target_vars(&mut target)
            .optimizer(adam(&online, 1e-4)?)
            .replay_capacity(CAPACITY)
            .batch_size(MINIBATCH)
            .training_start(LEARNING_STARTS)
            .update_frequency(4)
            .target_update_interval(10_000)
            .training_horizon(HORIZON)
            .epsilon_schedule(ConstantSchedule::new(0.05))
            .replay_storage_config(storage())
            .build(),
    )?;
    rate(seconds, || plain(agent.learn(&mut env, STEPS)))
}

/// Means and log standard deviations, clamped as in Stable-Baselines3.
struct GaussianActor(MLP);

impl Module for GaussianActor {
    fn forward(&self, observations: &Tensor) -> candle_core::Result<Tensor> {
        let outputs = self.0.forward(observations)?;
        let log_std = outputs.narrow(1, 1, 1)?.clamp(-20.0, 2.0)?;
        Tensor::cat(&[outputs.narrow(1, 0, 1)?, log_std], 1)
    }
}

fn critic<'a>(online: &'a VarMap, target: &'a mut VarMap) -> Result<SACCritic<'a, AdamW>> {
    let networks = (network(online, 4, 1, "critic")?, network(target, 4, 1, "critic")?);
    plain(
        SACCritic::builder()
            .online_network(ScalarStateActionCritic::new(networks.0))
            .target_network(ScalarStateActionCritic::new(networks.1))
            .online_vars(online)
            .target_vars(target)
            .optimizer(adam(online, 3e-4)?)
            .build(),
    )
}

fn sac(seconds: f64) -> Result<f64> {
    let device = Device::Cpu;
    let pendulum = plain(PendulumV1::builder().device(&device).build())?;
    let mut env = VectorizedGymWrapper::from(vec![TimeLimitGym::new(pendulum, 200)]);
    let (observations, actions) = (env.observation_space(), env.action_space());
    let of_actor = VarMap::new();
    let gaussian = plain(GaussianDistribution::new(vec![1]))?;
    let policy = ProbabilisticPolicyModel::with_distribution(
        GaussianActor(network(&of_actor, 3, 2, "actor")?),
        TransformedDistribution::new(gaussian, TanhTransform),
    );
    let online = [VarMap::new(), VarMap::new()];
    let [mut first, mut second] = [VarMap::new(), VarMap::new()];
    let critics = vec![critic(&online[0], &mut first)?, critic(&online[1], &mut second)?];
    let log_alpha = Var::zeros((), DType::F32, &device)?;
    let of_alpha = ParamsAdamW { lr: 3e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let entropy = SACEntropyConfiguration::automatic_with_target_schedule(
        log_alpha.clone(),
        AdamW::new(vec![log_alpha], of_alpha)?,
        ConstantSchedule::new(-1.0),
    );
    let mut agent = plain(
        SACAgent::builder()
            .dtype(DType::F32)
            .policy(policy)
            .actor_optimizer(adam(&of_actor, 3e-4)?)
            .critics(critics)
            .entropy_configuration(entropy)
            .action_space(actions)
            .observation_space(observations)
            .aggregation_mode(SACCriticAggregationMode::Min)
            .replay_capacity(CAPACITY)
            .batch_size(MINIBATCH)
            .training_start(LEARNING_STARTS)
            .gamma(0.99)
            .tau(0.005)
            .training_horizon(HORIZON)
            .replay_storage_config(storage())
            .build(),
    )?;
    rate(seconds, || plain(agent.learn(&mut env, STEPS)))
}
