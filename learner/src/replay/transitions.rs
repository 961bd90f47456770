//! Transitions of several steps, drawn from stored rows.

use std::ops::RangeInclusive;

use rekindle_core::{Columns, Generator, HostBatch};
use rekindle_env::Buffer;

use super::storage::{After, Follows, Storage};
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
}

impl TransitionSpec {
    /// Creates the spec of one-step transitions.
    #[must_use]
    pub fn new(gamma: f64) -> Self {
        Self { gamma, n_step: 1..=1 }
    }

    /// Sets the number of steps.
    #[must_use]
    pub fn n_step(mut self, n_step: RangeInclusive<usize>) -> Self {
        self.n_step = n_step;
        self
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
}

impl Storage {
    /// Follows the steps from a row, at most `n`.
    pub(super) fn transition(&self, first: usize, n: usize, gamma: f64) -> Transition {
        let (mut reward, mut discount, mut last) = (0.0, 1.0, first);
        for step in 1.. {
            reward += discount * f64::from(self.reward(last));
            discount *= gamma;
            match self.follows(last) {
                Follows::Terminated => return Transition { reward, discount: 0.0, last },
                Follows::Step if step < n => match self.successor(last) {
                    Some(next) => last = next,
                    None => break,
                },
                _ => break,
            }
        }
        Transition { reward, discount, last }
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
        let (low, high) = (*spec.n_step.start(), *spec.n_step.end());
        let (mut rewards, mut discounts) = (Vec::new(), Vec::new());
        let mut after = Vec::with_capacity(rows.len());
        rewards.reserve_exact(rows.len());
        discounts.reserve_exact(rows.len());
        for &row in rows {
            let n = match low < high {
                true => rng.integers(low as i64, high as i64 + 1) as usize,
                false => low,
            };
            let transition = self.transition(row, n, spec.gamma);
            rewards.push(transition.reward as f32);
            discounts.push(transition.discount as f32);
            after.push(self.after(transition.last));
        }
        let mut batch = HostBatch::new();
        for (name, column) in self.columns() {
            if name == Columns::OBS {
                batch.insert(Columns::NEXT_OBS, next_observations(column, rows, &after)?)?;
            }
            batch.insert(name.clone(), column.gather(rows)?)?;
        }
        batch.insert_f32(Columns::REWARDS, rewards)?;
        batch.insert_f32(Columns::DISCOUNTS, discounts)?;
        Ok(batch)
    }
}

/// Gathers the observations after rows. Where there is none, the row's own one takes its place.
fn next_observations(
    observations: &Buffer,
    rows: &[usize],
    after: &[Option<After<'_>>],
) -> Result<Buffer> {
    let stored = rows.iter().zip(after).map(|(&row, after)| match after {
        Some(After::Row(next)) => *next,
        _ => row,
    });
    let mut next = observations.gather(&stored.collect::<Vec<_>>())?;
    for (index, after) in after.iter().enumerate() {
        if let Some(After::Other(buffer, row)) = after {
            next.copy_row(index, buffer, *row)?;
        }
    }
    Ok(next)
}
