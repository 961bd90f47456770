//! Encoders: networks that map observations to features.

mod actor_critic;
mod cnn;
mod default;
mod discrete;
mod input_scale;
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
use rekindle_kernels::{DenseLayer, HostPass};
use rekindle_onnx::{Graph, OnnxError, Value, Values};

use crate::error::{CatalogError, Result};

pub use actor_critic::ActorCriticEncoder;
pub use cnn::{CnnEncoder, CnnEncoderConfig};
pub use discrete::{DiscreteEncoder, DiscreteEncoderConfig};
pub use input_scale::InputScale;
pub use mlp::{MlpEncoder, MlpEncoderConfig};
pub use multi_stream::{MultiStreamEncoder, MultiStreamEncoderConfig, Streams};
pub use recurrent::{RecurrentEncoder, RecurrentEncoderConfig};

pub(crate) use default::{default_encoder, image_dims, parts};
pub(crate) use recurrent::default_recurrent_encoder;

/// Marker of erased encoders for [`Erased`].
#[derive(Debug, Clone, Copy)]
pub enum EncoderFamily {}

impl Family for EncoderFamily {
    type Dyn = dyn Encoder;
}

/// A boxed encoder of any type. It is itself a Burn module.
pub type BoxEncoder = Erased<EncoderFamily>;

/// A network that maps observations of one space to features.
///
/// Derive [`Module`] on a struct, implement this trait for it, and return it boxed from
/// [`Catalog::build_encoder`](crate::Catalog::build_encoder).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an encoder",
    label = "this type does not implement `Encoder`",
    note = "implement `Encoder` for `{Self}`: `forward` and `output_dim`"
)]
pub trait Encoder: ErasedModule<EncoderFamily> {
    /// Computes the features of each observation.
    ///
    /// # Shapes
    /// `[B, …]`, nested for a Dict or Tuple, to `[B, output_dim]`.
    ///
    /// # Errors
    /// If kind or shape of the observations differs from those the encoder was built for.
    fn forward(&self, observations: &Column) -> Result<Tensor<2>>;

    /// Returns the number of features.
    fn output_dim(&self) -> usize;

    /// Returns the flattened observations and the layers, if the encoder consists of linear layers
    /// only. A head then runs in one fused operation with them
    /// ([`Mlp::forward_from`](crate::Mlp::forward_from)). `None` by default.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward).
    fn as_dense(&self, _observations: &Column) -> Result<Option<(Tensor<2>, Vec<DenseLayer>)>> {
        Ok(None)
    }

    /// Returns the encoder as a pass over slices in host memory, with which a policy acts without allocating; `None` (the
    /// default) for an encoder without one. It must compute what [`forward`](Self::forward), or
    /// [`forward_recurrent`](Self::forward_recurrent) with one step, computes.
    fn host_pass(&self) -> Option<HostPass> {
        None
    }

    /// Returns the state before the first step of an episode, one row; `None` (the default) for an
    /// encoder that is not recurrent.
    ///
    /// # Errors
    /// If the state cannot be created.
    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// Computes the features of each step of some sequences, and the state after the last step of
    /// each sequence.
    ///
    /// Recurrent encoders implement this method. Their [`forward`](Self::forward) treats every
    /// row as the first step of an episode.
    ///
    /// # Shapes
    /// - `observations`: `[S·T, …]`, one sequence of `T` steps after the other
    /// - `state`, and the returned state: `[S, …]`, in the layout of
    ///   [`initial_state`](Self::initial_state)
    /// - features: `[S·T, output_dim]`
    ///
    /// # Errors
    /// If kind or shape of observations or state differs from those the encoder was built for.
    fn forward_recurrent(
        &self,
        observations: &Column,
        state: &Column,
    ) -> Result<(Tensor<2>, Column)> {
        Ok((self.forward(observations)?, state.clone()))
    }

    /// Adds the pass of one step to an ONNX graph, and returns its features. A recurrent encoder adds its state as
    /// an input and an output ([`Graph::state_in`], [`Graph::state_out`]).
    ///
    /// # Shapes
    /// Observations `[B, …]` with the shapes of their space: floats, or integers for choices. Result
    /// `[B, output_dim]`.
    ///
    /// # Errors
    /// [`OnnxError::NotExportable`] unless the encoder implements it.
    fn export_onnx(&self, _graph: &mut Graph, _observations: &Values) -> Result<Value> {
        let name = std::any::type_name::<Self>();
        Err(OnnxError::not_implemented("encoder", name, "Encoder::export_onnx").into())
    }
}

impl<M: Encoder + Module + Sync + 'static> Erase<M> for EncoderFamily {
    fn erase(module: M) -> Box<dyn Encoder> {
        Box::new(module)
    }
}

/// Checks on one sample that an encoder reads a space and returns `output_dim` features.
///
/// # Errors
/// [`CatalogError::OutputDim`], or the encoder's own error.
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

/// Flattens each row of a column of floats.
///
/// # Shapes
/// `[B, …]` to `[B, features]`.
///
/// # Errors
/// A [`CoreError`] if the column is nested or not of floats, or if a row does not have `features`
/// numbers.
pub(crate) fn flat_rows(observations: &Column, features: usize) -> Result<Tensor<2>> {
    let tensor = observations.tensor()?;
    let (rows, shape) = (tensor.rows(), tensor.shape());
    let numbers: usize = shape.iter().product();
    if tensor.kind() != TensorKind::Float || numbers != rows * features {
        let expected = format!("a float tensor with {features} numbers a row");
        return Err(CoreError::TensorKind { expected, found: tensor.describe() }.into());
    }
    if shape.len() == 2 {
        return Ok(tensor.float::<2>()?);
    }
    Ok(tensor.flatten()?.reshape([rows, features]))
}
