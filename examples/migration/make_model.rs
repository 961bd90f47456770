//! `make_model`: the model is the module. `setup` builds it, `forward_train` runs it.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

// ANCHOR: module
/// `MyCustomModel`: one hidden layer, and a value function on top of it (`value_function()` of a
/// `ModelV2`).
#[derive(Module, Debug)]
pub(crate) struct MyCustomModel {
    hidden: Mlp,
    logits: Mlp,
    value: Mlp,
}

impl RLModule for MyCustomModel {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self {
            hidden: cx.mlp(cx.observation_space().flat_dim(), &[], 32),
            logits: cx.mlp(32, &[], actions),
            value: cx.mlp(32, &[], 1),
        })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let features = self.hidden.forward(batch.float::<2>(Columns::OBS)?).tanh();
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, self.logits.forward(features.clone()))
            .with(Columns::EMBEDDINGS, features))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for MyCustomModel {
    fn compute_values(
        &self,
        batch: &Batch,
        embeddings: Option<Tensor<2>>,
    ) -> ModuleResult<Tensor<1>> {
        let features = match embeddings {
            Some(features) => features,
            None => self.hidden.forward(batch.float::<2>(Columns::OBS)?).tanh(),
        };
        Ok(self.value.forward(features).squeeze_dim(1))
    }
}
// ANCHOR_END: module

/// Trains the model with PPO for one quick iteration.
pub(crate) fn a_custom_model() -> Result<(), Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .rl_module(RLModuleSpec::of::<MyCustomModel>())
        .training(|t| t.train_batch_size(128).minibatch_size(64).num_epochs(1));
    let result = config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    assert!(result.get("learners/default_policy/vf_loss").is_some_and(f64::is_finite));
    Ok(())
}
