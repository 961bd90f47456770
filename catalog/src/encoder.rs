//! Encoders: from observations to features.

mod cnn;
mod default;
mod discrete;
mod mlp;
mod multi_stream;
mod recurrent;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::host_batch::upload;
use rekindle_core::{
    Column, CoreError, Erase, Erased, ErasedModule, Family, Generator, TensorKind,
};
use rekindle_env::{Buffer, Space};
use rekindle_kernels::DenseLayer;

use crate::{CatalogError, Result};

pub use cnn::CnnEncoder;
pub use discrete::DiscreteEncoder;
pub use mlp::MlpEncoder;
pub use multi_stream::{MultiStreamEncoder, Streams};
pub use recurrent::RecurrentEncoder;

pub(crate) use default::{check_applies, default_encoder};
pub(crate) use recurrent::default_recurrent_encoder;

/// The family of erased encoders.
#[derive(Debug, Clone, Copy)]
pub enum EncoderFamily {}

impl Family for EncoderFamily {
    type Dyn = dyn Encoder;
}

/// A boxed encoder; itself a Burn module.
pub type BoxEncoder = Erased<EncoderFamily>;

/// Reads observations of one space into a feature vector.
///
/// Derive [`Module`] on a struct, implement this, and return it from
/// [`Catalog::build_encoder`](crate::Catalog::build_encoder).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an encoder",
    label = "this type does not implement `Encoder`",
    note = "implement `Encoder` for `{Self}`: `forward` and `output_dim`"
)]
pub trait Encoder: ErasedModule<EncoderFamily> {
    /// Features of each observation.
    ///
    /// # Shapes
    /// `[B, …]` (or nested columns of it) to `[B, output_dim]`.
    ///
    /// # Errors
    /// If the observations are of another kind or shape than the encoder was built for.
    fn forward(&self, observations: &Column) -> Result<Tensor<2>>;

    /// The number of features.
    fn output_dim(&self) -> usize;

    /// The rows and the layers that make features of them, if fully connected layers are all that
    /// the encoder does; a head of such layers is then computed with them in one pass
    /// ([`Mlp::forward_from`](crate::Mlp::forward_from)).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn as_dense(&self, _observations: &Column) -> Result<Option<(Tensor<2>, Vec<DenseLayer>)>> {
        Ok(None)
    }

    /// The state before the first step of an episode, one row; `None` for an encoder without
    /// memory.
    ///
    /// # Errors
    /// If the state cannot be made.
    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// Features of each step of some sequences, and the state after the last step of each.
    ///
    /// An encoder with memory implements it; its [`forward`](Self::forward) takes every row for the
    /// first step of an episode.
    ///
    /// # Shapes
    /// - `observations`: `[S·T, …]`, one sequence of `T` steps after the other
    /// - `state`, and the state returned: `[S, …]`, in the layout of
    ///   [`initial_state`](Self::initial_state)
    /// - features: `[S·T, output_dim]`
    ///
    /// # Errors
    /// If observations or state are of another kind or shape than the encoder was built for.
    fn forward_recurrent(
        &self,
        observations: &Column,
        state: &Column,
    ) -> Result<(Tensor<2>, Column)> {
        Ok((self.forward(observations)?, state.clone()))
    }
}

impl<M: Encoder + Module + Sync + 'static> Erase<M> for EncoderFamily {
    fn erase(module: M) -> Box<dyn Encoder> {
        Box::new(module)
    }
}

/// Checks that an encoder reads a space and puts out as many features as it says, on one sample.
///
/// # Errors
/// [`CatalogError::OutputDim`], or what the encoder says to the sample.
pub fn check_encoder(encoder: &dyn Encoder, space: &Space, device: &Device) -> Result<()> {
    let mut sample = Buffer::zeros(space, 1);
    space.sample_into(&mut Generator::from_seed(0), sample.row_mut(0))?;
    let found = encoder.forward(&upload(&sample, device)?)?.dims()[1];
    let announced = encoder.output_dim();
    if found == announced {
        return Ok(());
    }
    Err(CatalogError::OutputDim { space: space.to_string(), announced, found })
}

/// The rows of an observation of floats, flattened.
///
/// # Shapes
/// `[B, …]` to `[B, features]`.
///
/// # Errors
/// A [`CoreError`] if it is nested or not of floats, or if the numbers of a row are not `features`.
fn flat_rows(observations: &Column, features: usize) -> Result<Tensor<2>> {
    let tensor = observations.tensor()?;
    let (rows, numbers) = (tensor.rows(), tensor.shape().iter().product::<usize>());
    if tensor.kind() != TensorKind::Float || numbers != rows * features {
        let expected = format!("a float tensor with {features} numbers a row");
        return Err(CoreError::TensorKind { expected, found: tensor.describe() }.into());
    }
    if tensor.shape().len() == 2 {
        return Ok(tensor.float::<2>()?);
    }
    Ok(tensor.flatten()?.reshape([rows, features]))
}

/// What bytes are divided by, so that layers read numbers between 0 and 1.
const MAX_BYTE: f64 = 255.0;
