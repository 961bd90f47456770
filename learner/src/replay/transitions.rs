//! Transitions of several steps, drawn from stored rows.

use std::ops::RangeInclusive;

use rekindle_core::{Columns, Generator, HostBatch};

use super::slots::Slot;
use super::storage::{Follows, Storage};
use crate::error::Result;

/// What a loss asks of the transitions that it learns from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TransitionSpec {
    /// Discount factor per step.
    pub gamma: f64,
    /// Steps of a transition: fewer where the episode ends before, or its next step is not stored yet. A
    /// number is drawn from the range for each transition.
    pub n_step: RangeInclusive<usize>,
    /// Steps before a sequence of a module with memory, from which its state at the start of the sequence is
    /// computed anew.
    pub burn_in: usize,
}

impl TransitionSpec {
    /// Creates the spec of one-step transitions.
    #[must_use]
    pub fn new(gamma: f64) -> Self {
        Self { gamma, n_step: 1..=1, burn_in: 0 }
    }

    /// Sets the number of steps.
    #[must_use]
    pub fn n_step(mut self, n_step: RangeInclusive<usize>) -> Self {
        self.n_step = n_step;
        self
    }

    /// Sets the steps before a sequence. Defaults to 0: sequences begin with the recurrent state that was stored.
    #[must_use]
    pub fn burn_in(mut self, burn_in: usize) -> Self {
        self.burn_in = burn_in;
        self
    }

    /// Draws the number of steps of a transition.
    pub(super) fn draw_steps(&self, rng: &mut Generator) -> usize {
        let (low, high) = (*self.n_step.start(), *self.n_step.end());
        match low < high {
            true => rng.integers(low as i64, high as i64 + 1) as usize,
            false => low,
        }
    }
}

/// Rewards of several steps and what follows them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transition {
    /// The discounted sum of the rewards.
    pub(super) reward: f64,
    /// The weight of the value that follows: `γ^steps`, or 0 if the episode was terminated.
    pub(super) discount: f64,
    /// The row of the last step.
    pub(super) last: usize,
    /// The row of the step after it, if the episode goes on and the step is stored.
    pub(super) next: Option<usize>,
    /// The number of steps.
    pub(super) steps: usize,
}

impl Storage {
    /// Follows the steps from a row, at most `n`.
    pub(super) fn transition(&self, first: usize, n: usize, gamma: f64) -> Transition {
        let (mut reward, mut discount, mut last, mut steps) = (0.0, 1.0, first, 0);
        loop {
            let (chunk, at) = self.at(last);
            let stored = self.chunks.get(chunk);
            let stored = stored.and_then(|c| Some((*c.rewards.get(at)?, *c.follows.get(at)?)));
            let (of_step, follows) = stored.unwrap_or((0.0, Follows::Absent));
            reward += discount * f64::from(of_step);
            discount *= gamma;
            steps += 1;
            let next = match follows {
                Follows::Step => self.successor(last),
                _ => None,
            };
            match next {
                Some(next) if steps < n => last = next,
                _ => {
                    if follows == Follows::Terminated {
                        discount = 0.0;
                    }
                    return Transition { reward, discount, last, next, steps };
                }
            }
        }
    }

    /// Gathers the transitions that begin in some rows.
    ///
    /// # Errors
    /// If a row is not stored.
    pub(super) fn gather(
        &self,
        rows: &[usize],
        spec: &TransitionSpec,
        rng: &mut Generator,
    ) -> Result<HostBatch> {
        let mut rewards = Vec::with_capacity(rows.len());
        let mut discounts = Vec::with_capacity(rows.len());
        let mut after = Vec::with_capacity(rows.len());
        for &row in rows {
            let n = spec.draw_steps(rng);
            let transition = self.transition(row, n, spec.gamma);
            rewards.push(transition.reward as f32);
            discounts.push(transition.discount as f32);
            after.push(self.after(transition.last, transition.next));
        }
        let slots: Vec<Slot<'_>> = rows.iter().map(|row| Slot::Row(*row)).collect();
        let located = self.locate(rows.iter().copied());
        let mut batch = HostBatch::new();
        for (index, name) in self.columns.keys().enumerate() {
            if index == self.obs {
                batch.insert(Columns::NEXT_OBS, self.observations(&after)?)?;
                batch.insert(Columns::OBS, self.observations(&slots)?)?;
            } else {
                batch.insert(name.clone(), self.column(index, &located)?)?;
            }
        }
        batch.insert_f32(Columns::REWARDS, rewards)?;
        batch.insert_f32(Columns::DISCOUNTS, discounts)?;
        Ok(batch)
    }
}
