//! Lists of bits.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::MAX_SIZE;
use crate::error::{EnvError, Result};
use crate::np_random::Generator;

/// Lists of `n` bits, each 0 or 1.
///
/// Gymnasium's multi-dimensional shapes have no counterpart: flatten the array, or observe a
/// [`BoxSpace::bytes`](super::BoxSpace::bytes) from 0 to 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr")]
pub struct MultiBinary {
    n: usize,
}

impl MultiBinary {
    /// Creates the set of the lists of `n` bits.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if `n` is 0 or above 2³¹ − 1.
    pub fn new(n: usize) -> Result<Self> {
        if !(1..=MAX_SIZE).contains(&n) {
            let reason = format!("MultiBinary({n}) needs 1 to {MAX_SIZE} bits");
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { n })
    }

    /// Returns the number of bits.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Returns whether `bits` are `n` zeros and ones.
    #[must_use]
    pub fn contains(&self, bits: &[u8]) -> bool {
        bits.len() == self.n && bits.iter().all(|&bit| bit <= 1)
    }

    pub(super) fn sample(&self, rng: &mut Generator, out: &mut [u8]) {
        rng.fill_bits(out);
    }
}

impl fmt::Display for MultiBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MultiBinary({})", self.n)
    }
}

#[derive(Deserialize)]
#[serde(rename = "MultiBinary")]
struct Repr {
    n: usize,
}

impl TryFrom<Repr> for MultiBinary {
    type Error = EnvError;

    fn try_from(repr: Repr) -> Result<Self> {
        Self::new(repr.n)
    }
}
