//! Policies in their environment.

use rekindle::env::EnvError;
use rekindle::env::render::Frame;

use crate::error::{CliError, Result};

/// Policies that play in an environment.
pub(super) trait Game {
    /// Begins an episode. Without a seed, the random stream of the environment continues.
    fn reset(&mut self, seed: Option<u64>) -> Result<()>;

    /// Lets the agents act that are to act. With `explore`, their actions are sampled.
    fn step(&mut self, explore: bool) -> Result<Outcome>;

    fn render(&mut self) -> Result<Frame>;

    /// Returns text to be added to the return of the episode so far: the return of each agent, if there are several.
    fn details(&self) -> String {
        String::new()
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// The sum of the rewards of all agents.
    pub(super) reward: f64,
    pub(super) is_over: bool,
}

/// An episode that is over.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) reward: f64,
    pub(super) steps: u64,
    pub(super) details: String,
}

pub(super) fn of_env(error: EnvError) -> CliError {
    CliError::Failed(error.to_string())
}
