//! Noisy layers.

use burn::module::Module;
use burn::nn::Linear;
use burn::prelude::*;

use crate::builder::ModelBuilder;
use crate::initializer::Initializer;
use crate::mlp::Mlp;

/// The standard deviations of noise on the weights and biases of an [`Mlp`], which are its means: factorized
/// Gaussian noise (Fortunato et al., 2018, equations 10 and 11).
///
/// With `f(x) = sgn(x)·√|x|`, noise `ε_in` of the inputs and `ε_out` of the outputs of a layer, its weight is
/// `μ + σ·f(ε_in)·f(ε_out)` and its bias `μ + σ·f(ε_out)`. The noise of each row is its own, so that a batch may
/// hold rows of several environments. Rows that share the same noise share the same weights.
///
/// Without noise, the [`Mlp`] alone is the network of means.
#[derive(Module, Debug)]
pub struct NoisyLayers {
    layers: Vec<Linear>,
}

impl NoisyLayers {
    /// Creates the standard deviations for the layers of `means`: `sigma0/√inputs` each.
    #[must_use]
    pub fn new(builder: &ModelBuilder, means: &Mlp, sigma0: f64) -> Self {
        let layers = means.layer_dims().map(|[inputs, outputs]| {
            let value = (sigma0 / (inputs.max(1) as f64).sqrt()) as f32;
            let constant = Initializer::Constant { value };
            builder.linear(inputs, outputs, &constant, &constant)
        });
        Self { layers: layers.collect() }
    }

    /// Returns how many standard normal numbers a pass takes for each row: the inputs and outputs of all layers.
    #[must_use]
    pub fn noise_dim(&self) -> usize {
        self.layers.iter().map(|layer| layer.weight.dims().iter().sum::<usize>()).sum()
    }

    /// Applies the layers with noise.
    ///
    /// # Shapes
    /// `x`: `[B, input_dim]`; `noise`: `[B, noise_dim]`, standard normal; result `[B, output_dim]`.
    #[must_use]
    pub fn forward(&self, means: &Mlp, x: Tensor<2>, noise: &Tensor<2>) -> Tensor<2> {
        let factors = noise.clone().sign() * noise.clone().abs().sqrt();
        let mut used = 0;
        let mut next = |count| {
            let part = factors.clone().narrow(1, used, count);
            used += count;
            part
        };
        means.forward_by(x, |index, layer, x| {
            let mean = layer.forward(x.clone());
            let Some(sigma) = self.layers.get(index) else { return mean };
            let [inputs, outputs] = sigma.weight.dims();
            let (of_inputs, of_outputs) = (next(inputs), next(outputs));
            mean + sigma.forward(x * of_inputs) * of_outputs
        })
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::mlp::MlpConfig;

    fn zero_means(builder: &ModelBuilder, hidden: &[usize]) -> Mlp {
        let config = MlpConfig {
            hidden_layer_weights: Initializer::Zeros,
            output_layer_weights: Initializer::Zeros,
            output_layer_bias: Initializer::Zeros,
            ..MlpConfig::new(2, hidden, Some(1))
        };
        config.build(builder)
    }

    #[test]
    fn the_noise_of_weights_and_biases_is_that_of_the_reference() {
        let device = Device::flex();
        let builder = ModelBuilder::new(&device, Generator::from_seed(0));
        let means = zero_means(&builder, &[]);
        let sigma = NoisyLayers::new(&builder, &means, 0.5);
        assert_eq!(sigma.noise_dim(), 3);
        // f(4) = 2, f(-0.25) = -0.5 and f(0.09) = 0.3.
        let noise = Tensor::<2>::from_floats([[4.0, -0.25, 0.09]], &device);
        let out = |x: [f32; 2]| {
            let x = Tensor::<2>::from_floats([x], &device);
            to_f32(sigma.forward(&means, x, &noise)).unwrap()[0]
        };
        let bias = out([0.0, 0.0]);
        let found = [out([1.0, 0.0]) - bias, out([0.0, 1.0]) - bias, bias];
        for (found, expected) in found.into_iter().zip([0.212_132, -0.053_033, 0.106_066]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn rows_have_their_own_noise_and_gradients_reach_the_deviations() {
        let device = Device::flex().autodiff();
        let builder = ModelBuilder::new(&device, Generator::from_seed(1));
        let means = MlpConfig::new(3, &[4], Some(2)).build(&builder);
        let sigma = NoisyLayers::new(&builder, &means, 0.5);
        assert_eq!(sigma.noise_dim(), 3 + 4 + 4 + 2);
        let mut rng = Generator::from_seed(5);
        let noise: Vec<f32> = (0..2 * 13).map(|_| rng.standard_normal() as f32).collect();
        let noise = Tensor::<2>::from_data(TensorData::new(noise, [2, 13]), &device);
        let x = Tensor::<2>::ones([2, 3], &device);
        let out = sigma.forward(&means, x.clone(), &noise);
        let rows = to_f32(out.clone()).unwrap();
        assert_ne!(rows[..2], rows[2..]);
        let silent = sigma.forward(&means, x.clone(), &noise.zeros_like());
        assert_eq!(to_f32(silent).unwrap(), to_f32(means.forward(x)).unwrap());
        let gradients = out.sum().backward();
        let of_sigma = sigma.layers[0].weight.val().grad(&gradients).unwrap();
        assert!(to_f32(of_sigma).unwrap().iter().any(|gradient| *gradient != 0.0));
    }
}
