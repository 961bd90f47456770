//! Finite sets of integers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::MAX_CHOICE;
use crate::error::{EnvError, Result};
use crate::np_random::Generator;

/// The integers `start..start + n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr")]
pub struct Discrete {
    n: usize,
    start: i64,
}

impl Discrete {
    /// Creates the set of the integers `0..n`.
    ///
    /// # Errors
    ///
    /// As for [`with_start`](Self::with_start).
    pub fn new(n: usize) -> Result<Self> {
        Self::with_start(n, 0)
    }

    /// Creates the set of the integers `start..start + n`.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if the set is empty, or if an element does not fit into 32 bits:
    /// devices hold no wider integers.
    pub fn with_start(n: usize, start: i64) -> Result<Self> {
        let last = i64::try_from(n).ok().and_then(|n| start.checked_add(n)?.checked_sub(1));
        let fits = start >= -MAX_CHOICE - 1 && last.is_some_and(|last| last <= MAX_CHOICE);
        if n == 0 || !fits {
            let reason = format!(
                "Discrete({n}, start={start}) needs n >= 1 and elements between -2^31 and \
                 2^31 - 1, the integers that devices hold; count from a smaller start"
            );
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { n, start })
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Returns the smallest element.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Returns whether `number` is an element.
    #[inline]
    #[must_use]
    pub fn contains(&self, number: i64) -> bool {
        (self.start..self.start + self.n as i64).contains(&number)
    }

    /// The place of `number` in the set, counted from zero.
    pub(super) fn position(&self, number: i64) -> Option<usize> {
        self.contains(number).then(|| (number - self.start) as usize)
    }

    pub(super) fn sample(&self, rng: &mut Generator) -> i64 {
        rng.integers(self.start, self.start + self.n as i64)
    }
}

impl fmt::Display for Discrete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            0 => write!(f, "Discrete({})", self.n),
            start => write!(f, "Discrete({}, start={start})", self.n),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename = "Discrete")]
struct Repr {
    n: usize,
    #[serde(default)]
    start: i64,
}

impl TryFrom<Repr> for Discrete {
    type Error = EnvError;

    fn try_from(Repr { n, start }: Repr) -> Result<Self> {
        Self::with_start(n, start)
    }
}
