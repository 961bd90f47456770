//! Kernels for host memory.

mod host_op;
mod matmul;
mod mlp;
mod mlp_gradient;
mod parallel;
mod tanh;
mod vector_math;

pub(super) use host_op::{Operand, apply};
pub(super) use mlp::{Layer, Mlp};
pub(super) use tanh::Tanh;
