use std::ops::Range;

use rekindle_env::{Buffer, Space, Value};

use super::super::{EpisodeError, Index, Slice};
use super::{after, floats, ints, numbered};
use crate::experience::{Rollout, Segment, SegmentEnd};

/// The items at `index` of a column of `data` that begins with `lookback`, read from every kind of
/// column.
fn get(
    data: Range<i64>,
    lookback: usize,
    index: impl Into<Index>,
    fill: Option<f64>,
) -> Result<Vec<i64>, EpisodeError> {
    let rows = data.end as usize;
    let (index, rollout) = (index.into(), numbered(0, rows, SegmentEnd::Cut));
    let episode = after(&rollout, lookback);
    let rewards = episode.get_rewards(index.clone(), fill)?;
    let items: Vec<i64> = rewards.into_iter().map(|reward| reward as i64).collect();
    assert_eq!(episode.get_actions(index.clone(), fill)?, floats(items.clone()));
    let extra = episode.get_extra_model_outputs("action_logp", index.clone(), fill)?;
    assert_eq!(extra, floats(items.clone()));
    assert_eq!(episode.get_infos("x", index.clone(), fill)?, floats(items.clone()));
    // There is one more observation than steps, hence one step less for as many items.
    let rollout = numbered(0, rows - 1, SegmentEnd::Cut);
    let observations = after(&rollout, lookback).get_observations(index, fill)?;
    assert_eq!(observations, ints(items.clone()));
    Ok(items)
}

#[track_caller]
fn assert_out_of_range(result: Result<Vec<i64>, EpisodeError>) {
    assert!(matches!(result, Err(EpisodeError::IndexOutOfRange { .. })), "{result:?}");
}

#[test]
fn columns_that_a_rollout_lacks_are_named_with_those_it_has() {
    let rollout = numbered(0, 3, SegmentEnd::Cut);
    let message = after(&rollout, 0).get_extra_model_outputs("logp", .., None).unwrap_err();
    assert!(message.to_string().contains("no `logp`; known: `action_logp`"), "{message}");
    let message = after(&rollout, 0).get_infos("y", .., None).unwrap_err();
    assert!(message.to_string().contains("no `y`; known: `x`"), "{message}");
}

#[test]
fn everything_leaves_the_look_back_out() {
    assert_eq!(get(0..5, 2, .., None).unwrap(), [2, 3, 4]);
}

#[test]
fn single_indices_reach_into_the_look_back_from_the_end() {
    let at = |index: isize| get(0..5, 2, index, None);
    assert_eq!(at(-1).unwrap(), [4]);
    assert_eq!(at(-4).unwrap(), [1]);
    assert_out_of_range(at(-6));
    assert_eq!(at(0).unwrap(), [2]);
    assert_eq!(at(2).unwrap(), [4]);
    assert_out_of_range(at(3));
    assert_out_of_range(at(isize::MIN));
    assert_out_of_range(at(isize::MAX));
}

#[test]
fn lists_of_indices_may_be_in_any_order() {
    assert_eq!(get(0..5, 2, [-4, -5], None).unwrap(), [1, 0]);
    assert_eq!(get(0..5, 2, vec![1, 0, -2], None).unwrap(), [3, 2, 3]);
    assert!(get(0..5, 2, [], None).unwrap().is_empty());
    assert_out_of_range(get(0..5, 2, [0, 3], None));
}

#[test]
fn slices_are_cut_to_the_data() {
    let cut = |index: Index| get(0..5, 2, index, None).unwrap();
    assert_eq!(cut((..-1).into()), [2, 3]);
    assert_eq!(cut((-4..).into()), [1, 2, 3, 4]);
    assert_eq!(cut((-5..-1).into()), [0, 1, 2, 3]);
    assert_eq!(cut((-6..-2).into()), [0, 1, 2]);
    assert_eq!(cut((1..5).into()), [3, 4]);
    assert!(cut((9..12).into()).is_empty());
    assert!(cut((-12..-9).into()).is_empty());
}

#[test]
fn slices_with_steps_are_pythons() {
    let steps = |slice: Slice| get(0..5, 2, slice, None).unwrap();
    assert_eq!(steps(Slice::from(..).step_by(2)), [2, 4]);
    assert_eq!(steps(Slice::from(..).step_by(-1)), [4, 3, 2]);
    assert_eq!(steps(Slice::new(Some(-1), Some(-4)).step_by(-1)), [4, 3, 2]);
    assert_eq!(steps(Slice::from(-9..).step_by(2)), [0, 2, 4]);
    assert_eq!(steps(Slice::from(9..).step_by(-2)), [4, 2]);
    assert_eq!(steps(Slice::new(Some(-1), Some(-9)).step_by(-2)), [4, 2, 0]);
    assert_eq!(steps(Slice::from(..).step_by(isize::MAX)), [2]);
    assert_eq!(steps(Slice::from(..).step_by(isize::MIN)), [4]);
    let refused = get(0..5, 2, Slice::from(..).step_by(0), None);
    assert!(matches!(refused, Err(EpisodeError::ZeroStep)));
}

#[test]
fn fill_pads_both_sides() {
    let filled = |index: Index, fill: i64| get(0..6, 3, index, Some(fill as f64)).unwrap();
    assert_eq!(filled((-10).into(), 10), [10]);
    assert_eq!(filled((-8..).into(), 10), [10, 10, 0, 1, 2, 3, 4, 5]);
    assert_eq!(filled((-10..-4).into(), 11), [11, 11, 11, 11, 0, 1]);
    assert_eq!(filled((2..8).into(), 12), [5, 12, 12, 12, 12, 12]);
    assert_eq!(filled((10..15).into(), 0), [0, 0, 0, 0, 0]);
    assert_eq!(filled((0..2).into(), 0), [3, 4]);
    assert_eq!(get(0..6, 3, 0..2, None).unwrap(), [3, 4]);
    assert_eq!(filled([-7, 0, 3].into(), 9), [9, 3, 9]);
    assert_eq!(filled(Slice::new(Some(4), Some(1)).step_by(-1).into(), 9), [9, 9, 5]);
}

#[test]
fn negative_indices_may_mean_the_look_back() {
    let at = |index: Index, fill: Option<f64>| {
        get(0..11, 4, index.neg_index_as_lookback(), fill).unwrap()
    };
    assert_eq!(at((-1).into(), None), [3]);
    assert_eq!(at((-4).into(), None), [0]);
    assert_eq!(at((-2..4).into(), None), [2, 3, 4, 5, 6, 7]);
    assert_eq!(at((-8..0).into(), Some(10.0)), [10, 10, 10, 10, 0, 1, 2, 3]);
    assert_eq!(at((-2..8).into(), Some(12.0)), [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]);
    assert_out_of_range(get(0..11, 4, Index::from(-5).neg_index_as_lookback(), None));
}

/// A rollout of one episode with these observations and actions.
fn rollout(observations: Buffer, actions: Buffer) -> Rollout {
    let len = actions.rows();
    let segments = vec![Segment::new(0..len, SegmentEnd::Cut)];
    let finals = observations.slice(len..len + 1).unwrap();
    let observations = observations.slice(0..len).unwrap();
    Rollout::new(observations, actions, vec![0.0; len], segments, finals)
}

#[test]
fn a_filled_one_hot_item_is_no_choice() {
    let space = Space::discrete(4).unwrap();
    let rollout = rollout(ints([2, 0, 3]), ints([1, 2]));
    let episode = after(&rollout, 0);
    let encoded = episode.get_observations_one_hot(&space, 0..4, Some(0.0)).unwrap();
    assert_eq!(encoded.shape().unwrap(), [4]);
    assert_eq!(
        encoded.as_f32().unwrap(),
        [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
            .concat()
    );
    let encoded = episode.get_actions_one_hot(&space, -1, None).unwrap();
    assert_eq!(encoded.as_f32().unwrap(), [0.0, 0.0, 1.0, 0.0]);
    let too_small = Space::discrete(3).unwrap();
    assert!(episode.get_observations_one_hot(&too_small, .., None).is_err());
}

fn nested_space() -> Space {
    let image = Space::image(&[2]).unwrap();
    let choice = Space::discrete(3).unwrap();
    let speed = Space::boxed(-1.0, 1.0, &[2]).unwrap();
    let gears = Space::multi_discrete([2, 3]).unwrap();
    let parts = Space::tuple([speed, gears]).unwrap();
    Space::dict([("choice", choice), ("image", image), ("parts", parts)]).unwrap()
}

fn nested(choice: impl Into<Value>, image: u8, speed: f32, gears: impl Into<Value>) -> Value {
    Value::dict([
        ("choice", choice.into()),
        ("image", [image; 2].into()),
        ("parts", Value::tuple([[speed; 2].into(), gears.into()])),
    ])
}

fn nested_rollout() -> Rollout {
    let mut observations = Buffer::with_capacity(&nested_space(), 2);
    observations.push_value(&nested(1, 8, 0.5, [1_i64, 2])).unwrap();
    observations.push_value(&nested(2, 9, -0.5, [0_i64, 1])).unwrap();
    rollout(observations, ints([0]))
}

#[test]
fn nested_spaces_are_filled_leaf_by_leaf() {
    let rollout = nested_rollout();
    let read = after(&rollout, 0).get_observations([1, 2], Some(1.0)).unwrap();
    assert_eq!(read.row(0).to_value().unwrap(), nested(2, 9, -0.5, [0_i64, 1]));
    assert_eq!(read.row(1).to_value().unwrap(), nested(1, 1, 1.0, [1_i64, 1]));
}

#[test]
fn nested_spaces_are_encoded_leaf_by_leaf() {
    let rollout = nested_rollout();
    let read =
        after(&rollout, 0).get_observations_one_hot(&nested_space(), [0, 2], Some(0.0)).unwrap();
    let first = nested([0.0, 1.0, 0.0], 8, 0.5, [0.0, 1.0, 0.0, 0.0, 1.0]);
    assert_eq!(read.row(0).to_value().unwrap(), first);
    assert_eq!(read.row(1).to_value().unwrap(), nested([0.0; 3], 0, 0.0, [0.0; 5]));
}

#[test]
fn a_fill_must_be_a_number_of_the_column() {
    let rollout = nested_rollout();
    let episode = after(&rollout, 0);
    for fill in [-1.0, 0.5, 256.0, f64::NAN, f64::INFINITY] {
        let refused = episode.get_observations(2, Some(fill));
        assert!(matches!(refused, Err(EpisodeError::Fill { .. })), "{fill}");
    }
    // Where nothing is filled, the fill does not matter.
    assert!(episode.get_observations(1, Some(0.5)).is_ok());
    assert!(episode.get_observations_one_hot(&nested_space(), 1, Some(0.5)).is_ok());
}
