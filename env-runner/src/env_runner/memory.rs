//! The recurrent states of a stateful module in the running episodes.

use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The recurrent state of every episode, one row each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// The state before the first step of an episode, one row.
    initial: Buffer,
    /// The states that the module acts from.
    pub(crate) state: Buffer,
    /// The states that the last forward pass returned. [`advance`](Self::advance) makes them current.
    pub(crate) next: Buffer,
}

impl Memory {
    /// Creates the states of a module with this initial state, for `rows` episodes.
    pub(crate) fn new(initial: Buffer, rows: usize) -> Result<Self> {
        let state = initial.gather(&vec![0; rows])?;
        Ok(Self { initial, next: state.clone(), state })
    }

    pub(crate) fn rows(&self) -> usize {
        self.state.rows()
    }

    /// Whether both have states of the same shapes.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        same_layout(&self.initial, &other.initial)
    }

    /// Replaces the initial state with that of `other`, which [`fits`](Self::fits). Running
    /// episodes keep their states.
    pub(crate) fn set_initial(&mut self, other: Self) {
        self.initial = other.initial;
    }

    pub(crate) fn advance(&mut self) {
        std::mem::swap(&mut self.state, &mut self.next);
    }

    /// Sets a row to the initial state.
    pub(crate) fn reset(&mut self, row: usize) -> Result<()> {
        Ok(self.state.copy_row(row, &self.initial, 0)?)
    }
}

/// Whether rows of one buffer can be stored in the other.
pub(crate) fn same_layout(a: &Buffer, b: &Buffer) -> bool {
    a.slice(0..0).is_ok_and(|mut empty| empty.extend_from(b, 0..0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: f32, width: usize) -> Buffer {
        Buffer::from_f32(vec![value; width], &[width]).unwrap()
    }

    #[test]
    fn only_shapes_decide_whether_a_memory_fits() {
        let memory = Memory::new(state(0.0, 2), 3).unwrap();
        assert!(memory.fits(&Memory::new(state(1.0, 2), 3).unwrap()));
        assert!(!memory.fits(&Memory::new(state(0.0, 4), 3).unwrap()));
    }
}
