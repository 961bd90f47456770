//! Kernels for host memory.
//!
//! Results do not depend on the number of threads, nor on the length of vectors where the processor
//! multiplies and adds in one rounding: sums run over a fixed number of lanes (`lanes`), and work whose
//! parts are summed is cut by its size alone.

#[cfg(feature = "flex")]
mod adam;
mod arch;
mod conv;
mod lanes;
mod layer_norm;
mod matmul;
mod mlp;
mod panels;
#[cfg(feature = "flex")]
mod polyak;
#[cfg(feature = "flex")]
mod radam;
mod recurrent;
#[cfg(feature = "flex")]
mod rms_prop;
mod scratch;
mod tanh;
mod vector_math;

#[cfg(feature = "flex")]
pub(super) use adam::{adam, square_sum};
pub(super) use conv::{ConvOp, ConvShape, Scale, pack as pack_filters};
#[cfg(feature = "flex")]
pub(super) use conv::{Images, forward_into as conv_into};
pub(super) use layer_norm::LayerNormOp;
pub(super) use mlp::{EnsembleOp, Layer, MlpOp};
#[cfg(feature = "flex")]
pub(super) use mlp::{LAYERS, LayerParameters, Prepared};
#[cfg(feature = "flex")]
pub(super) use polyak::polyak;
#[cfg(feature = "flex")]
pub(super) use radam::radam;
pub(super) use recurrent::{CellKind, RecurrentOp, RecurrentShape, pack as pack_gates};
#[cfg(feature = "flex")]
pub(super) use recurrent::{PackedLayer, step as recurrent_step};
#[cfg(feature = "flex")]
pub(super) use rms_prop::rms_prop;
pub(super) use scratch::Scratch;
#[cfg(feature = "flex")]
pub(super) use scratch::give_back;
pub(super) use tanh::Tanh;
pub use vector_math::{exp, ln};

#[cfg(test)]
mod tests;
