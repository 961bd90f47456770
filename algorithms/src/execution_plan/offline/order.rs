//! The order in which the parts of recorded data are read.

use rekindle_core::rng::{Purpose, stream};
use rekindle_learner::ModuleRollouts;
use rekindle_offline::{OfflineSource, Prefetch};
use serde::{Deserialize, Serialize};

use super::invalid_state;
use super::rollouts::Completion;
use crate::Result;

/// A position in passes over all parts, each in its own random order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Order {
    /// The number of the pass, counted from 0.
    pass: u64,
    /// The next part, counted in the order of the pass.
    next: usize,
    /// The order of the pass. Seed and number of the pass determine it.
    #[serde(skip)]
    parts: Vec<usize>,
}

/// Episodes that were drawn.
#[derive(Debug, Default)]
pub(in super::super) struct Drawn {
    pub(in super::super) rollouts: ModuleRollouts,
    /// Steps of all modules.
    pub(in super::super) steps: usize,
    /// Steps of the module with the most.
    pub(in super::super) largest: usize,
}

impl Order {
    /// Returns the next part, and whether it is the first of a pass.
    pub(in super::super) fn next(
        &mut self,
        source: &dyn OfflineSource,
        seed: u64,
    ) -> Result<usize> {
        let count = source.num_parts();
        if count == 0 {
            return Err(invalid_state("the data have no episodes; record some first").into());
        }
        if self.next >= count {
            (self.pass, self.next) = (self.pass + 1, 0);
            self.parts.clear();
        }
        if self.parts.len() != count {
            self.parts = stream(seed, 0, self.pass, Purpose::Offline).permutation(count);
        }
        let part = self.parts[self.next];
        self.next += 1;
        Ok(part)
    }

    /// Returns the next parts with at least `steps` steps together, without moving on. Parts of one pass follow those
    /// of another.
    pub(in super::super) fn upcoming(
        &self,
        source: &dyn OfflineSource,
        seed: u64,
        steps: usize,
    ) -> Vec<usize> {
        let (mut order, mut parts, mut found) = (self.clone(), Vec::new(), 0);
        while found < steps && parts.len() < source.num_parts() {
            let Ok(part) = order.next(source, seed) else { break };
            found += source.steps_of(part);
            parts.push(part);
        }
        parts
    }

    /// Returns the number of the running pass.
    pub(in super::super) fn pass(&self) -> u64 {
        self.pass
    }

    /// Reads parts until a module has `wanted` steps.
    pub(in super::super) fn draw(
        &mut self,
        data: &mut Prefetch,
        seed: u64,
        wanted: usize,
        completion: &Completion,
    ) -> Result<Drawn> {
        let source = data.source().clone();
        let mut drawn = Drawn::default();
        let begun = self.pass;
        while drawn.largest < wanted {
            let part = self.next(&*source, seed)?;
            if self.pass > begun + 1 && drawn.steps == 0 {
                return Err(invalid_state("none of the modules that learn has steps in the data; name these modules in the data").into());
            }
            for (id, rollouts) in completion.complete(data.read(part)?)? {
                let all = drawn.rollouts.entry(id).or_default();
                drawn.steps += rollouts.iter().map(|rollout| rollout.env_steps()).sum::<usize>();
                all.extend(rollouts);
            }
            let of_module = drawn.rollouts.values();
            let steps = of_module.map(|all| all.iter().map(|rollout| rollout.env_steps()).sum());
            drawn.largest = steps.max().unwrap_or(0);
        }
        Ok(drawn)
    }
}
