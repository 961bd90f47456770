// A Burn module used as an encoder.
//
// expect: `MyEncoder` is not an encoder
// expect: implement `Encoder` for `MyEncoder`: `forward` and `output_dim`

use burn::module::Module;
use rekindle::prelude::*;

#[derive(Module, Debug)]
pub struct MyEncoder {
    mlp: Mlp,
}

pub fn encoder(encoder: MyEncoder) -> BoxEncoder {
    BoxEncoder::new(encoder)
}
