//! Epochs of shuffled minibatches over modules of different size.

use std::collections::BTreeMap;

use rekindle_core::{ConfigError, Generator, ModuleId};

use crate::{LearnerError, Result};

/// The passes of an update over its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// Passes over the module that needs the most minibatches per pass.
    pub num_epochs: usize,
    /// Whether each pass visits the rows in a new random order.
    pub shuffle: bool,
}

/// The units that the minibatches of a module consist of: rows, or sequences of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Number of units.
    pub count: usize,
    /// Units per minibatch.
    pub minibatch: usize,
}

/// Unit indices of minibatches; RLlib's `MiniBatchCyclicIterator`.
///
/// Each minibatch has exactly `minibatch` units of every module. The module with the most minibatches
/// is passed over `num_epochs` times. Other modules start over after each pass, in a new order if
/// shuffled.
#[derive(Debug)]
pub struct MinibatchCyclicIterator<'a> {
    left: usize,
    shuffle: bool,
    modules: BTreeMap<ModuleId, Cycle>,
    rng: &'a mut Generator,
}

#[derive(Debug)]
struct Cycle {
    order: Vec<usize>,
    next: usize,
    minibatch: usize,
}

impl<'a> MinibatchCyclicIterator<'a> {
    /// Creates an iterator over modules with the given units.
    ///
    /// # Errors
    /// [`LearnerError::EmptyBatch`] for a module without units, [`ConfigError`] for
    /// empty minibatches.
    pub fn new(
        epochs: Epochs,
        modules: &BTreeMap<ModuleId, Units>,
        rng: &'a mut Generator,
    ) -> Result<Self> {
        if let Some((id, _)) = modules.iter().find(|(_, units)| units.count == 0) {
            return Err(LearnerError::EmptyBatch(id.clone()));
        }
        if modules.values().any(|units| units.minibatch == 0) {
            let constraint = "a minibatch has at least one row";
            return Err(ConfigError::new("minibatch_size", 0, constraint).into());
        }
        let minibatches =
            |units: &Units| (epochs.num_epochs * units.count).div_ceil(units.minibatch);
        let left = modules.values().map(minibatches).max().unwrap_or(0);
        let cycle = |units: &Units, rng: &mut Generator| {
            let count = units.count;
            let order = if epochs.shuffle { rng.permutation(count) } else { (0..count).collect() };
            Cycle { order, next: 0, minibatch: units.minibatch }
        };
        let modules = modules.iter().map(|(id, units)| (id.clone(), cycle(units, rng))).collect();
        Ok(Self { left, shuffle: epochs.shuffle, modules, rng })
    }
}

impl Iterator for MinibatchCyclicIterator<'_> {
    type Item = BTreeMap<ModuleId, Vec<usize>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut minibatch = BTreeMap::new();
        for (id, cycle) in &mut self.modules {
            let mut rows = Vec::with_capacity(cycle.minibatch);
            while rows.len() < cycle.minibatch {
                if cycle.next == cycle.order.len() {
                    cycle.next = 0;
                    if self.shuffle {
                        self.rng.shuffle(&mut cycle.order);
                    }
                }
                let take = (cycle.minibatch - rows.len()).min(cycle.order.len() - cycle.next);
                rows.extend_from_slice(&cycle.order[cycle.next..cycle.next + take]);
                cycle.next += take;
            }
            minibatch.insert(id.clone(), rows);
        }
        Some(minibatch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for MinibatchCyclicIterator<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(counts: &[usize], minibatch: usize) -> BTreeMap<ModuleId, Units> {
        let units = counts.iter().map(|&count| Units { count, minibatch });
        units.enumerate().map(|(i, units)| (format!("m{i}"), units)).collect()
    }

    #[test]
    fn numbers_of_minibatches_and_last_rows_equal_rllibs() {
        for (num_epochs, size, modules, count, last) in [
            (30, 256, [1652, 1463], 194, [103, 1384]),
            (10, 128, [1000, 2], 79, [111, 1]),
            (3, 128, [56, 56], 2, [31, 31]),
            (7, 128, [56, 56], 4, [7, 7]),
            (10, 128, [56, 3], 5, [23, 0]),
            (10, 128, [400, 400], 32, [95, 95]),
            (10, 128, [64, 64], 5, [63, 63]),
        ] {
            let mut rng = Generator::from_seed(0);
            let epochs = Epochs { num_epochs, shuffle: false };
            let units = units(&modules, size);
            let iterator = MinibatchCyclicIterator::new(epochs, &units, &mut rng).unwrap();
            assert_eq!(iterator.len(), count);
            let minibatches: Vec<_> = iterator.collect();
            assert_eq!(minibatches.len(), count);
            assert!(minibatches.iter().all(|m| m.values().all(|rows| rows.len() == size)));
            let end = &minibatches[count - 1];
            let found = ["m0", "m1"].map(|id| *end[id].last().unwrap());
            assert_eq!(found, last, "{modules:?}");
        }
    }

    #[test]
    fn shuffling_with_a_seed_is_reproducible_and_visits_every_row_once_an_epoch() {
        let run = |seed| {
            let mut rng = Generator::from_seed(seed);
            let epochs = Epochs { num_epochs: 4, shuffle: true };
            MinibatchCyclicIterator::new(epochs, &units(&[128], 32), &mut rng)
                .unwrap()
                .flat_map(|mut m| m.remove("m0").unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        for epoch in run(1).chunks(128) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..128).collect::<Vec<_>>());
        }
        assert_ne!(run(1)[..128], run(1)[128..256]);
    }

    #[test]
    fn the_module_that_takes_longest_decides() {
        let mut rng = Generator::from_seed(0);
        let epochs = Epochs { num_epochs: 3, shuffle: false };
        let mut units = units(&[10, 8], 10);
        units.insert("m1".into(), Units { count: 8, minibatch: 2 });
        let all: Vec<_> = MinibatchCyclicIterator::new(epochs, &units, &mut rng).unwrap().collect();
        assert_eq!(all.len(), 12);
        assert_eq!(all[11]["m0"], (0..10).collect::<Vec<_>>());
        assert_eq!(all[11]["m1"], [6, 7]);
    }

    #[test]
    fn modules_without_rows_are_named() {
        let mut rng = Generator::from_seed(0);
        let epochs = Epochs { num_epochs: 1, shuffle: true };
        let error = MinibatchCyclicIterator::new(epochs, &units(&[4, 0], 2), &mut rng);
        assert!(error.unwrap_err().to_string().contains("module `m1` has no rows"));
    }
}
