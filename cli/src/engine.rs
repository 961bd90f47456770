//! Parts of `rekindle train` and `rekindle resume`, for programs that train on several machines.
//!
//! An [`Engine`] says what an iteration of training is and when it ends early. Everything else is that of the program
//! `rekindle`: settings, run folders, output and exit codes.

use rekindle::algorithms::Algorithm;
use rekindle::metrics::Metrics;

use crate::interrupt::Interrupt;

pub use crate::args::{Output, Settings};
pub use crate::config::change;
pub use crate::error::{CliError, Result};
pub use crate::resume::nothing_to_do;
pub use crate::show_warnings;
pub use crate::train::new_experiment;
pub use crate::training_loop::train;

/// A function that tells the user that training ends after the current iteration.
pub type Teller = Box<dyn FnOnce() + Send>;

/// How an algorithm trains.
pub trait Engine {
    /// Runs an iteration.
    ///
    /// # Errors
    /// As [`Algorithm::train`].
    fn train(&mut self, algorithm: &mut Algorithm) -> Result<Metrics>;

    /// Whether training is to end and its state to be saved. Called once after each iteration.
    ///
    /// # Errors
    /// If other processes, which must agree, cannot be asked.
    fn is_interrupted(&mut self) -> Result<bool>;

    /// Calls a function when the user first interrupts, unless training ends at once. By default, nothing is told.
    ///
    /// # Errors
    /// If signals cannot be listened to.
    fn announce(&self, _tell: Teller) -> Result<()> {
        Ok(())
    }

    /// Whether the algorithm is between two updates after an error, so that its state is worth saving. Defaults to
    /// `true`.
    fn has_whole_state(&self, _error: &CliError) -> bool {
        true
    }

    /// The command that continues a run, without the folder.
    fn resume_command(&self) -> &str {
        "rekindle resume"
    }
}

/// Training in this process alone.
#[derive(Debug)]
pub(crate) struct Local<'a>(&'a Interrupt);

impl<'a> Local<'a> {
    pub(crate) fn new(interrupt: &'a Interrupt) -> Self {
        Self(interrupt)
    }
}

impl Engine for Local<'_> {
    fn train(&mut self, algorithm: &mut Algorithm) -> Result<Metrics> {
        Ok(algorithm.train()?)
    }

    fn is_interrupted(&mut self) -> Result<bool> {
        Ok(self.0.is_set())
    }

    fn announce(&self, tell: Teller) -> Result<()> {
        self.0.announce(tell)
    }
}
