use proptest::prelude::*;

use super::super::lookback::{Extent, resolve};
use super::super::{Index, Slice};
use super::{after, numbered};
use crate::experience::SegmentEnd;

fn bound() -> impl Strategy<Value = Option<isize>> {
    prop_oneof![
        1 => Just(None),
        8 => (-15_isize..15).prop_map(Some),
        1 => Just(Some(isize::MIN)),
        1 => Just(Some(isize::MAX)),
    ]
}

fn step() -> impl Strategy<Value = isize> {
    prop_oneof![8 => -4_isize..5, 1 => Just(isize::MIN), 1 => Just(isize::MAX)]
}

/// Python's `list(range(rows))[start:stop:step]` by definition: the items at `start`,
/// `start + step`, ... before `stop`, with bounds outside moved to the nearest that is sensible.
fn python(rows: isize, start: Option<isize>, stop: Option<isize>, step: isize) -> Vec<usize> {
    let wide = |bound: isize| {
        let bound = bound as i128;
        let (low, high) = if step > 0 { (0, rows as i128) } else { (-1, rows as i128 - 1) };
        (if bound < 0 { bound + rows as i128 } else { bound }).clamp(low, high)
    };
    let (first, end) = if step > 0 { (0, rows as i128) } else { (rows as i128 - 1, -1) };
    let (start, stop) = (start.map_or(first, wide), stop.map_or(end, wide));
    let mut places = Vec::new();
    let mut place = start;
    while if step > 0 { place < stop } else { place > stop } {
        places.push(place as usize);
        place += step as i128;
    }
    places
}

proptest! {
    #[test]
    fn a_slice_of_a_slice_is_a_slice(
        (steps, lookback) in (1_usize..30).prop_flat_map(|steps| (Just(steps), 0..=steps)),
        outer in (0_isize..30, 0_isize..30),
        inner in (0_isize..30, 0_isize..30),
        len_lookback in 0_usize..12,
    ) {
        let rollout = numbered(0, steps, SegmentEnd::Cut);
        let episode = after(&rollout, lookback);
        let keep = Some(len_lookback);
        let once = episode.slice(outer.0..outer.1, keep).unwrap();
        let twice = once.slice(inner.0..inner.1, keep).unwrap();

        let start = (twice.t_started() - lookback) as isize;
        let direct = episode.slice(start..start + twice.len() as isize, keep).unwrap();
        prop_assert_eq!(twice.len_lookback(), direct.len_lookback());
        prop_assert_eq!(twice.t(), direct.t());
        let first = twice.t_started();
        let rewards: Vec<f64> = (first..first + twice.len()).map(|t| t as f64).collect();
        prop_assert_eq!(twice.get_rewards(.., None).unwrap(), rewards);
    }

    #[test]
    fn slices_without_look_back_are_pythons(
        rows in 0_usize..12,
        start in bound(),
        stop in bound(),
        step in step(),
    ) {
        prop_assume!(step != 0);
        let slice = Slice::new(start, stop).step_by(step);
        let found = resolve(&slice.into(), Extent { rows, lookback: 0 }, false).unwrap();
        let expected: Vec<_> =
            python(rows as isize, start, stop, step).into_iter().map(Some).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_filled_slice_is_its_single_indices(
        (rows, lookback) in (0_usize..12).prop_flat_map(|rows| (Just(rows), 0..=rows)),
        start in -20_isize..20,
        count in 0_isize..20,
        step in prop_oneof![-4_isize..0, 1_isize..5],
    ) {
        let extent = Extent { rows, lookback };
        let stop = start + count * step;
        let slice = Index::from(Slice::new(Some(start), Some(stop)).step_by(step));
        let indices: Vec<isize> = (0..count).map(|i| start + i * step).collect();
        let found = resolve(&slice.neg_index_as_lookback(), extent, true).unwrap();
        let single = Index::from(indices).neg_index_as_lookback();
        prop_assert_eq!(found, resolve(&single, extent, true).unwrap());
    }

    #[test]
    fn without_fill_every_row_exists(
        (rows, lookback) in (0_usize..12).prop_flat_map(|rows| (Just(rows), 0..=rows)),
        start in bound(),
        stop in bound(),
        step in step(),
        from_start: bool,
    ) {
        let mut index = Index::from(Slice::new(start, stop).step_by(step));
        if from_start {
            index = index.neg_index_as_lookback();
        }
        match resolve(&index, Extent { rows, lookback }, false) {
            Ok(found) => prop_assert!(found.iter().all(|row| row.is_some_and(|row| row < rows))),
            Err(_) => prop_assert_eq!(step, 0),
        }
    }
}
