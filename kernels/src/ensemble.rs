//! Fully connected layers of several networks at once.

use std::array;

use burn::prelude::*;

use crate::activation::DenseActivation;
use crate::cpu::{EnsembleOp, Layer};
use crate::host_op::apply;
use rekindle_core::AnyTensor;

/// A fully connected layer of each of several networks, and their activation.
#[derive(Debug, Clone)]
pub struct EnsembleLayer {
    weight: Tensor<3>,
    bias: Tensor<2>,
    activation: DenseActivation,
}

impl EnsembleLayer {
    /// Creates the layers `activation(x·weight + bias)`. Returns `None` if the widths or the numbers of networks
    /// of bias and weight differ.
    ///
    /// # Shapes
    /// `weight`: `[members, inputs, outputs]`; `bias`: `[members, outputs]`.
    #[must_use]
    pub fn new(weight: Tensor<3>, bias: Tensor<2>, activation: DenseActivation) -> Option<Self> {
        let [members, _, outputs] = weight.dims();
        (bias.dims() == [members, outputs]).then_some(Self { weight, bias, activation })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = x.matmul(self.weight.clone()) + self.bias.clone().unsqueeze_dim(1);
        match self.activation {
            DenseActivation::Linear => y,
            DenseActivation::Relu => burn::tensor::activation::relu(y),
            DenseActivation::Tanh => crate::tanh(y),
        }
    }
}

/// Applies several networks of equal shape to the same rows, as one product of matrices per layer.
///
/// # Shapes
/// `[B, inputs]` to `[members, B, outputs]`.
///
/// # Panics
/// If the layers do not fit together, as Burn's matrix product panics.
#[must_use]
pub fn ensemble_mlp(x: Tensor<2>, layers: &[EnsembleLayer]) -> Tensor<3> {
    let fused = match layers.len() {
        1 => fused::<3>(&x, layers),
        2 => fused::<5>(&x, layers),
        3 => fused::<7>(&x, layers),
        4 => fused::<9>(&x, layers),
        5 => fused::<11>(&x, layers),
        _ => None,
    };
    fused.unwrap_or_else(|| layers.iter().fold(x.unsqueeze_dim(0), |x, layer| layer.forward(x)))
}

/// Applies layers whose rows and parameters are `N` tensors as one operation; `None` if it does not apply.
fn fused<const N: usize>(x: &Tensor<2>, layers: &[EnsembleLayer]) -> Option<Tensor<3>> {
    let [rows, mut width] = x.dims();
    let [members, ..] = layers.first()?.weight.dims();
    let mut operands = vec![AnyTensor::from(x.clone())];
    let mut shapes = Vec::with_capacity(layers.len());
    for EnsembleLayer { weight, bias, activation } in layers {
        let [of_layer, inputs, outputs] = weight.dims();
        if of_layer != members || inputs != width || members * inputs * outputs == 0 {
            return None;
        }
        shapes.push(Layer { inputs, outputs, activation: *activation });
        operands.extend([AnyTensor::from(weight.clone()), bias.clone().into()]);
        width = outputs;
    }
    let operands: [&AnyTensor; N] = array::from_fn(|index| &operands[index]);
    let op = EnsembleOp { layers: shapes, members };
    apply::<_, N, 3>(op, operands, [members, rows, width]).map(|(y, _)| y)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::{DenseLayer, eager, mlp};

    fn layers(members: usize, widths: &[usize], device: &Device) -> Vec<EnsembleLayer> {
        let uniform = Distribution::Uniform(-0.4, 0.4);
        let layer = |(index, pair): (usize, &[usize])| {
            let weight = Tensor::random([members, pair[0], pair[1]], uniform, device);
            let bias = Tensor::random([members, pair[1]], uniform, device);
            let activation = match index + 2 == widths.len() {
                true => DenseActivation::Linear,
                false => DenseActivation::Relu,
            };
            EnsembleLayer::new(weight.require_grad(), bias.require_grad(), activation).unwrap()
        };
        widths.windows(2).enumerate().map(layer).collect()
    }

    /// Outputs and all gradients.
    fn run(x: &Tensor<2>, layers: &[EnsembleLayer]) -> Vec<Vec<f32>> {
        let x = x.clone().require_grad();
        let y = ensemble_mlp(x.clone(), layers);
        let gradients = y.clone().square().mean().backward();
        let mut found = vec![to_f32(y).unwrap(), to_f32(x.grad(&gradients).unwrap()).unwrap()];
        for layer in layers {
            found.push(to_f32(layer.weight.grad(&gradients).unwrap()).unwrap());
            found.push(to_f32(layer.bias.grad(&gradients).unwrap()).unwrap());
        }
        found
    }

    #[test]
    fn values_and_gradients_equal_the_plain_composition() {
        let device = Device::flex().autodiff();
        for (members, rows, widths) in
            [(1, 5, vec![3, 4]), (2, 33, vec![4, 16, 1]), (3, 70, vec![6, 9, 12, 2])]
        {
            let x = Tensor::random([rows, widths[0]], Distribution::Uniform(-1.0, 1.0), &device);
            let layers = layers(members, &widths, &device);
            let fused = run(&x, &layers);
            let _eager = eager::scope(true);
            for (index, (a, b)) in fused.iter().zip(&run(&x, &layers)).enumerate() {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().zip(b) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "tensor {index}: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn each_member_computes_what_it_would_alone() {
        let device = Device::flex();
        let x = Tensor::random([9, 4], Distribution::Uniform(-1.0, 1.0), &device);
        let all = layers(3, &[4, 8, 2], &device.clone().autodiff());
        let y = ensemble_mlp(x.clone(), &all.iter().map(inner).collect::<Vec<_>>());
        for member in 0..3 {
            let own = all.iter().map(inner).map(|layer| {
                let weight = layer.weight.narrow(0, member, 1).squeeze_dim::<2>(0);
                let bias = layer.bias.narrow(0, member, 1).squeeze_dim::<1>(0);
                DenseLayer::new(weight, bias, layer.activation).unwrap()
            });
            let alone = to_f32(mlp(x.clone(), &own.collect::<Vec<_>>())).unwrap();
            assert_eq!(to_f32(y.clone().narrow(0, member, 1)).unwrap(), alone);
        }
    }

    fn inner(layer: &EnsembleLayer) -> EnsembleLayer {
        let (weight, bias) = (layer.weight.clone().inner(), layer.bias.clone().inner());
        EnsembleLayer { weight, bias, activation: layer.activation }
    }

    #[test]
    fn constants_get_no_gradient_and_pass_it_to_the_rows() {
        let device = Device::flex().autodiff();
        let x = Tensor::random([4, 3], Distribution::Uniform(-1.0, 1.0), &device).require_grad();
        let layers = layers(2, &[3, 5, 1], &device);
        let constant = |layer: &EnsembleLayer| EnsembleLayer {
            weight: layer.weight.clone().detach().set_require_grad(false),
            bias: layer.bias.clone().detach().set_require_grad(false),
            ..layer.clone()
        };
        let constants: Vec<_> = layers.iter().map(constant).collect();
        let gradient = |layers: &[EnsembleLayer]| {
            let gradients = ensemble_mlp(x.clone(), layers).sum().backward();
            assert_eq!(
                layers[0].weight.grad(&gradients).is_some(),
                layers[0].weight.is_require_grad()
            );
            to_f32(x.grad(&gradients).unwrap()).unwrap()
        };
        assert_eq!(gradient(&constants), gradient(&layers));
    }
}
