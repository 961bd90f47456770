//! Algorithms from a loss function, and variants of other algorithms.

mod agent_steps;
mod code;
mod config;
mod loss;
mod trajectory;

pub use agent_steps::AgentSteps;
pub(crate) use code::{Code, RecordedCode};
pub use config::CustomTraining;
pub use trajectory::Trajectory;
