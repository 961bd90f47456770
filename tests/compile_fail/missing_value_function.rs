// A module that returns itself as a value function without implementing it.
//
// expect: `Policy` has no value function
// expect: implement `ValueFunction` for `Policy`

use burn::module::Module;
use rekindle::prelude::*;
use rekindle::rl_module::Result;

#[derive(Module, Debug)]
pub struct Policy {
    policy: Mlp,
}

impl RLModule for Policy {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { policy: cx.mlp(4, &[], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}
