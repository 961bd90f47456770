//! Fused operations for the hot paths of policies.
//!
//! On the CPU each operation is one pass over host memory, on several threads and with a handwritten
//! gradient. On other devices, and in an [`eager`] scope, it is a composition of Burn operations. Tests
//! compare values and gradients of the two.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod activation;
mod adam;
mod conv;
mod cpu;
pub mod eager;
mod ensemble;
pub mod host_op;
mod host_pass;
mod layer_norm;
mod mlp;
mod packed;
mod polyak;
mod radam;
mod recurrent;
mod rms_prop;
mod tanh;

pub use activation::DenseActivation;
pub use adam::{AdamStep, LARGEST_SQUARE, StepGuard, adam, sgd, square_sum};
pub use conv::{ConvLayer, conv};
pub use cpu::{exp, ln};
pub use ensemble::{EnsembleLayer, ensemble_mlp};
pub use host_pass::{HostPass, HostRows, HostState};
pub use layer_norm::layer_norm;
pub use mlp::{DenseLayer, fit, mlp};
pub use polyak::polyak;
pub use radam::{RAdamStep, radam};
pub use recurrent::RecurrentLayer;
pub use rms_prop::{RmsPropStep, rms_prop};
pub use tanh::tanh;
