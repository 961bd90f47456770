//! Epochs of shuffled minibatches over modules of different size.

use std::collections::BTreeMap;

use rekindle_core::{Generator, ModuleId};

use crate::{LearnerError, Result};

/// How an update goes through its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// Passes over the rows of the largest module.
    pub num_epochs: usize,
    /// Rows of each module in each minibatch; `None` takes all rows at once.
    pub minibatch_size: Option<usize>,
    /// Whether the rows are in a new random order at each pass.
    pub shuffle: bool,
}

/// Row indices of minibatches; RLlib's `MiniBatchCyclicIterator`.
///
/// Each minibatch has exactly `minibatch_size` rows of every module. The largest module is passed
/// over `num_epochs` times; smaller ones start again when they are through, in a new order if
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
    /// An iterator over modules with the given numbers of rows.
    ///
    /// # Errors
    /// [`LearnerError::EmptyBatch`] for a module without rows, [`LearnerError::InvalidConfig`] for
    /// empty minibatches.
    pub fn new(
        epochs: Epochs,
        rows: &BTreeMap<ModuleId, usize>,
        rng: &'a mut Generator,
    ) -> Result<Self> {
        if let Some((id, _)) = rows.iter().find(|(_, rows)| **rows == 0) {
            return Err(LearnerError::EmptyBatch(id.clone()));
        }
        if epochs.minibatch_size == Some(0) {
            return Err(LearnerError::InvalidConfig {
                field: "minibatch_size",
                value: "0".into(),
                constraint: "a minibatch has at least one row".into(),
            });
        }
        let largest = rows.values().copied().max().unwrap_or(0);
        let left = match epochs.minibatch_size {
            Some(size) => (epochs.num_epochs * largest).div_ceil(size),
            None => epochs.num_epochs,
        };
        let cycle = |rows: usize, rng: &mut Generator| {
            let order = if epochs.shuffle { rng.permutation(rows) } else { (0..rows).collect() };
            Cycle { order, next: 0, minibatch: epochs.minibatch_size.unwrap_or(rows) }
        };
        let modules = rows.iter().map(|(id, &rows)| (id.clone(), cycle(rows, rng))).collect();
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

    fn rows(sizes: &[usize]) -> BTreeMap<ModuleId, usize> {
        sizes.iter().enumerate().map(|(i, n)| (format!("m{i}"), *n)).collect()
    }

    fn epochs(num_epochs: usize, minibatch_size: usize, shuffle: bool) -> Epochs {
        Epochs { num_epochs, minibatch_size: Some(minibatch_size), shuffle }
    }

    #[test]
    fn a52_numbers_of_minibatches_and_last_rows_equal_rllibs() {
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
            let epochs = epochs(num_epochs, size, false);
            let iterator = MinibatchCyclicIterator::new(epochs, &rows(&modules), &mut rng).unwrap();
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
    fn a55_shuffling_with_a_seed_is_reproducible_and_visits_every_row_once_an_epoch() {
        let run = |seed| {
            let mut rng = Generator::from_seed(seed);
            MinibatchCyclicIterator::new(epochs(4, 32, true), &rows(&[128]), &mut rng)
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
    fn without_a_minibatch_size_every_epoch_is_one_batch() {
        let mut rng = Generator::from_seed(0);
        let epochs = Epochs { num_epochs: 3, minibatch_size: None, shuffle: false };
        let sizes: Vec<_> =
            MinibatchCyclicIterator::new(epochs, &rows(&[10]), &mut rng).unwrap().collect();
        assert_eq!(sizes.len(), 3);
        assert_eq!(sizes[2]["m0"], (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn modules_without_rows_are_named() {
        let mut rng = Generator::from_seed(0);
        let error = MinibatchCyclicIterator::new(epochs(1, 2, true), &rows(&[4, 0]), &mut rng);
        assert!(error.unwrap_err().to_string().contains("module `m1` has no rows"));
    }
}
