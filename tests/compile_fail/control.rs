// Correct user code, which must compile.

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result;

#[derive(Module, Debug)]
pub struct Policy {
    policy: Mlp,
    value: Mlp,
}

impl RLModule for Policy {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { policy: cx.mlp(4, &[], 2), value: cx.mlp(4, &[], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Policy {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> Result<Tensor<1>> {
        Ok(self.value.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

#[derive(Module, Debug)]
pub struct MyEncoder {
    mlp: Mlp,
}

impl Encoder for MyEncoder {
    fn forward(&self, observations: &Column) -> rekindle::catalog::Result<Tensor<2>> {
        Ok(self.mlp.forward(observations.tensor()?.float::<2>()?))
    }

    fn output_dim(&self) -> usize {
        8
    }
}

pub fn encoder(encoder: MyEncoder) -> BoxEncoder {
    BoxEncoder::new(encoder)
}

pub fn spec() -> RLModuleSpec {
    RLModuleSpec::of::<Policy>().catalog(DefaultCatalog)
}
