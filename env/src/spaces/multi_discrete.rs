//! Several discrete choices at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::np_random::Generator;
use crate::{EnvError, Result};

/// One integer below each entry of `nvec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Repr")]
pub struct MultiDiscrete {
    nvec: Vec<usize>,
}

impl MultiDiscrete {
    /// The lists whose entry `i` is in `0..nvec[i]`.
    pub fn new(nvec: impl Into<Vec<usize>>) -> Result<Self> {
        let nvec = nvec.into();
        // Numbers of choices are added up and held as `i64`, so neither may overflow.
        let total = nvec.iter().try_fold(0_usize, |total, &n| total.checked_add(n));
        let fits = total.is_some_and(|total| i64::try_from(total).is_ok());
        if nvec.is_empty() || nvec.contains(&0) || !fits {
            let reason = format!("MultiDiscrete({nvec:?}) needs entries, each at least 1");
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { nvec })
    }

    /// The number of choices of each entry.
    #[must_use]
    pub fn nvec(&self) -> &[usize] {
        &self.nvec
    }

    /// Whether `numbers` has one entry below each of `nvec`.
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
