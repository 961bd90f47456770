//! Noisy layers.

use burn::module::Module;
use burn::nn::Linear;
use burn::prelude::*;
use rekindle_kernels::DenseLayer;

use crate::builder::ModelBuilder;
use crate::initializer::Initializer;
use crate::mlp::Mlp;

/// The standard deviations of noise on the weights and biases of an [`Mlp`], which are its means: factorized
/// Gaussian noise (Fortunato et al., 2018, equations 10 and 11).
///
/// With `f(x) = sgn(x)·√|x|`, noise `ε_in` of the inputs and `ε_out` of the outputs of a layer, its weight is
/// `μ + σ·f(ε_in)·f(ε_out)` and its bias `μ + σ·f(ε_out)`. The noise of each row is its own, so that a batch may
/// hold rows of several environments. Rows that share the same noise share the same weights, which are then computed
/// once.
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
    /// `x`: `[B, input_dim]`; `noise`: `[B, noise_dim]`, or `[1, noise_dim]` for all rows, standard normal; result
    /// `[B, output_dim]`.
    #[must_use]
    pub fn forward(&self, means: &Mlp, x: Tensor<2>, noise: &Tensor<2>) -> Tensor<2> {
        let factors = noise.clone().sign() * noise.clone().abs().sqrt();
        let mut used = 0;
        let mut next = |count| {
            let part = factors.clone().narrow(1, used, count);
            used += count;
            part
        };
        let factors = self.layers.iter().map(|sigma| {
            let [inputs, outputs] = sigma.weight.dims();
            [next(inputs), next(outputs)]
        });
        let factors: Vec<_> = factors.collect();
        let [rows, width] = x.dims();
        if noise.dims()[0] == 1 && rows > 1 {
            // The weights of all rows, computed once, are one product instead of two.
            let with_noise = |index: usize, mean: &Linear, activation| {
                let (sigma, of) = self.layers.get(index).zip(factors.get(index))?;
                let (weight, bias) = noise_of_parameters(sigma, of)?;
                let (weight, bias) = (mean.weight.val() + weight, mean.bias.as_ref()?.val() + bias);
                DenseLayer::new(weight, bias, activation)
            };
            if let Some(layers) = means.dense_layers_by(with_noise)
                && rekindle_kernels::fit(width, &layers)
            {
                return rekindle_kernels::mlp(x, &layers);
            }
        }
        means.forward_by(x, |index, layer, x| {
            let mean = layer.forward(x.clone());
            let (Some(sigma), Some([of_inputs, of_outputs])) =
                (self.layers.get(index), factors.get(index))
            else {
                return mean;
            };
            mean + sigma.forward(x * of_inputs.clone()) * of_outputs.clone()
        })
    }
}

/// Returns the noise of the weight and the bias of one layer, from the factors of its inputs and outputs,
/// `[1, inputs]` and `[1, outputs]`; `None` for a layer without a bias.
fn noise_of_parameters(
    sigma: &Linear,
    [of_inputs, of_outputs]: &[Tensor<2>; 2],
) -> Option<(Tensor<2>, Tensor<1>)> {
    let product = of_inputs.clone().transpose() * of_outputs.clone();
    let bias = sigma.bias.as_ref()?.val() * of_outputs.clone().squeeze_dim(0);
    Some((sigma.weight.val() * product, bias))
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

    #[test]
    fn one_noise_for_all_rows_is_that_of_each_row() {
        for hidden_layer_use_layernorm in [false, true] {
            let device = Device::flex().autodiff();
            let builder = ModelBuilder::new(&device, Generator::from_seed(1));
            let config =
                MlpConfig { hidden_layer_use_layernorm, ..MlpConfig::new(3, &[4], Some(2)) };
            let means = config.build(&builder);
            let sigma = NoisyLayers::new(&builder, &means, 0.5);
            let mut rng = Generator::from_seed(5);
            let mut normal = |rows: usize, width: usize| {
                let numbers: Vec<f32> =
                    (0..rows * width).map(|_| rng.standard_normal() as f32).collect();
                Tensor::<2>::from_data(TensorData::new(numbers, [rows, width]), &device)
            };
            let (x, shared) = (normal(5, 3), normal(1, 13));
            let results = [shared.clone(), shared.expand([5, 13])].map(|noise| {
                let out = sigma.forward(&means, x.clone(), &noise);
                let gradients = out.clone().square().sum().backward();
                let of = |layer: &Linear| {
                    let bias = layer.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
                    let weight = layer.weight.val().grad(&gradients).unwrap();
                    [to_f32(weight).unwrap(), to_f32(bias).unwrap()].concat()
                };
                let layers = sigma.layers.iter().chain(means.linears());
                [to_f32(out).unwrap()].into_iter().chain(layers.map(of)).collect::<Vec<_>>()
            });
            let [shared, each] = results.map(|parts| parts.concat());
            assert_eq!(shared.len(), 5 * 2 + 2 * (3 * 4 + 4 + 4 * 2 + 2));
            for (shared, each) in shared.iter().zip(each) {
                assert!((shared - each).abs() < 1e-4, "{shared} {each}");
            }
        }
    }
}
