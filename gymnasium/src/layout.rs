//! Where the columns of a worker are in its shared memory.
//!
//! The header has 64 words of four bytes. Columns follow, each at a multiple of 64 bytes, with one row
//! per environment. The worker receives the positions as JSON and does not compute any.

use serde_json::{Value as Json, json};

use crate::error::{GymnasiumError, Result};
use crate::leaf::Leaf;

/// Words of the header; see `worker/worker.py`.
pub(crate) mod word {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    pub(crate) const CHECKSUM: usize = 2;
    pub(crate) const NUM_ENVS: usize = 3;
    pub(crate) const COMMAND: usize = 4;
    pub(crate) const FAILED: usize = 5;
    pub(crate) const SENT: usize = 6;
    pub(crate) const CAST: usize = 7;
    /// The environment to render.
    pub(crate) const RENDERED: usize = 8;
    // Each counter has a cache line of its own.
    pub(crate) const REQUEST: usize = 16;
    pub(crate) const REPLY: usize = 32;
}

pub(crate) const MAGIC: u32 = 0x7267_4D59;
pub(crate) const VERSION: u32 = 2;
const HEADER_BYTES: usize = 256;
const ALIGNMENT: usize = 64;

/// Names of infos that a worker keeps.
pub(crate) const MAX_INFOS: usize = 64;

/// A column of a leaf.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) leaf: Leaf,
    pub(crate) offset: usize,
}

impl Column {
    /// The position of a row.
    pub(crate) fn at(&self, row: usize) -> usize {
        self.offset + row * self.leaf.row_bytes()
    }
}

/// The positions of all columns, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) num_envs: usize,
    pub(crate) actions: Vec<Column>,
    pub(crate) observations: Vec<Column>,
    pub(crate) final_observations: Vec<Column>,
    pub(crate) rewards: usize,
    pub(crate) terminated: usize,
    pub(crate) truncated: usize,
    /// The outcome of the last command for each environment.
    pub(crate) outcomes: usize,
    /// Whether to reset each environment: 0 for no reset, 1 for a reset without a seed, 2 for a reset
    /// with a seed.
    pub(crate) resets: usize,
    pub(crate) seeds: usize,
    /// Whether to keep the last picture of each episode.
    pub(crate) kept_frames: usize,
    pub(crate) infos: usize,
    pub(crate) final_infos: usize,
    /// The size of the memory.
    pub(crate) size: usize,
}

/// Places columns one after the other.
struct Cursor {
    num_envs: usize,
    end: usize,
}

impl Cursor {
    fn place(&mut self, row_bytes: usize) -> Result<usize> {
        let start = self.end;
        let end = row_bytes
            .checked_mul(self.num_envs)
            .and_then(|bytes| bytes.checked_add(start))
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
            .filter(|&end| isize::try_from(end).is_ok());
        let too_large = || GymnasiumError::protocol("its spaces are too large for the memory");
        self.end = end.ok_or_else(too_large)?;
        Ok(start)
    }

    fn leaves(&mut self, leaves: &[Leaf]) -> Result<Vec<Column>> {
        let place = |leaf: &Leaf| {
            let bytes = leaf.width.saturating_mul(leaf.dtype.size());
            Ok(Column { leaf: leaf.clone(), offset: self.place(bytes)? })
        };
        leaves.iter().map(place).collect()
    }
}

impl Layout {
    /// Places the columns of `num_envs` environments.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] if they are larger than the address space.
    pub(crate) fn new(num_envs: usize, observations: &[Leaf], actions: &[Leaf]) -> Result<Self> {
        let mut next = Cursor { num_envs, end: HEADER_BYTES };
        Ok(Self {
            num_envs,
            actions: next.leaves(actions)?,
            observations: next.leaves(observations)?,
            final_observations: next.leaves(observations)?,
            rewards: next.place(8)?,
            terminated: next.place(1)?,
            truncated: next.place(1)?,
            outcomes: next.place(1)?,
            resets: next.place(1)?,
            seeds: next.place(8)?,
            kept_frames: next.place(1)?,
            infos: next.place(8 * MAX_INFOS)?,
            final_infos: next.place(8 * MAX_INFOS)?,
            size: next.end,
        })
    }

    /// Returns the layout as a worker reads it.
    pub(crate) fn to_json(&self) -> Json {
        let mut layout = self.positions();
        layout["checksum"] = self.checksum().into();
        layout
    }

    /// Returns a number that differs between layouts: FNV-1a of the positions.
    pub(crate) fn checksum(&self) -> u32 {
        let text = self.positions().to_string();
        text.bytes()
            .fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    fn positions(&self) -> Json {
        let columns = |columns: &[Column]| -> Json {
            let column = |Column { leaf, offset }: &Column| {
                let Leaf { keys, dtype, shape, .. } = leaf;
                json!({"path": keys, "dtype": dtype, "shape": shape, "offset": offset})
            };
            columns.iter().map(column).collect()
        };
        json!({
            "actions": columns(&self.actions),
            "observations": columns(&self.observations),
            "final_observations": columns(&self.final_observations),
            "rewards": self.rewards,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "outcomes": self.outcomes,
            "resets": self.resets,
            "seeds": self.seeds,
            "kept_frames": self.kept_frames,
            "infos": self.infos,
            "final_infos": self.final_infos,
            "max_infos": MAX_INFOS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::{Dtype, Storage};

    fn leaf(width: usize) -> Leaf {
        let (keys, path, start) = (vec![], vec![], vec![]);
        let (dtype, storage, shape) = (Dtype::Float32, Storage::Float, vec![width]);
        Leaf { keys, path, dtype, shape, width, storage, start }
    }

    #[test]
    fn columns_are_aligned_and_do_not_overlap() {
        let layout = Layout::new(3, &[leaf(5), leaf(1)], &[leaf(2)]).unwrap();
        let columns = [&layout.actions, &layout.observations, &layout.final_observations];
        let leaves = columns.into_iter().flatten();
        let mut spans: Vec<_> =
            leaves.map(|column| (column.offset, 3 * column.leaf.row_bytes())).collect();
        spans.extend([(layout.rewards, 24), (layout.seeds, 24), (layout.terminated, 3)]);
        spans.extend([
            (layout.kept_frames, 3),
            (layout.truncated, 3),
            (layout.outcomes, 3),
            (layout.resets, 3),
        ]);
        spans.extend([(layout.infos, 24 * MAX_INFOS), (layout.final_infos, 24 * MAX_INFOS)]);
        spans.sort_unstable();
        let mut free = HEADER_BYTES;
        for (start, bytes) in spans {
            assert!(start >= free && start % ALIGNMENT == 0, "{start} {free}");
            free = start + bytes;
        }
        assert!(free <= layout.size);
    }

    #[test]
    fn spaces_larger_than_the_address_space_are_errors() {
        assert!(Layout::new(1, &[leaf(usize::MAX / 2)], &[]).is_err());
        assert!(Layout::new(usize::MAX, &[leaf(1)], &[]).is_err());
    }

    #[test]
    fn the_checksum_tells_layouts_apart() {
        let of = |width| Layout::new(2, &[leaf(width)], &[leaf(1)]).unwrap().checksum();
        assert_eq!(of(4), of(4));
        assert_ne!(of(4), of(5));
    }
}
