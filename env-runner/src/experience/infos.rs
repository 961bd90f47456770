//! Numbers that environments report with their steps.

use std::collections::BTreeMap;

use rekindle_env::{Buffer, Info};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Infos of steps by name, one number per row; NaN for rows whose step did not report the number.
///
/// Columns may be shorter than there are rows: what is missing at the end is NaN. Environments without
/// infos therefore cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Infos(BTreeMap<String, Vec<f32>>);

impl Infos {
    /// Adds the info of a row, which comes after all rows with an info.
    pub(crate) fn push(&mut self, row: usize, info: Info) {
        for (name, number) in info {
            let column = self.0.entry(name).or_default();
            column.resize(row, f32::NAN);
            column.push(number as f32);
        }
    }

    /// Adds the infos of rows from `row` on.
    pub(crate) fn extend(&mut self, row: usize, other: Self) {
        for (name, numbers) in other.0 {
            let column = self.0.entry(name).or_default();
            column.resize(row, f32::NAN);
            column.extend(numbers);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the numbers of all rows by name, as a Dict; `None` if no step reported any.
    ///
    /// # Errors
    /// None in practice: all columns have one number per row.
    pub(crate) fn into_column(self, rows: usize) -> Result<Option<Buffer>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let columns = self.0.into_iter().map(|(name, mut column)| {
            column.resize(rows, f32::NAN);
            Ok((name, Buffer::from_f32(column, &[])?))
        });
        Ok(Some(Buffer::from_dict(columns.collect::<Result<Vec<_>>>()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_did_not_report_a_number_have_nan() {
        let info = |name: &str, number: f64| Info::from([(name.to_owned(), number)]);
        let (mut first, mut second) = (Infos::default(), Infos::default());
        first.push(1, info("a", 1.0));
        first.push(3, info("a", 3.0));
        second.push(0, info("b", 4.0));
        first.extend(4, second);
        let column = first.into_column(6).unwrap().unwrap();
        let read = |name: &str| column.get(name).unwrap().as_f32().unwrap().to_vec();
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        let nan = f32::NAN;
        assert_eq!(bits(&read("a")), bits(&[nan, 1.0, nan, 3.0, nan, nan]));
        assert_eq!(bits(&read("b")), bits(&[nan, nan, nan, nan, 4.0, nan]));
        assert!(Infos::default().into_column(3).unwrap().is_none());
    }
}
