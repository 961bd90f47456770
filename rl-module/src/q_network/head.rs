//! The head of a network of action values.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{BoxEncoder, Mlp, ModelBuilder, NoisyLayers, dueling, dueling_logits};
use rekindle_core::Column;
use rekindle_onnx::{Graph, Value};

use crate::error::Result;

/// A head of action values: advantages, and the value that is added to them in a dueling network.
///
/// For distributions of returns, it has `atoms` outputs for each action, and the value as many.
#[derive(Module, Debug)]
pub struct QHead {
    af: Mlp,
    vf: Option<Mlp>,
    af_noise: Option<NoisyLayers>,
    vf_noise: Option<NoisyLayers>,
    atoms: usize,
}

impl QHead {
    /// Creates a head with one output for each action.
    #[must_use]
    pub fn new(af: Mlp) -> Self {
        Self { af, vf: None, af_noise: None, vf_noise: None, atoms: 1 }
    }

    /// Sets the number of outputs for each action.
    #[must_use]
    pub fn atoms(mut self, atoms: usize) -> Self {
        self.atoms = atoms.max(1);
        self
    }

    /// Adds a value, with one output for each atom: the first layers compute advantages.
    #[must_use]
    pub fn dueling(mut self, vf: Mlp) -> Self {
        self.vf = Some(vf);
        self
    }

    /// Adds noise to all layers, with standard deviations that are learned.
    #[must_use]
    pub fn noisy(mut self, builder: &ModelBuilder, sigma0: f64) -> Self {
        let noise = |mlp: &Mlp| NoisyLayers::new(builder, mlp, sigma0);
        self.af_noise = Some(noise(&self.af));
        self.vf_noise = self.vf.as_ref().map(noise);
        self
    }

    /// Returns how many standard normal numbers a noisy pass takes for each row; 0 without noise.
    #[must_use]
    pub fn noise_dim(&self) -> usize {
        let parts = [&self.af_noise, &self.vf_noise];
        parts.into_iter().flatten().map(NoisyLayers::noise_dim).sum()
    }

    /// Computes the values of all actions, or the parameters of their distributions.
    ///
    /// # Shapes
    /// `features`: `[B, features]`; `mask`: `[B, actions]`, 1 for an allowed action and 0 for a masked one;
    /// `noise`: `[B, noise_dim]`, `[1, noise_dim]` for all rows, or `None` for the means; result
    /// `[B, actions · atoms]`, the atoms of an action one after the other.
    #[must_use]
    pub fn forward(
        &self,
        features: Tensor<2>,
        mask: Option<&Tensor<2>>,
        noise: Option<&Tensor<2>>,
    ) -> Tensor<2> {
        let of_af = self.af_noise.as_ref().zip(noise);
        let advantages = match of_af {
            None => self.af.forward(features.clone()),
            Some((sigma, noise)) => sigma.forward(&self.af, features.clone(), noise),
        };
        let Some(vf) = &self.vf else { return advantages };
        let values = match self.vf_noise.as_ref().zip(of_af) {
            None => vf.forward(features),
            Some((sigma, (before, noise))) => {
                let noise = noise.clone().narrow(1, before.noise_dim(), sigma.noise_dim());
                sigma.forward(vf, features, &noise)
            }
        };
        if self.atoms == 1 {
            return dueling(advantages, values.squeeze_dim(1), mask);
        }
        let [rows, outputs] = advantages.dims();
        let advantages = advantages.reshape([rows, outputs / self.atoms, self.atoms]);
        dueling_logits(advantages, values, mask).reshape([rows, outputs])
    }

    /// Adds the values of all actions without noise, or the parameters of their distributions, to an ONNX graph.
    pub(super) fn export_onnx(
        &self,
        graph: &mut Graph,
        features: &Value,
        mask: Option<&Value>,
    ) -> Result<Value> {
        let advantages = self.af.export_onnx(graph, features)?;
        let Some(vf) = &self.vf else { return Ok(advantages) };
        let values = vf.export_onnx(graph, features)?;
        let outputs = self.af.output_dim();
        let atoms = self.atoms as i64;
        let advantages = graph.reshape(&advantages, &[-1, outputs as i64 / atoms, atoms]);
        let values = graph.reshape(&values, &[-1, 1, atoms]);
        let mean = match mask {
            None => graph.reduce("ReduceMean", &advantages, 1, true),
            Some(mask) => {
                let mask = graph.reshape(mask, &[-1, outputs as i64 / atoms, 1]);
                let allowed = graph.mul(&advantages, &mask);
                let (sum, count) = (graph.sum(&allowed, 1, true), graph.sum(&mask, 1, true));
                let one = graph.scalar(1.0);
                let count = graph.max(&count, &one);
                graph.div(&sum, &count)
            }
        };
        let centered = graph.sub(&advantages, &mean);
        let q = graph.add(&centered, &values);
        Ok(graph.rows(&q, outputs))
    }

    /// Computes the same from observations, if possible in one fused operation with the encoder.
    pub(super) fn forward_from(
        &self,
        encoder: &BoxEncoder,
        observations: &Column,
        mask: Option<&Tensor<2>>,
        noise: Option<&Tensor<2>>,
    ) -> Result<Tensor<2>> {
        let is_noisy = self.af_noise.is_some() && noise.is_some();
        Ok(match self.vf.is_none() && !is_noisy {
            true => self.af.forward_from(&**encoder, observations)?,
            false => self.forward(encoder.forward(observations)?, mask, noise),
        })
    }
}
