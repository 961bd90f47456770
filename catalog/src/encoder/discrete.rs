//! The encoder of choices.

use burn::module::Module;
use burn::nn::Embedding;
use burn::prelude::*;
use burn::tensor::Int;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Column, CoreError};
use rekindle_onnx::{Graph, Value, Values};

use super::Encoder;
use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::mlp::{Mlp, MlpConfig};

/// Width of an embedding, and the largest number of choices that is encoded as a one-hot vector.
const EMBEDDING_WIDTH: usize = 64;

/// Settings of a [`DiscreteEncoder`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DiscreteEncoderConfig {
    /// Number of choices of each entry.
    pub nvec: Vec<usize>,
    /// Smallest element of each entry: an entry with `n` choices is in `start..start + n`.
    pub start: i64,
    /// Layers over the encoded choices. The encoder sets `input_dim`.
    pub mlp: MlpConfig,
}

impl DiscreteEncoderConfig {
    /// Creates a configuration for entries that count from 0.
    #[must_use]
    pub fn new(nvec: impl Into<Vec<usize>>, mlp: MlpConfig) -> Self {
        Self { nvec: nvec.into(), start: 0, mlp }
    }

    /// Sets the smallest element of each entry.
    #[must_use]
    pub fn with_start(mut self, start: i64) -> Self {
        self.start = start;
        self
    }

    /// Builds the encoder.
    #[must_use]
    pub fn build(&self, builder: &ModelBuilder) -> DiscreteEncoder {
        let large = self.nvec.iter().filter(|&&n| n > EMBEDDING_WIDTH);
        let embeddings = large.map(|&n| builder.embedding(n, EMBEDDING_WIDTH)).collect();
        let input_dim = self.nvec.iter().map(|&n| n.min(EMBEDDING_WIDTH)).sum();
        let config = MlpConfig { input_dim, ..self.mlp.clone() };
        let (mlp, output_dim) = (config.build(builder), config.output_dim());
        DiscreteEncoder { embeddings, mlp, nvec: self.nvec.clone(), start: self.start, output_dim }
    }
}

/// One-hot vectors or embeddings of choices, concatenated and read by an MLP.
///
/// An entry with at most 64 choices becomes a one-hot vector. An entry with more is looked up in an
/// embedding of width 64 (initialized as PyTorch's, standard normal): with one-hot vectors, the
/// weights of the first layer would grow with the number of choices times the layer's width.
/// Numbers outside the space are clamped to it.
///
/// # Shapes
/// `[B]` or `[B, entries]` to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct DiscreteEncoder {
    /// Tables of the entries with more than 64 choices, in order.
    embeddings: Vec<Embedding>,
    mlp: Mlp,
    #[module(skip)]
    nvec: Vec<usize>,
    #[module(skip)]
    start: i64,
    output_dim: usize,
}

impl DiscreteEncoder {
    /// Returns the entries, counted from 0.
    ///
    /// # Shapes
    /// `[B]` or `[B, entries]` to `[B, entries]`.
    fn choices(&self, observations: &Column) -> Result<Tensor<2, Int>> {
        let tensor = observations.tensor()?;
        let (rows, entries) = (tensor.rows(), self.nvec.len());
        let choices = match tensor.shape().len() {
            1 if entries == 1 => tensor.int::<1>()?.reshape([rows, 1]),
            2 if tensor.shape()[1] == entries => tensor.int::<2>()?,
            _ => {
                let expected = format!("an int tensor of shape [_, {entries}]");
                return Err(CoreError::TensorKind { expected, found: tensor.describe() }.into());
            }
        };
        Ok(choices - self.start)
    }
}

impl Encoder for DiscreteEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let choices = self.choices(observations)?;
        let mut embeddings = self.embeddings.iter();
        let entries = self.nvec.iter().enumerate().map(|(entry, &n)| {
            let choice = choices.clone().narrow(1, entry, 1).clamp(0, n as i64 - 1);
            let table = if n > EMBEDDING_WIDTH { embeddings.next() } else { None };
            match table {
                Some(embedding) => embedding.forward(choice).squeeze_dim(1),
                None => one_hot(choice, n),
            }
        });
        Ok(self.mlp.forward(Tensor::cat(entries.collect(), 1)))
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<Value> {
        let choices = graph.rows(observations.one()?, self.nvec.len());
        let start = graph.ints(&[self.start], &[1]);
        let choices = graph.sub(&choices, &start);
        let mut embeddings = self.embeddings.iter();
        let mut entries = Vec::with_capacity(self.nvec.len());
        for (entry, &n) in self.nvec.iter().enumerate() {
            let choice = graph.slice(&choices, entry..entry + 1);
            let table = if n > EMBEDDING_WIDTH { embeddings.next() } else { None };
            entries.push(match table {
                Some(table) => {
                    let table = to_f32(table.weight.val())?;
                    let table = graph.floats(&table, &[n, EMBEDDING_WIDTH]);
                    let choice = graph.squeeze(&choice);
                    graph.node("Gather", &[&table, &choice], &[])
                }
                None => graph.one_hot(&choice, n),
            });
        }
        let entries = graph.concat(&entries);
        self.mlp.export_onnx(graph, &entries)
    }
}

/// Returns one-hot vectors. Unlike Burn's own, it does not read from the device.
///
/// # Shapes
/// `[B, 1]` to `[B, n]`.
fn one_hot(choice: Tensor<2, Int>, n: usize) -> Tensor<2> {
    let rows = choice.dims()[0];
    let classes = Tensor::<1, Int>::arange(0..n as i64, &choice.device());
    choice.expand([rows, n]).equal(classes.unsqueeze::<2>().expand([rows, n])).float()
}
