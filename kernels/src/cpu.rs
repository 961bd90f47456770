//! Kernels for host memory.

mod adam;
mod matmul;
mod mlp;
mod mlp_gradient;

mod scratch;
mod tanh;
mod vector_math;

pub(super) use adam::{adam, square_sum};
pub(super) use mlp::{Layer, MlpOp};
pub(super) use tanh::Tanh;
pub use vector_math::{exp, ln};
