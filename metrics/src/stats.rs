//! One series of values and its reduction.

mod running;
#[cfg(test)]
mod tests;
mod window;

use std::{collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use self::running::Running;
use crate::{MetricsError, Reducer, Result, exact};

/// A series of values under one [`Reducer`], in bounded memory.
///
/// The serialised form holds every number exactly, infinities included, so that a resumed run
/// reports what an uninterrupted one would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Stats {
    reducer: Reducer,
    state: State,
}

/// What a series remembers. Which of the two follows from the reducer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// No window: a summary of constant size.
    Running(Running),
    /// The latest values, oldest first.
    Window(#[serde(with = "exact::window")] VecDeque<f64>),
}

impl Stats {
    /// An empty series.
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
        Self { reducer, state }
    }

    /// How this series is reduced.
    #[must_use]
    pub fn reducer(&self) -> Reducer {
        self.reducer
    }

    /// Adds a value. NaN is ignored; an infinity counts, and an average which has seen one stays
    /// non-finite until it is cleared or the window has moved on.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let capacity = self.capacity();
        match &mut self.state {
            State::Running(running) => running.append(self.reducer, &Running::of(value)),
            State::Window(values) => window::extend(values, capacity, [value]),
        }
    }

    /// The current reduction; `None` before the first value, except that a sum of nothing is 0.
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

    /// Ends an iteration: returns what [`peek`](Self::peek) returns, then clears the series if its
    /// reducer describes one iteration.
    pub fn reduce(&mut self) -> Option<f64> {
        let value = self.peek();
        if self.reducer.clears_on_reduce() {
            *self = Self::empty(self.reducer);
        }
        value
    }

    /// Moves everything out and leaves an empty series.
    #[must_use]
    pub fn take(&mut self) -> Self {
        mem::replace(self, Self::empty(self.reducer))
    }

    /// Adds what `parts` recorded side by side (one per environment runner or learner) after what
    /// this series already holds.
    ///
    /// Averages are weighted by the number of values in each part. RLlib takes the plain mean of
    /// the averages instead, which favours runners with few episodes. A window takes the latest
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
        let capacity = self.capacity();
        match &mut self.state {
            State::Running(running) => {
                let parts = parts.iter().filter_map(Self::running);
                running.append(self.reducer, &Running::side_by_side(self.reducer, parts));
            }
            State::Window(values) => {
                let parts: Vec<_> = parts.iter().filter_map(Self::window).collect();
                window::extend(values, capacity, window::in_turns(&parts, capacity));
            }
        }
        Ok(())
    }

    /// How many values the window holds; 0 without one.
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
}

impl TryFrom<Saved> for Stats {
    type Error = MetricsError;

    fn try_from(Saved { reducer, state }: Saved) -> Result<Self> {
        let fits = match (&state, reducer.validate()?.window()) {
            (State::Running(_), None) => true,
            (State::Window(values), Some(window)) => values.len() <= window,
            _ => false,
        };
        if fits { Ok(Self { reducer, state }) } else { Err(MetricsError::InvalidState { reducer }) }
    }
}
