//! The encoder of observations with parts.

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::*;
use rekindle_core::{Column, CoreError};

use super::{BoxEncoder, Encoder};
use crate::{Mlp, MlpConfig, ModelBuilder, Result};

/// An encoder for each part of a Dict or Tuple, concatenated and fused by a perceptron; after
/// RLlib's `MultiStreamEncoder`.
///
/// # Shapes
/// Nested columns, one per part, to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct MultiStreamEncoder {
    streams: Streams,
    fusion: Mlp,
    output_dim: usize,
}

impl MultiStreamEncoder {
    /// Fuses the streams of the named parts, in this order; the MLP's `input_dim` is set by them.
    pub fn new(
        streams: Vec<(String, BoxEncoder)>,
        fusion: MlpConfig,
        builder: &ModelBuilder,
    ) -> Self {
        let input_dim = streams.iter().map(|(_, encoder)| encoder.output_dim()).sum();
        let config = MlpConfig { input_dim, ..fusion };
        let (fusion, output_dim) = (builder.mlp(&config), config.output_dim());
        Self { streams: Streams(streams), fusion, output_dim }
    }
}

impl Encoder for MultiStreamEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let Column::Nested(parts) = observations else {
            let names: Vec<_> = self.streams.0.iter().map(|(name, _)| name.as_str()).collect();
            let expected = format!("a nested batch of [{}]", names.join(", "));
            return Err(CoreError::TensorKind { expected, found: observations.describe() }.into());
        };
        let encode = |(name, encoder): &(String, BoxEncoder)| encoder.forward(parts.column(name)?);
        let features = self.streams.0.iter().map(encode).collect::<Result<Vec<_>>>()?;
        Ok(self.fusion.forward(Tensor::cat(features, 1)))
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }
}

/// Encoders by the name of the part they read, which is also the name of their parameters.
#[derive(Debug, Clone)]
pub struct Streams(Vec<(String, BoxEncoder)>);

impl Streams {
    fn each(self, mut f: impl FnMut(&str, BoxEncoder) -> BoxEncoder) -> Self {
        let apply = |(name, encoder): (String, _)| {
            let encoder = f(&name, encoder);
            (name, encoder)
        };
        Self(self.0.into_iter().map(apply).collect())
    }
}

// Burn derives the trait for structs and lists; these parameters are named by the parts.
impl Module for Streams {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.iter().fold(devices, |devices, (_, encoder)| encoder.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|_, encoder| encoder.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|_, encoder| encoder.to_device(device))
    }
    fn train(self) -> Self {
        self.each(|_, encoder| encoder.train())
    }
    fn valid(&self) -> Self {
        self.clone().each(|_, encoder| encoder.valid())
    }
    fn materialize(self) -> Self {
        self.each(|_, encoder| encoder.materialize())
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (name, encoder) in &self.0 {
            visitor.enter_module(name, "Streams");
            encoder.visit(visitor);
            visitor.exit_module(name, "Streams");
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.each(|name, encoder| {
            mapper.enter_module(name, "Streams");
            let encoder = encoder.map(mapper);
            mapper.exit_module(name, "Streams");
            encoder
        })
    }
}

// `#[derive(Module)]` asks its fields for a display.
impl burn::module::ModuleDisplayDefault for Streams {
    fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
        let content = content.set_top_level_type("Streams");
        Some(self.0.iter().fold(content, |content, (name, encoder)| content.add(name, encoder)))
    }
}

impl burn::module::ModuleDisplay for Streams {}
