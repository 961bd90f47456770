//! Waiting without using a core.

use std::thread;
use std::time::{Duration, Instant};

use rekindle::learner::Fault;

/// How long a wait only yields to other threads. Longer waits sleep.
const YIELDS: Duration = Duration::from_millis(1);
const FIRST_SLEEP: Duration = Duration::from_micros(50);
const LONGEST_SLEEP: Duration = Duration::from_millis(2);

/// A wait with a limit. Its pauses grow.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Instant,
    limit: Duration,
    sleep: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { started: Instant::now(), limit, sleep: FIRST_SLEEP }
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
        } else {
            thread::sleep(self.sleep);
            self.sleep = (self.sleep * 2).min(LONGEST_SLEEP);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_limit_and_pauses_grow() {
        let mut patience = Patience::new(Duration::from_millis(30));
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
