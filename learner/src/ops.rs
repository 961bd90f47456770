//! Returns, advantages and statistics: pure functions over the slices of one episode or part of one,
//! and in [`tensors`] over many environments at once, on their device.

mod gae;
mod retrace;
mod statistics;
pub mod tensors;
mod vtrace;

pub use gae::{gae, returns_to_go};
pub use retrace::retrace;
pub use statistics::{explained_variance, standardize};
pub use vtrace::{VTrace, VTraceConfig, vtrace};
