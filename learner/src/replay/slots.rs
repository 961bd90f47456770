//! Rows of drawn columns: where each comes from.

use rekindle_env::Buffer;

use super::storage::Storage;
use crate::error::Result;

/// Where a row of a drawn column comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slot<'a> {
    /// A row of the storage.
    Row(usize),
    /// The observation after an episode: a row of the final observations of a block, after a row of the storage.
    Final(usize, &'a Buffer, usize),
    /// The observation after a row of the storage, the last of its stream, whose next step is not stored yet: one
    /// row.
    Open(usize, &'a Buffer),
}

impl Slot<'_> {
    /// Returns the row of the storage that the slot is, or comes after.
    pub(super) fn row(self) -> usize {
        match self {
            Self::Row(row) | Self::Final(row, ..) | Self::Open(row, _) => row,
        }
    }
}

impl Storage {
    /// Gathers the observations of slots.
    ///
    /// # Errors
    /// If a row is not stored.
    pub(super) fn observations(&self, slots: &[Slot<'_>]) -> Result<Buffer> {
        let layout = self.layout(self.obs)?;
        let mut gathered = match self.frames {
            Some(frames) => self.stacked(frames, layout, slots),
            None => {
                let rows = self.locate(slots.iter().map(|slot| slot.row()));
                let mut gathered = self.column(self.obs, &rows)?;
                for (index, slot) in slots.iter().enumerate() {
                    if let Slot::Final(_, finals, row) = slot {
                        gathered.copy_row(index, finals, *row)?;
                    }
                }
                gathered
            }
        };
        for (index, slot) in slots.iter().enumerate() {
            if let Slot::Open(_, observation) = slot {
                gathered.copy_row(index, observation, 0)?;
            }
        }
        Ok(gathered)
    }

    /// Returns the chunks of rows, and the rows in them.
    pub(super) fn locate(&self, rows: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
        rows.map(|row| self.at(row)).collect()
    }

    /// Gathers a column of located rows.
    ///
    /// # Errors
    /// If a row is not stored.
    pub(super) fn column(&self, index: usize, rows: &[(usize, usize)]) -> Result<Buffer> {
        let columns = self.chunks.iter().filter_map(|chunk| chunk.columns.get(index));
        let columns: Vec<&Buffer> = columns.collect();
        Ok(self.layout(index)?.gather_from(&columns, rows)?)
    }
}
