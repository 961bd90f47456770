//! A custom catalog: one decision replaced, all others kept.
//!
//! `cargo run --release --example custom_catalog`

#[path = "common/program.rs"]
mod program;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::Result;
use rekindle::prelude::*;

/// An encoder for CartPole's symmetry: the features of a mirrored observation are the negated
/// features. It subtracts the features of the mirror image, so this holds for all weights.
#[derive(Module, Debug)]
struct MirrorEncoder {
    mlp: Mlp,
    features: usize,
}

impl Encoder for MirrorEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let x = observations.tensor()?.float::<2>()?;
        Ok(self.mlp.forward(x.clone()) - self.mlp.forward(x.neg()))
    }

    fn output_dim(&self) -> usize {
        self.features
    }
}

/// Mirror encoders for vector observations; everything else unchanged.
#[derive(Debug)]
struct MirrorCatalog;

impl Catalog for MirrorCatalog {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        match space {
            Space::Box(b) if b.shape().len() == 1 => {
                let config = MlpConfig::new(b.shape()[0], &[64], Some(64));
                let mlp = config.build(cx.builder);
                Ok(BoxEncoder::new(MirrorEncoder { mlp, features: 64 }))
            }
            _ => self.default_encoder(cx, space),
        }
    }

    // Its name in checkpoints. The default includes the name of the program.
    fn type_name() -> String {
        "my_project.MirrorCatalog".into()
    }
}

fn main() -> std::result::Result<(), MainError> {
    program::no_arguments(
        "custom_catalog",
        "Trains PPO on CartPole with a catalog that replaces the encoder of vectors.",
    );
    program::show_warnings();
    let spec = RLModuleSpec::default().catalog(MirrorCatalog);
    let mut algo = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .rl_module(spec)
        .model("head_fcnet_hiddens", vec![64])
        .training(|t| t.lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(8))
        .seed(0)
        .build(&DeviceSpec::Cpu.open()?)?;
    for _ in 0..30 {
        let result = algo.train()?;
        let mean = result.get("env_runners/episode_return_mean").unwrap_or(f64::NAN);
        println!("{:>6} steps: mean return {mean:.1}", algo.env_steps());
    }
    Ok(())
}
