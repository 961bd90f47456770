//! Observations outside their space: counted, reported, or errors.

use std::sync::Arc;

use rekindle_env::{Buffer, EnvError, Space};

use crate::leaf::{Leaf, Storage, part};
use crate::settings::Check;
use crate::spaces::Described;
use crate::worker::Worker;

/// Characters of an observation that a message shows.
const MAX_SHOWN: usize = 200;

/// Checks the observations of a vector.
#[derive(Debug)]
pub(crate) struct ObservationCheck {
    env: Arc<str>,
    space: Space,
    /// The leaves that can hold numbers outside their space, with their bounds.
    bounded: Vec<Bounded>,
    is_error: bool,
    invalid: u64,
    casts: u64,
    /// The last known count of each worker.
    seen_casts: Vec<u32>,
}

#[derive(Debug)]
struct Bounded {
    leaf: Leaf,
    low: Vec<f32>,
    high: Vec<f32>,
}

impl ObservationCheck {
    pub(crate) fn new(env: Arc<str>, observations: &Described, check: Check) -> Self {
        let leaves = if check == Check::Off { &[][..] } else { &observations.leaves };
        let bounded = leaves.iter().filter_map(|leaf| Bounded::new(&observations.space, leaf));
        Self {
            env,
            space: observations.space.clone(),
            bounded: bounded.collect(),
            is_error: check == Check::Error,
            invalid: 0,
            casts: 0,
            seen_casts: Vec::new(),
        }
    }

    pub(crate) fn invalid(&self) -> u64 {
        self.invalid
    }

    pub(crate) fn casts(&self) -> u64 {
        self.casts
    }

    /// Checks row `index`. Returns an error if the settings ask for one.
    pub(crate) fn observation(&mut self, rows: &Buffer, index: usize) -> Option<EnvError> {
        if self.bounded.iter().all(|bounded| bounded.contains(rows, index)) {
            return None;
        }
        self.report(rows, index)
    }

    #[cold]
    fn report(&mut self, rows: &Buffer, index: usize) -> Option<EnvError> {
        self.invalid += 1;
        let mut observation = format!("{:?}", rows.row(index));
        if let Some((end, _)) = observation.char_indices().nth(MAX_SHOWN) {
            observation.truncate(end);
            observation.push_str("..");
        }
        let space = self.space.to_string();
        if self.is_error {
            let env = self.env.to_string();
            let source = Box::new(EnvError::InvalidObservation { env, space, observation });
            return Some(EnvError::SubEnv { index, source });
        }
        if is_milestone(self.invalid) {
            tracing::warn!(
                env = &*self.env,
                index,
                count = self.invalid,
                observation,
                space,
                "an observation is outside its space; correct the environment, or set \
                 `check_observations` to \"off\""
            );
        }
        None
    }

    /// Counts the observations of a worker that had another element type.
    pub(crate) fn count_casts(&mut self, worker: &Worker, slot: usize) {
        let Ok(found) = worker.columns.casts() else { return };
        if self.seen_casts.len() <= slot {
            self.seen_casts.resize(slot + 1, 0);
        }
        let more = found.wrapping_sub(self.seen_casts[slot]);
        if more == 0 {
            return;
        }
        self.seen_casts[slot] = found;
        if self.casts == 0 {
            tracing::warn!(
                env = &*self.env,
                space = %self.space,
                "an observation has another element type than its space and is converted; return \
                 arrays of the space's `dtype`"
            );
        }
        self.casts += u64::from(more);
    }

    /// A new worker counts from zero.
    pub(crate) fn worker_restarted(&mut self, slot: usize) {
        if let Some(seen) = self.seen_casts.get_mut(slot) {
            *seen = 0;
        }
    }
}

impl Bounded {
    /// The bounds of a leaf, unless every number of its type is within them.
    fn new(space: &Space, leaf: &Leaf) -> Option<Self> {
        let space = leaf.path.iter().try_fold(space, |space, key| match space {
            Space::Dict(parts) => parts.get(key).ok(),
            Space::Tuple(parts) => parts.get(key.parse().ok()?).ok(),
            _ => None,
        });
        let Some(Space::Box(space)) = space else { return None };
        let (low, high) = (space.low(), space.high());
        let all = |bounds: &[f32], limit: f32| bounds.iter().all(|&bound| bound == limit);
        let is_free = match leaf.storage {
            // NaN is in no space.
            Storage::Float => false,
            Storage::Byte => all(low, 0.0) && all(high, 255.0),
            Storage::Int => all(low, f32::NEG_INFINITY) && all(high, f32::INFINITY),
        };
        let (low, high) = (low.to_vec(), high.to_vec());
        (!is_free).then(|| Self { leaf: leaf.clone(), low, high })
    }

    fn contains(&self, rows: &Buffer, index: usize) -> bool {
        let Ok(part) = part(rows, &self.leaf.path) else { return true };
        let cells = index * self.leaf.width..(index + 1) * self.leaf.width;
        match self.leaf.storage {
            Storage::Float => self.holds(part.as_f32(), cells, |x| x),
            Storage::Byte => self.holds(part.as_u8(), cells, f32::from),
            Storage::Int => self.holds(part.as_i64(), cells, |x| x as f32),
        }
    }

    fn holds<T: Copy>(
        &self,
        numbers: Result<&[T], EnvError>,
        cells: std::ops::Range<usize>,
        to_f32: impl Fn(T) -> f32,
    ) -> bool {
        let numbers = numbers.ok().and_then(|numbers| numbers.get(cells)).unwrap_or_default();
        let bounds = self.low.iter().zip(&self.high);
        numbers.iter().zip(bounds).all(|(&x, (&low, &high))| {
            let x = to_f32(x);
            low <= x && x <= high
        })
    }
}

/// Whether a count is 1, 10, 100, ...
fn is_milestone(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|digits| count == 10_u64.pow(digits))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mode: Check) -> (ObservationCheck, Buffer) {
        let description = json!({"kind": "Dict", "parts": [
            ["free", {"kind": "Box", "shape": [1], "low": [0], "high": [255], "dtype": "uint8"}],
            ["speed", {"kind": "Box", "shape": [2], "low": [-1], "high": ["inf"], "dtype": "float32"}],
        ]});
        let description = serde_json::from_value(description).unwrap();
        let described = Described::new("lab", "observation", &description).unwrap();
        let rows = Buffer::zeros(&described.space, 2);
        (ObservationCheck::new("lab".into(), &described, mode), rows)
    }

    fn set(rows: &mut Buffer, numbers: &[f32]) {
        rows.row_mut(1).get_mut("speed").unwrap().write_f32(numbers).unwrap();
    }

    #[test]
    fn numbers_outside_the_bounds_and_nan_are_counted() {
        let (mut check, mut rows) = check(Check::Warn);
        for (numbers, count) in [([0.0, 9e9], 0), ([-1.5, 0.0], 1), ([0.0, f32::NAN], 2)] {
            set(&mut rows, &numbers);
            assert!(check.observation(&rows, 1).is_none());
            assert!(check.observation(&rows, 0).is_none());
            assert_eq!(check.invalid(), count);
        }
    }

    #[test]
    fn they_are_errors_or_ignored_as_the_settings_say() {
        let (mut strict, mut rows) = check(Check::Error);
        set(&mut rows, &[f32::NAN, 0.0]);
        let message = strict.observation(&rows, 1).unwrap().to_string();
        assert!(message.starts_with("environment 1: `lab` observed"), "{message}");
        let (mut off, _) = check(Check::Off);
        assert!(off.observation(&rows, 1).is_none() && off.invalid() == 0);
    }

    #[test]
    fn reports_become_rare() {
        let milestones: Vec<_> = (0..=1000).filter(|&count| is_milestone(count)).collect();
        assert_eq!(milestones, [1, 10, 100, 1000]);
    }
}
