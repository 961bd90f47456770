//! PPO on CartPole-v1 with thrust-rl, timed after one iteration to warm up.
//!
//! The workload `ppo-cartpole` of `cargo xtask compare`; prints one JSON line per case. thrust-rl's
//! policy shares its trunk between policy and value, which is less work than separate networks. Its
//! rollout loop is the user's: this one follows `train_cartpole_modern`, its own example.

mod rollout;

use std::time::Instant;

use anyhow::{Context, Result};
use burn::backend::{Autodiff, NdArray};
use burn::optim::AdamConfig;
use clap::Parser;
use thrust_rl::policy::mlp::{BurnActivation, MlpBurnConfig, MlpBurnPolicy};
use thrust_rl::train::optimizer::BurnOptimizer;
use thrust_rl::train::ppo::{PPOConfig, PPOTrainerBurn};

use crate::rollout::Sampler;

type Backend = Autodiff<NdArray<f32>>;

const LEARNING_RATE: f64 = 2.5e-4;
const GAMMA: f32 = 0.99;
const LAMBDA: f32 = 0.95;

/// Measures PPO on CartPole-v1 and prints one line of JSON per case.
#[derive(Parser)]
struct Args {
    /// ENVSxROLLOUTxHIDDEN of each case, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "8x128x64")]
    cases: Vec<String>,
    /// Seconds to measure each case.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Threads that step environments.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seed of environments and parameters.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    for case in &args.cases {
        let value = measure(case, &args)?;
        let line = serde_json::json!({
            "case": case,
            "system": "thrust-rl",
            "version": "0.4.0",
            "value": value,
        });
        println!("{line}");
    }
    Ok(())
}

/// Environment steps per second.
fn measure(case: &str, args: &Args) -> Result<f64> {
    let [envs, steps, hidden] = parse(case)?;
    let device = Default::default();
    let network = MlpBurnConfig {
        num_layers: 2,
        hidden_dim: hidden,
        use_orthogonal_init: true,
        activation: BurnActivation::Tanh,
        seed: Some(args.seed),
    };
    let policy = MlpBurnPolicy::<Backend>::with_config(4, 2, network, &device);
    let adam = AdamConfig::new().with_epsilon(1e-5).init();
    let optimizer: BurnOptimizer<Backend, MlpBurnPolicy<Backend>, _> =
        BurnOptimizer::new(adam, LEARNING_RATE);
    let config = PPOConfig::new()
        .learning_rate(LEARNING_RATE)
        .n_epochs(4)
        .batch_size(envs * steps / 4)
        .gamma(f64::from(GAMMA))
        .gae_lambda(f64::from(LAMBDA))
        .clip_range(0.2)
        .clip_range_vf(f64::INFINITY)
        .vf_coef(0.5)
        .ent_coef(0.01)
        .max_grad_norm(0.5)
        .target_kl(f64::INFINITY)
        .seed(args.seed);
    let mut trainer = PPOTrainerBurn::new(config, policy, optimizer)?;
    let mut sampler = Sampler::new(envs, steps);

    let (mut started, mut iterations) = (Instant::now(), 0);
    loop {
        let rollout = sampler.sample(trainer.policy(), &device)?;
        let (advantages, returns) = rollout.gae(GAMMA, LAMBDA);
        let batch = rollout.into_batch(advantages, returns, &device);
        trainer.train_step(
            batch.observations,
            batch.actions,
            batch.log_probs,
            batch.values,
            batch.advantages,
            batch.returns,
            |policy, observations, actions| policy.evaluate_actions(observations, actions),
        )?;
        // The first iteration warms caches up and is not counted.
        if iterations == 0 {
            started = Instant::now();
        }
        iterations += 1;
        let seconds = started.elapsed().as_secs_f64();
        if iterations > 1 && seconds >= args.seconds {
            return Ok(((iterations - 1) * envs * steps) as f64 / seconds);
        }
    }
}

fn parse(case: &str) -> Result<[usize; 3]> {
    let sizes: Vec<usize> = case.split('x').map(str::parse).collect::<Result<_, _>>()?;
    sizes.try_into().ok().with_context(|| format!("{case} is not ENVSxROLLOUTxHIDDEN"))
}
