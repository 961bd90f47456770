//! Several MLPs of equal shape, computed together.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_kernels::{EnsembleLayer, ensemble_mlp};

use crate::activation::Activation;
use crate::batch_renorm::{EnsembleBatchRenorm, RunningStatistics};
use crate::builder::{LAYER_NORM_EPSILON, ModelBuilder};
use crate::error::{CatalogError, Result};
use crate::mlp::Mlp;

/// The linear layers of several networks at one depth.
///
/// # Shapes
/// Weights `[members, inputs, outputs]`, biases `[members, outputs]`: the operands of `torch.baddbmm`.
#[derive(Module, Debug)]
pub struct EnsembleLinear {
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<2>>,
}

/// The layer normalizations of several networks at one depth.
///
/// # Shapes
/// Both parameters `[members, width]`.
#[derive(Module, Debug)]
pub struct EnsembleNorm {
    gamma: Param<Tensor<2>>,
    beta: Param<Tensor<2>>,
}

/// Several MLPs of equal shape over the same rows, computed as one product of matrices per layer: an ensemble of
/// critics.
///
/// # Shapes
/// `[B, inputs]` to `[members, B, outputs]`.
#[derive(Module, Debug)]
pub struct EnsembleMlp {
    layers: Vec<EnsembleLinear>,
    /// Of the inputs of each layer; empty without batch renormalization.
    renorms: Vec<EnsembleBatchRenorm>,
    norms: Vec<Option<EnsembleNorm>>,
    #[module(skip)]
    activations: Vec<Activation>,
}

const NO_LAYERS: &str = "it has no layers; build at least one network with a layer";
const DIFFERENT_LAYERS: &str = "the layers of its members differ; build all of them alike";

/// A linear layer of an MLP, and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct MlpLayer<'a> {
    pub(crate) linear: &'a Linear,
    pub(crate) is_normalized: bool,
    pub(crate) activation: Activation,
}

impl MlpLayer<'_> {
    fn is_like(&self, other: &Self) -> bool {
        self.linear.weight.dims() == other.linear.weight.dims()
            && self.linear.bias.is_some() == other.linear.bias.is_some()
            && self.is_normalized == other.is_normalized
            && self.activation == other.activation
    }
}

impl EnsembleMlp {
    /// Creates an ensemble with the parameters of separate networks. Each member is a chain of MLPs, the outputs of
    /// one being the inputs of the next.
    ///
    /// # Errors
    /// [`CatalogError::Ensemble`] without members or layers, or if the layers of members differ; an error of the
    /// device.
    pub fn stack(members: &[Vec<Mlp>], builder: &ModelBuilder) -> Result<Self> {
        let members: Vec<Vec<MlpLayer<'_>>> =
            members.iter().map(|chain| chain.iter().flat_map(Mlp::parts).collect()).collect();
        let first = match members.first() {
            Some(first) if !first.is_empty() => first,
            _ => return Err(CatalogError::Ensemble { reason: NO_LAYERS }),
        };
        let is_like_first = |member: &Vec<MlpLayer<'_>>| {
            member.len() == first.len() && member.iter().zip(first).all(|(a, b)| a.is_like(b))
        };
        if !members.iter().all(is_like_first) {
            return Err(CatalogError::Ensemble { reason: DIFFERENT_LAYERS });
        }
        let (count, mut layers, mut norms) = (members.len(), Vec::new(), Vec::new());
        for (depth, layer) in first.iter().enumerate() {
            let [inputs, outputs] = layer.linear.weight.dims();
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            for member in &members {
                let Linear { weight: of_member, bias: bias_of_member } = member[depth].linear;
                weight.extend(to_f32(of_member.val())?);
                match bias_of_member {
                    Some(of_member) => bias.extend(to_f32(of_member.val())?),
                    None => bias.resize(bias.len() + outputs, 0.0),
                }
            }
            layers.push(EnsembleLinear {
                weight: builder.param(weight, [count, inputs, outputs]),
                bias: builder.param(bias, [count, outputs]),
            });
            let param = |value| builder.param(vec![value; count * outputs], [count, outputs]);
            norms.push(
                layer.is_normalized.then(|| EnsembleNorm { gamma: param(1.0), beta: param(0.0) }),
            );
        }
        let activations = first.iter().map(|layer| layer.activation).collect();
        Ok(Self { layers, renorms: Vec::new(), norms, activations })
    }

    /// Renormalizes the inputs of each layer by batches ([`EnsembleBatchRenorm`]).
    #[must_use]
    pub fn with_batch_renorm(self, builder: &ModelBuilder, warmup_steps: u64) -> Self {
        let renorm = |layer: &EnsembleLinear| {
            let [members, inputs, _] = layer.weight.dims();
            EnsembleBatchRenorm::new(builder, members, inputs, warmup_steps)
        };
        Self { renorms: self.layers.iter().map(renorm).collect(), ..self }
    }

    /// Applies all networks.
    ///
    /// # Shapes
    /// `[B, inputs]` to `[members, B, outputs]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<3> {
        if let Some(layers) = self.fused_layers() {
            return ensemble_mlp(x, &layers);
        }
        let mut x = x.unsqueeze_dim::<3>(0);
        for depth in 0..self.layers.len() {
            let (weight, bias) = self.linear(depth);
            x = self.layer(depth, x.matmul(weight) + bias.unsqueeze_dim(1));
        }
        x
    }

    /// Applies all networks in training, where batch renormalization takes the statistics of these rows. Also returns
    /// the running statistics after it, which are none without batch renormalization.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    #[must_use]
    pub fn forward_in_training(&self, x: Tensor<2>) -> (Tensor<3>, RunningStatistics) {
        if self.renorms.is_empty() {
            return (self.forward(x), Vec::new());
        }
        let (mut x, mut statistics) = (x.unsqueeze_dim::<3>(0), Vec::new());
        for (depth, (layer, renorm)) in self.layers.iter().zip(&self.renorms).enumerate() {
            let (normalized, of_layer) = renorm.forward_in_training(x);
            statistics.extend(of_layer);
            let out = normalized.matmul(layer.weight.val()) + layer.bias.val().unsqueeze_dim(1);
            x = self.layer(depth, out);
        }
        (x, statistics)
    }

    /// Returns weight and bias at a depth, with the normalization of their inputs by running statistics.
    fn linear(&self, depth: usize) -> (Tensor<3>, Tensor<2>) {
        let EnsembleLinear { weight, bias } = &self.layers[depth];
        match self.renorms.get(depth) {
            Some(renorm) => renorm.fold(weight.val(), bias.val()),
            None => (weight.val(), bias.val()),
        }
    }

    /// Applies what follows the linear layer at a depth.
    fn layer(&self, depth: usize, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.norms[depth] {
            Some(norm) => norm.forward(x),
            None => x,
        };
        self.activations[depth].forward(x)
    }

    /// Returns the layers for [`ensemble_mlp`]; `None` if the kernel lacks an activation or the normalization.
    fn fused_layers(&self) -> Option<Vec<EnsembleLayer>> {
        let layers = self.norms.iter().zip(&self.activations).enumerate();
        let fused = layers.map(|(depth, (norm, activation))| match norm {
            Some(_) => None,
            None => {
                let (weight, bias) = self.linear(depth);
                EnsembleLayer::new(weight, bias, activation.dense()?)
            }
        });
        fused.collect()
    }
}

impl EnsembleNorm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (variance, mean) = x.clone().var_mean_bias(2);
        let normal = (x - mean) / (variance + LAYER_NORM_EPSILON).sqrt();
        normal * self.gamma.val().unsqueeze_dim(1) + self.beta.val().unsqueeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::weights::state_dict;

    use super::*;
    use crate::mlp::MlpConfig;

    fn builder() -> ModelBuilder {
        ModelBuilder::new(&Device::flex(), Generator::from_seed(3))
    }

    #[test]
    fn each_member_computes_what_its_network_does() {
        let builder = builder();
        for (activation, layernorm) in
            [(Activation::Relu, false), (Activation::Silu, false), (Activation::Tanh, true)]
        {
            let config = MlpConfig {
                hidden_layer_activation: activation,
                hidden_layer_use_layernorm: layernorm,
                ..MlpConfig::new(5, &[8, 6], None)
            };
            let head = MlpConfig::new(6, &[], Some(2));
            let members: Vec<_> =
                (0..3).map(|_| vec![config.build(&builder), head.build(&builder)]).collect();
            let ensemble = EnsembleMlp::stack(&members, &builder).unwrap();
            let values = (0..35).map(|i| (i as f32).sin()).collect::<Vec<_>>();
            let x = Tensor::<2>::from_data(TensorData::new(values, [7, 5]), &Device::flex());
            let y = ensemble.forward(x.clone());
            assert_eq!(y.dims(), [3, 7, 2]);
            for (index, member) in members.iter().enumerate() {
                let alone = member.iter().fold(x.clone(), |x, mlp| mlp.forward(x));
                let found = to_f32(y.clone().narrow(0, index, 1)).unwrap();
                for (a, b) in found.iter().zip(to_f32(alone).unwrap()) {
                    assert!((a - b).abs() < 1e-5, "{activation:?}: {a} {b}");
                }
            }
            let names: Vec<_> = state_dict(&ensemble).unwrap().into_keys().collect();
            assert_eq!(names.contains(&"norms.0.weight".to_owned()), layernorm, "{names:?}");
        }
    }

    #[test]
    fn networks_of_other_shapes_and_no_networks_are_refused() {
        let builder = builder();
        let mlp = |hidden: usize| MlpConfig::new(3, &[hidden], Some(1)).build(&builder);
        let message =
            |members: &[Vec<Mlp>]| EnsembleMlp::stack(members, &builder).unwrap_err().to_string();
        assert!(message(&[vec![mlp(4)], vec![mlp(5)]]).contains("layers of its members differ"));
        assert!(message(&[vec![mlp(4)], vec![]]).contains("layers of its members differ"));
        assert!(message(&[]).contains("no layers"));
    }
}
