//! Signals that end training.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag::register_usize;

/// The signal that this process has received, if any.
///
/// SIGUSR1 announces that the job ends soon. The launch wrapper sends it instead of SIGTERM, after which `mpirun` leaves
/// little time.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Remembers signals from here on, instead of ending the process.
    ///
    /// # Errors
    /// If signals cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        let signals = Self::default();
        for signal in [SIGUSR1, SIGTERM, SIGINT] {
            register_usize(signal, signals.0.clone(), usize::try_from(signal).unwrap_or(1))?;
        }
        Ok(signals)
    }

    /// Returns the number of the last signal, or 0 without one.
    #[must_use]
    pub fn flag(&self) -> u32 {
        u32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }
}
