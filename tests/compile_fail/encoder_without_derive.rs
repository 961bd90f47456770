// An encoder that is not a Burn module.
//
// expect: `MyEncoder` is not a Burn module
// expect: #[derive(Module, Debug)]` on `MyEncoder`

use burn::prelude::*;
use rekindle::prelude::*;

#[derive(Debug, Clone)]
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
