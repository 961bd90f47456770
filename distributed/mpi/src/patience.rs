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
    fn a_wait_ends_at_its_limit() {
        let mut patience = Patience::new(Duration::from_millis(30));
        let fault = loop {
            if let Err(fault) = patience.pause() {
                break fault;
            }
        };
        assert_eq!(fault, Fault::Timeout { seconds: 0 });
        assert!(patience.started.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn long_waits_sleep_and_the_sleeps_grow() {
        let mut patience = Patience::new(Duration::from_secs(600));
        let mut sleeps = Vec::new();
        while patience.sleep < LONGEST_SLEEP {
            patience.pause().unwrap();
            if sleeps.last() != Some(&patience.sleep) {
                sleeps.push(patience.sleep);
            }
        }
        assert!(sleeps.len() > 3 && sleeps.is_sorted(), "{sleeps:?}");
        assert!(patience.started.elapsed() > YIELDS);
    }
}
