//! Several discrete choices at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::MAX_CHOICE;
use crate::error::{EnvError, Result};
use crate::np_random::Generator;

/// Lists of integers whose entry `i` is in `0..nvec[i]`.
///
/// Gymnasium's `start` and multi-dimensional `nvec` have no counterpart. An environment adds its
/// offsets itself, or uses a `Tuple` of [`Discrete::with_start`](super::Discrete::with_start), and
/// flattens its array of choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr")]
pub struct MultiDiscrete {
    nvec: Vec<usize>,
}

impl MultiDiscrete {
    /// Creates the set of the lists whose entry `i` is in `0..nvec[i]`.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if there are no entries, an entry has no choice, or an entry has
    /// choices that do not fit into 32 bits.
    pub fn new(nvec: impl Into<Vec<usize>>) -> Result<Self> {
        let nvec = nvec.into();
        let fits = |n: &usize| i64::try_from(*n).is_ok_and(|n| (1..=MAX_CHOICE + 1).contains(&n));
        // The numbers of choices are added up, for example by `Space::flat_dim`.
        let total = nvec.iter().try_fold(0_usize, |total, &n| total.checked_add(n));
        if nvec.is_empty() || !nvec.iter().all(fits) || total.is_none() {
            let reason =
                format!("MultiDiscrete({nvec:?}) needs one or more entries, each from 1 to 2^31");
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { nvec })
    }

    /// Returns the number of choices of each entry.
    #[must_use]
    pub fn nvec(&self) -> &[usize] {
        &self.nvec
    }

    /// Returns whether `numbers` has one entry for each of `nvec`, and each entry is a choice.
    #[must_use]
    pub fn contains(&self, numbers: &[i64]) -> bool {
        numbers.len() == self.nvec.len()
            && numbers.iter().zip(&self.nvec).all(|(x, &n)| (0..n as i64).contains(x))
    }

    pub(super) fn sample(&self, rng: &mut Generator, out: &mut [i64]) {
        for (x, &n) in out.iter_mut().zip(&self.nvec) {
            *x = (rng.random() * n as f64) as i64;
        }
    }
}

impl fmt::Display for MultiDiscrete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nvec: Vec<_> = self.nvec.iter().map(ToString::to_string).collect();
        write!(f, "MultiDiscrete([{}])", nvec.join(" "))
    }
}

#[derive(Deserialize)]
#[serde(rename = "MultiDiscrete")]
struct Repr {
    nvec: Vec<usize>,
}

impl TryFrom<Repr> for MultiDiscrete {
    type Error = EnvError;

    fn try_from(repr: Repr) -> Result<Self> {
        Self::new(repr.nvec)
    }
}
