//! Builds layers whose initial parameters are drawn on the host.

use std::cell::RefCell;

use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::prelude::*;
use rekindle_core::Generator;

use crate::{Initializer, Mlp, MlpConfig};

/// A device and a random stream: what it takes to create parameters.
#[derive(Debug)]
pub struct ModelBuilder {
    device: Device,
    rng: RefCell<Generator>,
}

impl ModelBuilder {
    /// A builder that draws from `rng`.
    pub fn new(device: &Device, rng: Generator) -> Self {
        Self { device: device.clone(), rng: RefCell::new(rng) }
    }

    /// Where the parameters are created.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The next number of the stream, to seed what draws elsewhere.
    pub fn next_seed(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// A linear layer.
    ///
    /// # Shapes
    /// `[…, fan_in]` to `[…, fan_out]`.
    pub fn linear(
        &self,
        fan_in: usize,
        fan_out: usize,
        weight: &Initializer,
        bias: &Initializer,
    ) -> Linear {
        let mut rng = self.rng.borrow_mut();
        let weight = weight.weight(fan_in, fan_out, &mut rng);
        let bias = bias.bias(fan_in, fan_out, &mut rng);
        Linear {
            weight: self.param(weight, [fan_in, fan_out]),
            bias: Some(self.param(bias, [fan_out])),
        }
    }

    /// A trainable parameter with the given values, row-major.
    pub fn param<const D: usize>(&self, data: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_data(TensorData::new(data, shape), &self.device)
    }

    /// A layer normalisation over the last dimension (ε = 1e-3, as RLlib's).
    pub fn layer_norm(&self, dim: usize) -> LayerNorm {
        LayerNormConfig::new(dim).with_epsilon(1e-3).init(&self.device)
    }

    /// A multi-layer perceptron.
    pub fn mlp(&self, config: &MlpConfig) -> Mlp {
        Mlp::new(config, self)
    }
}
