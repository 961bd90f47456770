//! The encoder of choices.

use burn::module::Module;
use burn::nn::Embedding;
use burn::prelude::*;
use burn::tensor::Int;
use rekindle_core::{Column, CoreError};

use super::Encoder;
use crate::{Mlp, MlpConfig, ModelBuilder, Result};

/// The width of an embedding. A choice among no more than this many is a one-hot vector instead.
const EMBEDDING_WIDTH: usize = 64;

/// Choices as one-hot vectors or embeddings, side by side, read by a perceptron.
///
/// A choice among at most 64 is a one-hot vector; a choice among more is looked up in an embedding
/// of width 64 (PyTorch's: normal, standard deviation 1), since the first layer's weights would
/// otherwise grow with the number of choices times the layer's width. Numbers outside the space
/// count as the nearest inside.
#[derive(Module, Debug)]
pub struct DiscreteEncoder {
    /// The tables of the choices among more than 64, in order.
    embeddings: Vec<Embedding>,
    mlp: Mlp,
    /// The number of choices of each entry.
    #[module(skip)]
    nvec: Vec<usize>,
    /// What the first choice is called.
    #[module(skip)]
    start: i64,
    output_dim: usize,
}

impl DiscreteEncoder {
    /// An encoder of one entry `start..start + n` for each `n` of `nvec`; the MLP's `input_dim` is
    /// set by it.
    pub fn new(nvec: &[usize], start: i64, mlp: MlpConfig, builder: &ModelBuilder) -> Self {
        let large = nvec.iter().filter(|&&n| n > EMBEDDING_WIDTH);
        let embeddings = large.map(|&n| builder.embedding(n, EMBEDDING_WIDTH)).collect();
        let input_dim = nvec.iter().map(|&n| n.min(EMBEDDING_WIDTH)).sum();
        let config = MlpConfig { input_dim, ..mlp };
        let (mlp, output_dim) = (builder.mlp(&config), config.output_dim());
        Self { embeddings, mlp, nvec: nvec.to_vec(), start, output_dim }
    }

    /// The entries as integers from zero.
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
}

/// One where the choice is, zero elsewhere; unlike Burn's, without reading the device.
///
/// # Shapes
/// `[B, 1]` to `[B, n]`.
fn one_hot(choice: Tensor<2, Int>, n: usize) -> Tensor<2> {
    let rows = choice.dims()[0];
    let classes = Tensor::<1, Int>::arange(0..n as i64, &choice.device());
    choice.expand([rows, n]).equal(classes.unsqueeze::<2>().expand([rows, n])).float()
}
