//! `action_distribution_fn`: each pass returns the inputs of the action distribution, and the state.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Temperature of the softmax in exploration.
const TEMPERATURE: f64 = 2.0;

/// A policy that explores at a higher temperature than it was trained at.
#[derive(Module, Debug)]
struct Tempered {
    policy: Mlp,
}

impl RLModule for Tempered {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[32], actions) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    // ANCHOR: passes
    fn forward_exploration(
        &self,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits / TEMPERATURE))
    }

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.forward_train(batch)
    }
    // ANCHOR_END: passes
}

/// Compares the inputs of both passes.
pub(crate) fn a_distribution_per_phase() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let module = RLModuleSpec::of::<Tempered>()
        .observation_space(Space::boxed(-1.0, 1.0, &[4])?)
        .action_space(Space::discrete(3)?)
        .build(&device)?;
    let batch = Batch::new().with(Columns::OBS, Tensor::<2>::ones([1, 4], &device));
    let inputs = |out: Batch| to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS)?);
    let inference = inputs(module.forward_inference(&batch)?)?;
    let exploration =
        inputs(module.forward_exploration(&batch, &mut ExplorationContext::default())?)?;
    assert!(inference.iter().zip(exploration).all(|(i, e)| (i / 2.0 - e).abs() < 1e-6));
    Ok(())
}
