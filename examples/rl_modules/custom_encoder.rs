//! "Extending Existing RLlib RL Modules": PPO's module with another encoder, without a catalog.
//! (The example `custom_catalog` replaces one decision of the catalog instead.)

use std::error::Error;

use rekindle::catalog::{MlpConfig, PolicyHeadConfig};
use rekindle::prelude::*;
use rekindle::rl_module::{ActorCritic, Result as ModuleResult};

use super::mobilenet::MobileNetV2Config;

/// An environment of random images; RLlib's `RandomEnv`.
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

/// RLlib's `MobileNetTorchPPORLModule`: PPO's module with a MobileNetV2 that policy and value
/// function share, and new heads on top of it.
pub(crate) fn mobilenet_actor_critic(cx: &ModuleContext<'_>) -> ModuleResult<ActorCritic> {
    let encoder_config = MobileNetV2Config::default();
    let channels = cx.observation_space().as_box()?.shape()[2];
    let encoder = encoder_config.build(channels, cx.device());
    let logits = cx.action_space().as_discrete()?.n();
    let pi =
        PolicyHeadConfig::from_layers(MlpConfig::new(encoder_config.output_dim, &[], Some(logits)));
    let vf = MlpConfig::new(encoder_config.output_dim, &[], Some(1));
    Ok(ActorCritic::new(BoxEncoder::new(encoder), pi.build(cx.builder())?)
        .with_vf(vf.build(cx.builder())))
}

/// One quick iteration of PPO on random images. There is nothing to learn from noise.
pub(crate) fn a_mobilenet_in_ppos_module() -> Result<(), Box<dyn Error>> {
    let images = EnvSpec::new("Example/RandomImages-v0", |_: &EnvConfig| {
        Ok(RandomImages {
            observations: Space::boxed(0.0, 1.0, &[32, 32, 3])?,
            actions: Space::discrete(2)?,
            rng: Generator::from_entropy(),
        })
    });
    register(images.with_max_episode_steps(16))?;
    let config = PpoConfig::new()
        .environment("Example/RandomImages-v0")
        .rl_module(RLModuleSpec::from_fn("MobileNetActorCritic", mobilenet_actor_critic))
        .training(|t| t.train_batch_size(32).minibatch_size(16).num_epochs(1));
    let mut algorithm = config.build(&DeviceSpec::Cpu.open()?)?;
    let before = algorithm.module(DEFAULT_MODULE_ID)?.state_dict()?;
    algorithm.train()?;
    let after = algorithm.module(DEFAULT_MODULE_ID)?.state_dict()?;
    let stem = "encoder.stem.weight";
    assert_ne!(before.get(stem), after.get(stem));
    Ok(())
}
