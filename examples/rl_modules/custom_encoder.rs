//! "Extending Existing RLlib RL Modules": a module with an image encoder of its own, which bypasses
//! the catalog. (For replacing one branch of the catalog see the example `custom_catalog`.)

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::{Cnn, CnnConfig, ConvFilter};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// An environment of random images, as RLlib's `RandomEnv`.
struct RandomImages {
    observations: Space,
    actions: Space,
    rng: Generator,
}

impl Env for RandomImages {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, image: RowMut<'_>) -> rekindle::env::Result<()> {
        if options.seed.is_some() {
            self.rng.reseed(options.seed);
        }
        self.observations.sample_into(&mut self.rng, image)
    }

    fn step(&mut self, _action: Row<'_>, image: RowMut<'_>) -> rekindle::env::Result<Step> {
        self.observations.sample_into(&mut self.rng, image)?;
        Ok(Step::running(self.rng.random()))
    }
}

/// A small convolutional network stands for MobileNet.
#[derive(Module, Debug)]
struct ImageActorCritic {
    encoder: Cnn,
    pi: Mlp,
    vf: Mlp,
}

impl ImageActorCritic {
    fn features(&self, batch: &Batch) -> ModuleResult<Tensor<2>> {
        Ok(self.encoder.forward(batch.float::<4>(Columns::OBS)?))
    }
}

impl RLModule for ImageActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let shape = cx.observation_space().as_box()?.shape();
        let filters = [ConvFilter::new(8, 4, 2), ConvFilter::new(16, 4, 2)];
        let config = CnnConfig::new([shape[0], shape[1], shape[2]], &filters);
        let features = config.output_dims()?.iter().product();
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self {
            encoder: cx.builder().cnn(&config)?,
            pi: cx.mlp(features, &[], actions),
            vf: cx.mlp(features, &[], 1),
        })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let features = self.features(batch)?;
        let logits = self.pi.forward(features.clone());
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with(Columns::EMBEDDINGS, features))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for ImageActorCritic {
    fn compute_values(&self, batch: &Batch, shared: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        let features = match shared {
            Some(features) => features,
            None => self.features(batch)?,
        };
        Ok(self.vf.forward(features).squeeze_dim(1))
    }
}

/// One quick iteration of PPO on random images; nothing is learned from noise.
pub(crate) fn an_image_encoder_of_ones_own() -> Result<(), Box<dyn Error>> {
    let images = EnvSpec::new("Example/RandomImages-v0", |_: &EnvConfig| {
        Ok(RandomImages {
            observations: Space::boxed(0.0, 1.0, &[24, 24, 3])?,
            actions: Space::discrete(2)?,
            rng: Generator::from_entropy(),
        })
    });
    register(images.with_max_episode_steps(16))?;
    let config = PpoConfig::new()
        .environment("Example/RandomImages-v0")
        .rl_module(RLModuleSpec::of::<ImageActorCritic>())
        .training(|t| t.train_batch_size(32).minibatch_size(16).num_epochs(1));
    config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    Ok(())
}
