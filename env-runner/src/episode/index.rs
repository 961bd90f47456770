//! Which items of a column are meant.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use super::EpisodeError;

/// Items of a column: one, several, or a [`Slice`].
///
/// Index 0 is the first item after the look-back. A negative index counts from the end and may
/// reach into the look-back; after [`neg_index_as_lookback`](Self::neg_index_as_lookback) it counts
/// from the start instead, so that -1 is the last item of the look-back.
///
/// ```
/// use rekindle_env_runner::episode::{Index, Slice};
///
/// let last = Index::from(-1);
/// let picked = Index::from([0, 2, -1]);
/// let all_but_last = Index::from(..-1);
/// let every_second = Index::from(Slice::from(..).step_by(2));
/// let last_of_lookback = Index::from(-1).neg_index_as_lookback();
/// # assert_ne!(last, last_of_lookback);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub(super) items: Items,
    pub(super) neg_index_as_lookback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Items {
    List(Vec<isize>),
    Slice(Slice),
}

impl Index {
    /// Lets negative indices count from the start, into the look-back.
    #[must_use]
    pub fn neg_index_as_lookback(mut self) -> Self {
        self.neg_index_as_lookback = true;
        self
    }
}

impl From<Items> for Index {
    fn from(items: Items) -> Self {
        Self { items, neg_index_as_lookback: false }
    }
}

impl From<isize> for Index {
    fn from(index: isize) -> Self {
        Items::List(vec![index]).into()
    }
}

impl From<Vec<isize>> for Index {
    fn from(indices: Vec<isize>) -> Self {
        Items::List(indices).into()
    }
}

impl<const N: usize> From<[isize; N]> for Index {
    fn from(indices: [isize; N]) -> Self {
        Items::List(indices.to_vec()).into()
    }
}

impl From<Slice> for Index {
    fn from(slice: Slice) -> Self {
        Items::Slice(slice).into()
    }
}

/// Python's `slice(start, stop, step)`: the items from `start` up to, but not including, `stop`.
///
/// Without a start it begins, and without a stop it ends, at the ends of what lies after the
/// look-back. Ranges convert into slices; [`new`](Self::new) also says what reads backwards as a
/// range, such as Python's `1:-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub(super) start: Option<isize>,
    pub(super) stop: Option<isize>,
    pub(super) step: isize,
}

impl Slice {
    /// Returns the items from `start` up to, but not including, `stop`.
    #[must_use]
    pub fn new(start: Option<isize>, stop: Option<isize>) -> Self {
        Self { start, stop, step: 1 }
    }

    /// Sets the distance from one item to the next; backwards where it is negative.
    #[must_use]
    pub fn step_by(self, step: isize) -> Self {
        Self { step, ..self }
    }

    /// Returns the steps that the index selects in an episode of `len` steps.
    pub(super) fn consecutive(self, len: usize) -> Result<Range<usize>, EpisodeError> {
        if self.step != 1 {
            return Err(EpisodeError::SliceStep { step: self.step });
        }
        let place = |bound: isize| match usize::try_from(bound) {
            Ok(bound) => bound.min(len),
            Err(_) => len.saturating_sub(bound.unsigned_abs()),
        };
        let start = self.start.map_or(0, place);
        Ok(start..self.stop.map_or(len, place).max(start))
    }
}

macro_rules! from_ranges {
    ($($range:ty: |$from:pat_param| ($start:expr, $stop:expr);)*) => {$(
        impl From<$range> for Slice {
            fn from($from: $range) -> Self {
                Self::new($start, $stop)
            }
        }

        impl From<$range> for Index {
            fn from(range: $range) -> Self {
                Slice::from(range).into()
            }
        }
    )*};
}

from_ranges! {
    Range<isize>: |Range { start, end }| (Some(start), Some(end));
    RangeFrom<isize>: |RangeFrom { start }| (Some(start), None);
    RangeTo<isize>: |RangeTo { end }| (None, Some(end));
    RangeFull: |RangeFull| (None, None);
}
