//! Operations that policies spend their time in, fused.
//!
//! Each is a composition of Burn operations on every device, and one pass over host memory, on
//! several threads and with a gradient written by hand, on the CPU. The two are tested against each
//! other in values and gradients.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod adam;
mod cpu;
pub mod host_op;
mod mlp;
mod tanh;

pub use adam::{AdamStep, StepGuard, adam, sgd, square_sum};
pub use cpu::{exp, ln};
pub use mlp::{DenseActivation, DenseLayer, fit, mlp};
pub use tanh::tanh;
