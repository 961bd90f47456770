//! A custom module of a policy and critics: trained with SAC, saved, and restored as its type.
//!
//! `cargo run --release --example custom_sac_module`

#[path = "common/program.rs"]
mod program;

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::{Distribution, SquashedGaussian};
use rekindle::prelude::*;
use rekindle::rl_module::Result;

// A user's module starts here …
#[derive(Module, Debug)]
pub(crate) struct MySac {
    pi: Mlp,
    qf: Vec<Mlp>,
    target_qf: Vec<Mlp>,
}

/// A Gaussian squashed into [−1, 1], the units of the policy.
fn squashed(dim: usize) -> Result<SquashedGaussian> {
    Ok(SquashedGaussian::new(vec![-1.0; dim], vec![1.0; dim])?)
}

/// Estimates the values of actions, `[B, critics, 1]`.
fn values(critics: &[Mlp], batch: &Batch) -> Result<Tensor<3>> {
    let (obs, actions) = (batch.float::<2>(Columns::OBS)?, batch.float::<2>(Columns::ACTIONS)?);
    let x = Tensor::cat(vec![obs, actions], 1);
    Ok(Tensor::stack(critics.iter().map(|critic| critic.forward(x.clone())).collect(), 1))
}

impl RLModule for MySac {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let (obs, actions) = (cx.observation_space().flat_dim(), cx.action_space().flat_dim());
        let pi = cx.mlp(obs, &[64, 64], 2 * actions);
        let critics = || (0..2).map(|_| cx.mlp(obs + actions, &[64, 64], 1)).collect();
        Ok(Self { pi, qf: critics(), target_qf: critics() })
    }
    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let inputs = self.pi.forward(batch.float(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs))
    }
    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>> {
        Ok(Arc::new(squashed(cx.action_space().flat_dim())?))
    }
    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        Some(self)
    }
    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl StochasticPolicy for MySac {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)> {
        let inputs = self.pi.forward(batch.float(Columns::OBS)?);
        Ok(squashed(noise.dims()[1])?.rsample_and_logp(inputs, noise)?)
    }
}

impl ActionCritic for MySac {
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        values(&self.qf, batch)
    }
}

impl TargetNetwork for MySac {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }
    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, values(&self.target_qf, batch)?))
    }
}
// … and ends here.

/// Trains the module for `steps` environment steps. Returns the algorithm and its last mean return.
pub(crate) fn train(steps: u64, seed: u64) -> std::result::Result<(Algorithm, f64), MainError> {
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .rl_module(RLModuleSpec::of::<MySac>())
        .training(|t| t.actor_lr(1e-3).critic_lr(1e-3).alpha_lr(1e-3).train_batch_size(128))
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .seed(seed);
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    let mut mean = f64::NAN;
    while algo.env_steps() < steps {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
    }
    Ok((algo, mean))
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> std::result::Result<(), MainError> {
    program::no_arguments(
        "custom_sac_module",
        "Trains a custom module with SAC on Pendulum for 10 000 steps, saves it to runs/custom_sac_module, and restores it.",
    );
    program::show_warnings();
    let (mut algo, mean) = train(10_000, 0)?;
    println!("mean return of training after {} steps: {mean:.1}", algo.env_steps());
    println!("greedy return: {:.1}", algo.evaluate()?.mean_return());

    algo.module("default_policy")?.save_to_path("runs/custom_sac_module")?;
    let policy = MySac::from_checkpoint("runs/custom_sac_module", &DeviceSpec::Cpu.open()?)?;
    println!("restored {} parameters", policy.num_params());
    Ok(())
}
