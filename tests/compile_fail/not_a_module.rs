// A Burn module used as an RL module.
//
// expect: `Policy` is not an RL module
// expect: implement `RLModule` for `Policy`: `setup` and `forward_train`

use burn::module::Module;
use rekindle::prelude::*;

#[derive(Module, Debug)]
pub struct Policy {
    policy: Mlp,
}

pub fn spec() -> RLModuleSpec {
    RLModuleSpec::of::<Policy>()
}
