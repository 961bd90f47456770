//! The encoder of Dict and Tuple observations.

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::*;
use rekindle_core::{Column, CoreError};
use rekindle_onnx::{Graph, Value, Values};

use super::{BoxEncoder, Encoder};
use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::mlp::{Mlp, MlpConfig};

/// An encoder for each part of a Dict or Tuple, and an MLP that fuses their features; RLlib's
/// `MultiStreamEncoder`.
///
/// # Shapes
/// Nested columns, one per part, to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct MultiStreamEncoder {
    streams: Streams,
    fusion: Mlp,
    output_dim: usize,
}

/// Settings of a [`MultiStreamEncoder`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MultiStreamEncoderConfig {
    /// Layers over the concatenated features. The encoder sets `input_dim`.
    pub fusion: MlpConfig,
}

impl MultiStreamEncoderConfig {
    /// Creates a configuration with these layers over the concatenated features.
    #[must_use]
    pub fn new(fusion: MlpConfig) -> Self {
        Self { fusion }
    }

    /// Builds the encoder over the encoders of the named parts. Their features are concatenated in
    /// this order.
    #[must_use]
    pub fn build(
        &self,
        streams: Vec<(String, BoxEncoder)>,
        builder: &ModelBuilder,
    ) -> MultiStreamEncoder {
        let input_dim = streams.iter().map(|(_, encoder)| encoder.output_dim()).sum();
        let config = MlpConfig { input_dim, ..self.fusion.clone() };
        let (fusion, output_dim) = (config.build(builder), config.output_dim());
        MultiStreamEncoder { streams: Streams(streams), fusion, output_dim }
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

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<Value> {
        let mut features = Vec::with_capacity(self.streams.0.len());
        for (name, encoder) in &self.streams.0 {
            features.push(encoder.export_onnx(graph, observations.part(name)?)?);
        }
        let features = graph.concat(&features);
        self.fusion.export_onnx(graph, &features)
    }
}

/// Encoders by the name of their part, which is also the name of their parameters.
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

// Burn derives the trait for structs and lists. These parameters are named after the parts.
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

// `#[derive(Module)]` requires a display from each field.
impl burn::module::ModuleDisplayDefault for Streams {
    fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
        let content = content.set_top_level_type("Streams");
        Some(self.0.iter().fold(content, |content, (name, encoder)| content.add(name, encoder)))
    }
}

impl burn::module::ModuleDisplay for Streams {}
