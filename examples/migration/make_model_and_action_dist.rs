//! `make_model_and_action_dist`: `setup` builds the model, `action_distribution` chooses the
//! distribution.

use std::sync::Arc;

use std::error::Error;

use burn::module::Module;
use rekindle::catalog::SquashedGaussian;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// A policy with actions in [−1, 1], which the runner scales to the bounds of the space.
#[derive(Module, Debug)]
struct Squashed {
    policy: Mlp,
}

impl RLModule for Squashed {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        // Means and log standard deviations.
        let outputs = 2 * cx.action_space().as_box()?.size();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[32], outputs) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let inputs = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs))
    }

    // ANCHOR: distribution
    fn action_distribution(cx: &ModuleContext<'_>) -> ModuleResult<Arc<dyn Distribution>> {
        let size = cx.action_space().as_box()?.size();
        Ok(Arc::new(SquashedGaussian::new(vec![-1.0; size], vec![1.0; size])?))
    }
    // ANCHOR_END: distribution
}

/// Trains the model with PPO for one quick iteration.
pub(crate) fn a_model_and_a_distribution() -> Result<(), Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .rl_module(RLModuleSpec::of::<Squashed>())
        .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.use_critic(false).train_batch_size(128).minibatch_size(64).num_epochs(1));
    let mut algorithm = config.build(&DeviceSpec::Cpu.open()?)?;
    assert_eq!(algorithm.module(DEFAULT_MODULE_ID)?.distribution().name(), "SquashedGaussian");
    algorithm.train()?;
    Ok(())
}
