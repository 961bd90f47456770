//! From an index to rows, in a column that begins with a look-back.

use std::iter::successors;

use super::EpisodeError;
use super::index::{Index, Items, Slice};

/// The size of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Rows, look-back included.
    pub(super) rows: usize,
    /// Rows of look-back.
    pub(super) lookback: usize,
}

/// Returns the rows that `index` means; `None` for a place outside the column that is to be filled.
///
/// With `fill`, every place has an answer. Without it, an index outside the column is an error, and
/// a slice is cut to the column.
pub(super) fn resolve(
    index: &Index,
    extent: Extent,
    fill: bool,
) -> Result<Vec<Option<usize>>, EpisodeError> {
    let Index { items, neg_index_as_lookback } = index;
    let place = |index| extent.place(index, *neg_index_as_lookback);
    match items {
        Items::List(indices) => indices
            .iter()
            .map(|&index| match extent.row(place(index)) {
                None if !fill => Err(extent.out_of_range(index)),
                row => Ok(row),
            })
            .collect(),
        Items::Slice(slice) => {
            let places = extent.places(*slice, place, fill)?;
            Ok(places.map(|place| extent.row(place)).collect())
        }
    }
}

/// A *place* is a row number that may lie outside the column.
impl Extent {
    /// Returns the place that a single index means.
    fn place(self, index: isize, neg_index_as_lookback: bool) -> isize {
        let from_end = index < 0 && !neg_index_as_lookback;
        signed(if from_end { self.rows } else { self.lookback }).saturating_add(index)
    }

    /// Returns the row at a place, where there is one.
    fn row(self, place: isize) -> Option<usize> {
        usize::try_from(place).ok().filter(|&row| row < self.rows)
    }

    /// Returns the places that a slice means, given what its bounds mean.
    fn places(
        self,
        slice: Slice,
        place: impl Fn(isize) -> isize,
        fill: bool,
    ) -> Result<impl Iterator<Item = isize>, EpisodeError> {
        let step = slice.step;
        if step == 0 {
            return Err(EpisodeError::ZeroStep);
        }
        let forward = step > 0;
        let (rows, lookback) = (signed(self.rows), signed(self.lookback));
        // What comes after the look-back, in the direction of the slice.
        let (first, end) = if forward { (lookback, rows) } else { (rows - 1, lookback - 1) };
        let mut start = slice.start.map_or(first, &place);
        let mut stop = slice.stop.map_or(end, &place);
        if !fill {
            // Cut before steps are counted, as in Python: `[-9::2]` begins at the first item.
            let (low, high) = if forward { (0, rows) } else { (-1, rows - 1) };
            start = start.clamp(low, high);
            stop = stop.clamp(low, high);
        }
        Ok(successors(Some(start), move |place| place.checked_add(step))
            .take_while(move |&place| if forward { place < stop } else { place > stop }))
    }

    fn out_of_range(self, index: isize) -> EpisodeError {
        let Self { rows, lookback } = self;
        EpisodeError::IndexOutOfRange { index, len: rows.saturating_sub(lookback), lookback }
    }
}

/// Converts a count. No vector is long enough for the conversion to saturate.
fn signed(count: usize) -> isize {
    isize::try_from(count).unwrap_or(isize::MAX)
}
