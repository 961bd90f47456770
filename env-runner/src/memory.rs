//! What a stateful module remembers of the running episodes.

use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use crate::Result;

/// The state of every episode, a row each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// The state before the first step of an episode, one row.
    initial: Buffer,
    /// What the module acts from.
    pub(crate) state: Buffer,
    /// What the last pass put out; [`advance`](Self::advance) makes it the state.
    pub(crate) next: Buffer,
}

impl Memory {
    /// The memory of a module with this initial state, for so many episodes.
    pub(crate) fn new(initial: Buffer, rows: usize) -> Result<Self> {
        let state = initial.gather(&vec![0; rows])?;
        Ok(Self { initial, next: state.clone(), state })
    }

    pub(crate) fn rows(&self) -> usize {
        self.state.rows()
    }

    /// Whether the other memory is one of such a module.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.initial == other.initial
    }

    pub(crate) fn advance(&mut self) {
        std::mem::swap(&mut self.state, &mut self.next);
    }

    /// Forgets the episode of a row.
    pub(crate) fn reset(&mut self, row: usize) -> Result<()> {
        Ok(self.state.copy_row(row, &self.initial, 0)?)
    }
}
