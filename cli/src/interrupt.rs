//! Ctrl-C.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::error::{CliError, INTERRUPTED, Result};

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
/// How long a command may take to notice a signal before the user is told that it will.
const PATIENCE: Duration = Duration::from_millis(300);

/// Whether the user has interrupted the program.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    is_set: Arc<AtomicBool>,
    /// Whether the command has noticed.
    is_noticed: Arc<AtomicBool>,
}

impl Interrupt {
    /// Makes Ctrl-C and termination signals end training after the current iteration. A second signal ends the program
    /// at once.
    pub(crate) fn listen() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            // The order matters: the flag must still be unset when the first signal arrives.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), interrupted.clone())
                .and_then(|_| flag::register(signal, interrupted.clone()))
                .map_err(cannot_listen)?;
        }
        Ok(Self { is_set: interrupted, is_noticed: Arc::new(AtomicBool::new(false)) })
    }

    pub(crate) fn is_set(&self) -> bool {
        let is_set = self.is_set.load(Ordering::Relaxed);
        if is_set {
            self.is_noticed.store(true, Ordering::Relaxed);
        }
        is_set
    }

    /// Calls a function after the first signal, unless the command notices the signal at once. The function tells the
    /// user what the command waits for.
    pub(crate) fn announce(&self, announce: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut signals = Signals::new(SIGNALS).map_err(cannot_listen)?;
        let Self { is_set, is_noticed } = self.clone();
        thread::spawn(move || {
            if is_set.load(Ordering::Relaxed) || signals.forever().next().is_some() {
                thread::sleep(PATIENCE);
                if !is_noticed.load(Ordering::Relaxed) {
                    announce();
                }
            }
        });
        Ok(())
    }
}

fn cannot_listen(error: io::Error) -> CliError {
    CliError::Failed(format!("cannot listen to Ctrl-C: {error}"))
}
