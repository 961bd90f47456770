//! The last entries of every row.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The last `n` entries of `width` values of every row, oldest first; zero before there are any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Entry")]
pub(super) struct History<T> {
    n: usize,
    width: usize,
    #[serde(serialize_with = "T::write", deserialize_with = "T::read")]
    data: Vec<T>,
}

/// A value of a history, which survives JSON.
pub(super) trait Entry: Copy + Default {
    fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error>;

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error>;
}

impl Entry for u8 {
    fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error> {
        data.serialize(to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error> {
        Vec::deserialize(from)
    }
}

/// JSON has no infinities and no NaN: they become text.
impl Entry for f32 {
    fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(data.iter().map(|&number| match number.is_finite() {
            // Widened first: the shortest text of an `f32` may read back as a neighbor.
            true => Number::Finite(f64::from(number)),
            false => Number::Other(number.to_string()),
        }))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error> {
        let numbers = Vec::<Number>::deserialize(from)?;
        let number = |number| match number {
            Number::Finite(number) => Ok(number as Self),
            Number::Other(text) => text.parse().map_err(serde::de::Error::custom),
        };
        numbers.into_iter().map(number).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    /// `inf`, `-inf` or `NaN`.
    Other(String),
}

impl<T: Entry> History<T> {
    pub(super) fn new(n: usize, width: usize) -> Self {
        Self { n, width, data: Vec::new() }
    }

    /// Whether saved rows can replace these.
    pub(super) fn accepts(&self, saved: &Self) -> bool {
        [saved.n, saved.width] == [self.n, self.width] && saved.is_whole()
    }

    /// Whether the data is a whole number of rows.
    pub(super) fn is_whole(&self) -> bool {
        let row_len = self.n.checked_mul(self.width);
        row_len.is_some_and(|row_len| self.data.len().is_multiple_of(row_len.max(1)))
    }

    /// Returns the number of entries of a row.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Returns the number of values of a row.
    pub(super) fn row_len(&self) -> usize {
        self.n.saturating_mul(self.width)
    }

    /// Returns the values of a row, oldest first.
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.row_len()..(row + 1) * self.row_len()]
    }

    /// Restores the values of a row.
    pub(super) fn restore(&mut self, row: usize, values: &[T]) {
        let start = row * self.row_len();
        self.data[start..start + values.len()].copy_from_slice(values);
    }

    /// Returns the entries of a row, oldest first.
    pub(super) fn entries(&self, row: usize) -> impl Iterator<Item = &[T]> {
        self.row(row).chunks_exact(self.width.max(1))
    }

    /// Makes room for `rows` rows. If the number changes, all rows are forgotten.
    pub(super) fn set_rows(&mut self, rows: usize) {
        if self.data.len() != rows * self.row_len() {
            self.forget_all(rows);
        }
    }

    /// Forgets all rows.
    pub(super) fn forget_all(&mut self, rows: usize) {
        self.data.clear();
        self.data.resize(rows * self.row_len(), T::default());
    }

    /// Forgets a row.
    pub(super) fn forget(&mut self, row: usize) {
        let start = row * self.row_len();
        let end = start + self.row_len();
        self.data[start..end].fill(T::default());
    }

    /// Drops the oldest entry of a row and returns the place of the newest, to be overwritten.
    pub(super) fn push(&mut self, row: usize) -> &mut [T] {
        let (start, len) = (row * self.row_len(), self.row_len());
        let entries = &mut self.data[start..start + len];
        entries.copy_within(self.width.min(len).., 0);
        &mut entries[len - self.width.min(len)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_and_nan_survive_json() {
        let mut history = History::<f32>::new(5, 1);
        history.set_rows(1);
        for x in [0.1, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0] {
            history.push(0).fill(x);
        }
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json["data"][1], "inf");
        let restored: History<f32> = serde_json::from_value(json).unwrap();
        let bits = |history: &History<f32>| history.data.iter().map(|x| x.to_bits()).collect();
        let (found, expected): (Vec<_>, Vec<_>) = (bits(&restored), bits(&history));
        assert_eq!(found, expected);
        let damaged = serde_json::json!({"n": 1, "width": 1, "data": ["much"]});
        assert!(serde_json::from_value::<History<f32>>(damaged).is_err());
    }
}
