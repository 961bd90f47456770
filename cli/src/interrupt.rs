//! Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{CliError, INTERRUPTED, Result};

/// Whether the user has interrupted the program.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Makes Ctrl-C and termination signals end training after the current iteration. A second signal ends the program
    /// at once.
    pub(crate) fn listen() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the flag must still be unset when the first signal arrives.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), interrupted.clone())
                .and_then(|_| flag::register(signal, interrupted.clone()))
                .map_err(|error| CliError::Failed(format!("cannot listen to Ctrl-C: {error}")))?;
        }
        Ok(Self(interrupted))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
