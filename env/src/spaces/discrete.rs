//! Finite sets of integers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::np_random::Generator;
use crate::{EnvError, Result};

/// The integers `start..start + n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr")]
pub struct Discrete {
    n: usize,
    start: i64,
}

impl Discrete {
    /// The integers `0..n`.
    pub fn new(n: usize) -> Result<Self> {
        Self::with_start(n, 0)
    }

    /// The integers `start..start + n`.
    pub fn with_start(n: usize, start: i64) -> Result<Self> {
        let fits = i64::try_from(n).ok().and_then(|n| start.checked_add(n)).is_some();
        if n == 0 || !fits {
            let reason = format!("Discrete({n}, start={start}) needs n >= 1 and start + n < 2^63");
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { n, start })
    }

    /// How many integers there are.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The smallest of them.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Whether `number` is one of them.
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
