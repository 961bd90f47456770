//! A custom module: trained with PPO, saved, and restored as its type.
//!
//! `cargo run --release --example custom_module`

#[path = "common/program.rs"]
mod program;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result;

// A user's module starts here …
// ANCHOR: module
#[derive(Module, Debug)]
pub(crate) struct MyActorCritic {
    encoder: Mlp,
    policy: Mlp,
    value: Mlp,
}

impl RLModule for MyActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let observations = cx.observation_space().flat_dim();
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self {
            encoder: cx.mlp(observations, &[64], 64),
            policy: cx.mlp(64, &[], actions),
            value: cx.mlp(64, &[], 1),
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let features = self.encoder.forward(batch.float::<2>(Columns::OBS)?).tanh();
        let logits = self.policy.forward(features.clone());
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with(Columns::EMBEDDINGS, features))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }

    // Its name in checkpoints. The default includes the name of the program.
    fn type_name() -> String {
        "my_project.MyActorCritic".into()
    }
}

impl ValueFunction for MyActorCritic {
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>> {
        let features = match embeddings {
            Some(features) => features,
            None => self.encoder.forward(batch.float::<2>(Columns::OBS)?).tanh(),
        };
        Ok(self.value.forward(features).squeeze_dim(1))
    }
}
// ANCHOR_END: module
// … and ends here.

/// Trains the module with PPO for `steps` environment steps. Returns the algorithm and its last mean
/// return.
pub(crate) fn train(steps: u64, seed: u64) -> std::result::Result<(Algorithm, f64), MainError> {
    // ANCHOR: train
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .rl_module(RLModuleSpec::of::<MyActorCritic>())
        .training(|t| {
            t.lr(2e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(8)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.01)
                .use_kl_loss(false)
        })
        .seed(seed);
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    let mut mean = f64::NAN;
    while algo.env_steps() < steps {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
    }
    // ANCHOR_END: train
    Ok((algo, mean))
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> std::result::Result<(), MainError> {
    program::no_arguments(
        "custom_module",
        "Trains a custom module with PPO on CartPole for 60 000 steps, saves it to runs/custom_module, and restores it.",
    );
    program::show_warnings();
    let (algo, mean) = train(60_000, 0)?;
    println!("mean return after {} steps: {mean:.1}", algo.env_steps());

    // ANCHOR: restore
    algo.module("default_policy")?.save_to_path("runs/custom_module")?;
    let policy = MyActorCritic::from_checkpoint("runs/custom_module", &DeviceSpec::Cpu.open()?)?;
    // ANCHOR_END: restore
    println!("restored {} parameters of {}", policy.num_params(), MyActorCritic::type_name());
    Ok(())
}
