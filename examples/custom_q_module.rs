//! A custom module of action values: trained with DQN, saved, and restored as its type.
//!
//! `cargo run --release --example custom_q_module`

#[path = "common/program.rs"]
mod program;

use burn::module::Module;
use rekindle::prelude::*;
use rekindle::rl_module::Result;

// A user's module starts here …
#[derive(Module, Debug)]
pub(crate) struct MyQNet {
    qf: Mlp,
    target_qf: Mlp,
}

impl RLModule for MyQNet {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let n = cx.action_space().as_discrete()?.n();
        let net = || cx.mlp(cx.observation_space().flat_dim(), &[64, 64], n);
        Ok(Self { qf: net(), target_qf: net() })
    }
    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, self.qf.forward(batch.float(Columns::OBS)?)))
    }
    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let q = self.qf.forward(batch.float(Columns::OBS)?);
        // `RLModule::algorithm_settings` would bring DQN's own `epsilon` here.
        let epsilon = (1.0 - cx.env_steps() as f64 / 5_000.0).max(0.05);
        Ok(Batch::new().with(Columns::ACTIONS, epsilon_greedy(&q, epsilon, cx)?))
    }
    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for MyQNet {
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch> {
        self.forward_train(batch)
    }
}

impl TargetNetwork for MyQNet {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }
    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, self.target_qf.forward(batch.float(Columns::OBS)?)))
    }
}
// … and ends here.

/// Trains the module with double DQN for `steps` environment steps. Returns the algorithm and its last mean return.
pub(crate) fn train(steps: u64, seed: u64) -> std::result::Result<(Algorithm, f64), MainError> {
    let config = DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .rl_module(RLModuleSpec::of::<MyQNet>())
        .training(|t| {
            t.lr(1e-3)
                .train_batch_size(64)
                .sample_timesteps_per_update_round(32)
                .updates_per_env_step(0.5)
                .target_network_update_freq(200)
        })
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
        "custom_q_module",
        "Trains a custom module with DQN on CartPole for 30 000 steps, saves it to runs/custom_q_module, and restores it.",
    );
    program::show_warnings();
    let (algo, mean) = train(30_000, 0)?;
    println!("mean return after {} steps: {mean:.1}", algo.env_steps());

    algo.module("default_policy")?.save_to_path("runs/custom_q_module")?;
    let policy = MyQNet::from_checkpoint("runs/custom_q_module", &DeviceSpec::Cpu.open()?)?;
    println!("restored {} parameters", policy.num_params());
    Ok(())
}
