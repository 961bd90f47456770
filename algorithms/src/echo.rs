//! A module for tests of losses, which returns its observations.

use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env::Space;
use rekindle_rl_module::{
    AnyRLModule, ModuleContext, RLModule, RLModuleSpec, Result, ValueFunction,
};

/// Returns its observations: two logits and a value.
#[derive(Module, Debug)]
pub(crate) struct Echo {
    unused: usize,
}

impl Echo {
    pub(crate) fn build(device: &Device) -> AnyRLModule {
        RLModuleSpec::of::<Self>()
            .observation_space(Space::unbounded(&[3]).unwrap())
            .action_space(Space::discrete(2).unwrap())
            .build(device)
            .unwrap()
    }

    /// Returns rows whose action 0 has the given log-probabilities, and whose value is 1, with that action.
    pub(crate) fn batch<const N: usize>(logp: [f32; N], device: &Device) -> Batch {
        // Logits (0, x) make the log-probability of action 0 −ln(1 + eˣ).
        let obs = logp.map(|logp| [0.0, ((-logp).exp() - 1.0).ln(), 1.0]);
        Batch::new()
            .with(Columns::OBS, Tensor::<2>::from_floats(obs, device))
            .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([N], device))
    }
}

impl RLModule for Echo {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: 0 })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = batch.float::<2>(Columns::OBS)?.narrow(1, 0, 2);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Echo {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> Result<Tensor<1>> {
        Ok(batch.float::<2>(Columns::OBS)?.narrow(1, 2, 1).squeeze_dim(1))
    }
}
