//! The share that one of several learners has in a minibatch.

use std::ops::Range;

/// The units of a minibatch that one of several learners computes, and their weight in its mean.
///
/// A learner without units of its own computes the first one of the minibatch, with weight 0. So all learners
/// take the same steps, whatever the size of the minibatch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    /// Positions of the units in the minibatch.
    pub(crate) units: Range<usize>,
    /// Units of the whole minibatch.
    pub(crate) of: usize,
    /// Rows here that count, divided by those of the whole minibatch; 0 without units.
    pub(crate) weight: f64,
}

impl Share {
    /// Returns the share of learner `rank` of `size` in a minibatch. `rows` has the number of counting rows of each unit.
    pub(crate) fn new(rank: usize, size: usize, rows: &[f32]) -> Self {
        let of = rows.len();
        let units = of * rank / size..of * (rank + 1) / size;
        if units.is_empty() {
            return Self { units: 0..1.min(of), of, weight: 0.0 };
        }
        let sum = |rows: &[f32]| rows.iter().map(|rows| f64::from(*rows)).sum::<f64>();
        let weight = sum(&rows[units.clone()]) / sum(rows);
        Self { units, of, weight }
    }

    /// Whether the learner has units of its own.
    pub(crate) fn counts(&self) -> bool {
        self.weight != 0.0
    }

    /// Returns which numbers of a draw for the whole minibatch belong to this share, and how many there are in all.
    /// `rows` is the first dimension of the draw for this share alone, and `width` the product of the others. A draw
    /// whose rows are no multiple of the units is the same for all learners: `None`.
    pub(crate) fn draw(&self, rows: usize, width: usize) -> Option<(Range<usize>, usize)> {
        let units = self.units.len();
        if units == 0 || !rows.is_multiple_of(units) {
            return None;
        }
        let of_unit = rows / units * width;
        Some((self.units.start * of_unit..self.units.end * of_unit, self.of * of_unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_a_minibatch_once_and_their_weights_sum_to_one() {
        for units in 1..12 {
            let rows: Vec<f32> = (0..units).map(|unit| (unit % 3) as f32 + 1.0).collect();
            for size in 1..6 {
                let shares: Vec<_> = (0..size).map(|rank| Share::new(rank, size, &rows)).collect();
                let covered = shares.iter().filter(|share| share.counts());
                let covered: Vec<usize> = covered.flat_map(|share| share.units.clone()).collect();
                assert_eq!(covered, (0..units).collect::<Vec<_>>());
                let weight: f64 = shares.iter().map(|share| share.weight).sum();
                assert!((weight - 1.0).abs() < 1e-12);
                assert!(shares.iter().all(|share| !share.units.is_empty()));
            }
        }
    }

    #[test]
    fn draws_for_rows_are_parts_of_one_draw_and_others_are_common() {
        let share = Share::new(1, 2, &[1.0; 5]);
        assert_eq!(share.units, 2..5);
        // 3 units with 2 rows each of width 4.
        assert_eq!(share.draw(6, 4), Some((16..40, 40)));
        assert_eq!(share.draw(4, 4), None);
    }
}
