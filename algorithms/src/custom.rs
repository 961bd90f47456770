//! Algorithms from a loss function, and variants of other algorithms.

mod code;
mod config;
mod loss;
mod trajectory;

pub(crate) use code::{Code, RecordedCode};
pub use config::CustomTraining;
pub use trajectory::Trajectory;
