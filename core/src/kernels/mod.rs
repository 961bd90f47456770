//! Operations that policies spend their time in, fused.
//!
//! Each is a composition of Burn operations on every device, and one pass over host memory, on
//! several threads and with a gradient written by hand, on the CPU. The two are tested against each
//! other in values and gradients.

mod adam;
mod cpu;
pub mod host_op;
mod mlp;
pub mod parallel;
mod tanh;

pub use adam::{AdamStep, StepGuard, adam, square_sum};
pub use cpu::{exp, ln};
pub use mlp::{Dense, DenseActivation, fit, mlp};
pub use tanh::tanh;
