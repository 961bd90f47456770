//! One series of values and its reduction.

mod running;
#[cfg(test)]
mod tests;
mod window;

use std::{collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use self::running::Running;
use crate::error::{MetricsError, Result};
use crate::exact;
use crate::reducer::Reducer;

/// A series of values under one [`Reducer`], in bounded memory.
///
/// The serialized form holds every number exactly, infinities included, so that a resumed run
/// reports what an uninterrupted one would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Stats {
    reducer: Reducer,
    state: State,
    /// The values since the last reduction that were NaN.
    #[serde(skip_serializing_if = "is_zero")]
    nan_count: u64,
    #[serde(skip)]
    pub(crate) kept: Kept,
}

/// Whether a logger has a copy of the series to return to. Not part of the value of the series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept(pub(crate) bool);

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The memory of a series. The reducer decides which of the two it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// No window: a summary of constant size.
    Running(Running),
    /// The latest values, oldest first.
    Window(#[serde(with = "exact::window")] VecDeque<f64>),
}

impl Stats {
    /// Creates an empty series.
    ///
    /// # Errors
    /// [`MetricsError::InvalidReducer`] if a setting of `reducer` is out of its range.
    pub fn new(reducer: Reducer) -> Result<Self> {
        Ok(Self::empty(reducer.validate()?))
    }

    fn empty(reducer: Reducer) -> Self {
        let state = match reducer.window() {
            None => State::Running(Running::default()),
            Some(_) => State::Window(VecDeque::new()),
        };
        Self { reducer, state, nan_count: 0, kept: Kept::default() }
    }

    /// Returns the reducer of this series.
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.reducer
    }

    /// Adds a value.
    ///
    /// NaN does not enter the reduction, as in RLlib and in NumPy's `nanmean`; it is
    /// [counted](Self::nan_count) instead. An infinity enters it: an average that includes one stays
    /// non-finite until the series is cleared or the window has moved on.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            self.nan_count = self.nan_count.saturating_add(1);
            return;
        }
        let capacity = self.capacity();
        match &mut self.state {
            State::Running(running) => running.append(self.reducer, &Running::of(value)),
            State::Window(values) => window::extend(values, capacity, [value]),
        }
    }

    /// Returns how many values since the last reduction were NaN.
    #[must_use]
    pub fn nan_count(&self) -> u64 {
        self.nan_count
    }

    /// Returns the current reduction; `None` before the first value, except that a sum of nothing is 0.
    #[must_use]
    pub fn peek(&self) -> Option<f64> {
        match (&self.state, self.reducer) {
            (State::Running(running), reducer) => running.value(reducer),
            (State::Window(values), Reducer::Percentile { rank, .. }) => {
                window::percentile(values, rank)
            }
            (State::Window(values), reducer) => Running::over(values, reducer).value(reducer),
        }
    }

    /// Ends an iteration: returns what [`peek`](Self::peek) returns, then clears the count of NaN, and
    /// the series if its reducer describes one iteration.
    pub fn reduce(&mut self) -> Option<f64> {
        let value = self.peek();
        self.nan_count = 0;
        if self.reducer.clears_on_reduce() {
            *self = Self::empty(self.reducer);
        }
        value
    }

    /// Moves the contents out and leaves an empty series.
    #[must_use]
    pub fn take(&mut self) -> Self {
        mem::replace(self, Self::empty(self.reducer))
    }

    /// Appends the values of `parts`, which were recorded in parallel (one part per environment runner
    /// or learner).
    ///
    /// Averages are weighted by the number of values in each part. RLlib takes the plain mean of
    /// the averages instead, which favors runners with few episodes. A window takes the latest
    /// values of the parts in turns, so that no part is pushed out by another.
    ///
    /// # Errors
    /// [`MetricsError::ReducerMismatch`] if a part has another reducer; nothing is merged then.
    pub fn merge(&mut self, parts: &[Self]) -> Result<()> {
        if let Some(other) = parts.iter().find(|part| part.reducer != self.reducer) {
            return Err(MetricsError::ReducerMismatch {
                expected: self.reducer,
                found: other.reducer,
            });
        }
        self.merge_all(parts.iter());
        Ok(())
    }

    /// As [`merge`](Self::merge), for parts that have the reducer of this series.
    pub(crate) fn merge_all<'a>(&mut self, parts: impl Iterator<Item = &'a Self> + Clone) {
        let nan_count = parts.clone().map(|part| part.nan_count);
        self.nan_count = nan_count.fold(self.nan_count, u64::saturating_add);
        let capacity = self.capacity();
        match &mut self.state {
            State::Running(running) => {
                let parts = parts.filter_map(Self::running);
                running.append(self.reducer, &Running::side_by_side(self.reducer, parts));
            }
            State::Window(values) => {
                let parts: Vec<_> = parts.filter_map(Self::window).collect();
                window::extend(values, capacity, window::in_turns(&parts, capacity));
            }
        }
    }

    /// Whether the series has nothing to report. A sum always has: a sum of nothing is 0.
    pub(crate) fn is_empty(&self) -> bool {
        let has_values = match (&self.state, self.reducer) {
            (_, Reducer::Sum { .. } | Reducer::LifetimeSum) => true,
            (State::Running(running), _) => !running.is_empty(),
            (State::Window(values), _) => !values.is_empty(),
        };
        !has_values && self.nan_count == 0
    }

    /// Returns the size of the window; 0 without one.
    fn capacity(&self) -> usize {
        self.reducer.window().unwrap_or_default()
    }

    fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Running(running) => Some(running),
            State::Window(_) => None,
        }
    }

    fn window(&self) -> Option<&VecDeque<f64>> {
        match &self.state {
            State::Window(values) => Some(values),
            State::Running(_) => None,
        }
    }
}

/// The fields of [`Stats`] before they have been checked.
#[derive(Deserialize)]
struct Saved {
    reducer: Reducer,
    state: State,
    #[serde(default)]
    nan_count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl TryFrom<Saved> for Stats {
    type Error = MetricsError;

    fn try_from(Saved { reducer, state, nan_count }: Saved) -> Result<Self> {
        let fits = match (&state, reducer.validate()?.window()) {
            (State::Running(_), None) => true,
            (State::Window(values), Some(window)) => values.len() <= window,
            _ => false,
        };
        if fits {
            Ok(Self { reducer, state, nan_count, kept: Kept::default() })
        } else {
            Err(MetricsError::InvalidState { reducer })
        }
    }
}
