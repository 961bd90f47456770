// The struct of a module without `#[derive(Module)]`.
//
// expect: `Policy` is not a Burn module
// expect: this type does not implement `burn::module::Module`
// expect: #[derive(Module, Debug)]` on `Policy`

use rekindle::prelude::*;
use rekindle::rl_module::Result;

#[derive(Debug, Clone)]
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
}
