//! Returns, advantages and statistics: pure functions over slices, one episode (or part) at a time.

mod advantages;
mod bootstrap;
mod statistics;

pub use advantages::{gae, returns_to_go};
pub use bootstrap::bootstrap_values;
pub use statistics::{explained_variance, standardize};
