//! Returns, advantages and statistics: pure functions over slices, one episode (or part) at a time;
//! in [`tensors`] over many environments at once, on their device.

mod advantages;
mod bootstrap;
mod statistics;
pub mod tensors;

pub use advantages::{gae, returns_to_go};
pub use bootstrap::bootstrap_values;
pub use statistics::{explained_variance, standardize};
