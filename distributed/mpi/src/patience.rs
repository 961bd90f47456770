//! Waiting without using a core.

use std::thread;
use std::time::{Duration, Instant};

use rekindle::learner::Fault;

/// How long a wait only yields to other threads. Longer waits sleep. A message of a megabyte has many parts, and each part
/// moves only when both sides look, so sleeping earlier would slow down what is on its way.
const YIELDS: Duration = Duration::from_millis(20);
const FIRST_SLEEP: Duration = Duration::from_micros(50);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);
/// How often a long wait looks between two sleeps.
const LOOKS: u32 = 50;

/// A wait with a limit. Its pauses grow.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Instant,
    limit: Duration,
    sleep: Duration,
    /// Looks that are left before the next sleep.
    looks: u32,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { started: Instant::now(), limit, sleep: FIRST_SLEEP, looks: 0 }
    }

    /// Pauses before the next look.
    ///
    /// # Errors
    /// [`Fault::Timeout`] if the limit is reached.
    pub(crate) fn pause(&mut self) -> Result<(), Fault> {
        let waited = self.started.elapsed();
        if waited > self.limit {
            return Err(Fault::Timeout { seconds: self.limit.as_secs() });
        }
        if waited < YIELDS {
            thread::yield_now();
        } else if self.looks > 0 {
            self.looks -= 1;
            thread::yield_now();
        } else {
            thread::sleep(self.sleep);
            self.sleep = (self.sleep * 2).min(LONGEST_SLEEP);
            self.looks = LOOKS;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_limit_and_pauses_grow() {
        let mut patience = Patience::new(Duration::from_millis(50));
        let mut pauses = 0;
        let fault = loop {
            if let Err(fault) = patience.pause() {
                break fault;
            }
            pauses += 1;
        };
        assert_eq!(fault, Fault::Timeout { seconds: 0 });
        assert_eq!(patience.sleep, LONGEST_SLEEP);
        assert!(patience.started.elapsed() < Duration::from_secs(10) && pauses > 2);
    }
}
