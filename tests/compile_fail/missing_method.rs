// A module without its training pass.
//
// expect: not all trait items implemented, missing: `forward_train`

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
}
