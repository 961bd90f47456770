//! Sequences with stored states and burn-in.

use std::sync::Arc;

use rekindle_env_runner::RolloutStates;

use super::*;

/// A fragment of one episode. Observations are `100 · episode + t`, rewards `t + 1`, and states ten times the
/// observations.
fn fragment(episode: u64, t: usize, len: usize, end: SegmentEnd) -> Rollout {
    let at = |t: usize| (episode * 100) as f32 + t as f32;
    let rewards: Vec<f32> = (t..t + len).map(|t| t as f32 + 1.0).collect();
    let states = floats((t..t + len).map(|t| at(t) * 10.0));
    let mut rollout = rollout(segment(0, episode, t, len, end), at(t), &rewards, at(t + len));
    rollout.states = Some(Arc::new(RolloutStates::new(states, floats([at(t + len) * 10.0]))));
    rollout
}

/// An episode of five steps in two fragments, one of two steps that was truncated, and one that goes on.
fn filled(config: ReplayConfig) -> ReplayBuffer {
    let mut buffer = ReplayBuffer::new(config, [Columns::STATE_IN], 1);
    buffer.push(&fragment(0, 0, 3, SegmentEnd::Cut)).unwrap();
    buffer.push(&fragment(0, 3, 2, SegmentEnd::Terminated)).unwrap();
    buffer.push(&fragment(1, 0, 2, SegmentEnd::Truncated)).unwrap();
    buffer.push(&fragment(2, 0, 2, SegmentEnd::Cut)).unwrap();
    buffer
}

fn drawn(start: usize, len: usize, spec: &TransitionSpec) -> TrainData {
    let buffer = filled(ReplayConfig::default());
    buffer.storage.gather_sequences(&[start], len, spec, &mut Generator::from_seed(0)).unwrap()
}

fn of(data: &TrainData, name: &str) -> Vec<f32> {
    match data.host().unwrap().column(name).unwrap() {
        column if column.as_f32().is_ok() => column.as_f32().unwrap().to_vec(),
        column => column.as_i64().unwrap().iter().map(|x| *x as f32).collect(),
    }
}

fn state(data: &TrainData, name: &str) -> Vec<f32> {
    data.sequences.as_ref().unwrap().columns.as_f32(name).unwrap().to_vec()
}

#[test]
fn a_sequence_has_its_steps_its_state_and_what_follows_them() {
    let data = drawn(1, 2, &TransitionSpec::new(0.5));
    assert_eq!(of(&data, Columns::OBS), [1.0, 2.0, 3.0]);
    assert_eq!(of(&data, Columns::LOSS_MASK), [1.0, 1.0, 0.0]);
    assert_eq!(of(&data, Columns::REWARDS), [2.0, 3.0, 0.0]);
    assert_eq!(of(&data, Columns::DISCOUNTS), [0.5, 0.5, 0.0]);
    assert_eq!(of(&data, NEXT_ROWS), [1.0, 2.0, 0.0]);
    assert_eq!(of(&data, ROWS), [1.0; 3]);
    assert_eq!(state(&data, Columns::STATE_IN), [10.0]);
    assert_eq!(data.sequences.as_ref().unwrap().rows, vec![0..3]);
}

#[test]
fn a_sequence_ends_with_its_episode_and_is_padded_with_its_first_step() {
    // Terminated: no value follows the last step, and three steps are left.
    let data = drawn(2, 5, &TransitionSpec::new(0.5).n_step(2..=2));
    assert_eq!(of(&data, Columns::OBS), [2.0, 3.0, 4.0, 5.0, 2.0, 2.0, 2.0]);
    assert_eq!(of(&data, Columns::LOSS_MASK), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(of(&data, Columns::REWARDS), [5.0, 6.5, 5.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(of(&data, Columns::DISCOUNTS), [0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(of(&data, NEXT_ROWS)[..3], [2.0, 3.0, 3.0]);
    // Truncated: the value of the final observation follows.
    let data = drawn(5, 4, &TransitionSpec::new(0.5));
    assert_eq!(of(&data, Columns::OBS), [100.0, 101.0, 102.0, 100.0, 100.0]);
    assert_eq!(of(&data, Columns::DISCOUNTS), [0.5, 0.5, 0.0, 0.0, 0.0]);
    assert_eq!(of(&data, NEXT_ROWS)[..2], [1.0, 2.0]);
    // The next step is not stored yet.
    let data = drawn(8, 2, &TransitionSpec::new(0.5).n_step(3..=3));
    assert_eq!(of(&data, Columns::OBS), [201.0, 202.0, 201.0, 201.0, 201.0]);
    assert_eq!(of(&data, Columns::DISCOUNTS), [0.5, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(of(&data, NEXT_ROWS)[0], 1.0);
}

#[test]
fn burn_in_has_the_steps_before_unless_the_episode_has_fewer() {
    let spec = TransitionSpec::new(0.5).burn_in(2);
    let data = drawn(3, 2, &spec);
    assert_eq!(of(&data, Columns::OBS), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(of(&data, Columns::LOSS_MASK), [0.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(of(&data, NEXT_ROWS), [0.0, 0.0, 1.0, 2.0, 0.0]);
    assert_eq!((state(&data, BURN_IN_STATE), state(&data, BURNED_IN)), (vec![10.0], vec![1.0]));
    assert_eq!(state(&data, Columns::STATE_IN), [30.0]);
    // One step before is too few, and the earlier episode does not count.
    for (start, obs) in [(1, [1.0, 1.0, 1.0, 2.0, 3.0]), (6, [101.0, 101.0, 101.0, 102.0, 101.0])] {
        let data = drawn(start, 2, &spec);
        assert_eq!(of(&data, Columns::OBS), obs);
        assert!(!data.sequences.as_ref().unwrap().columns.contains(BURN_IN_STATE));
        assert_eq!(state(&data, Columns::STATE_IN), [if start == 1 { 10.0 } else { 1010.0 }]);
    }
}

#[test]
fn minibatches_are_whole_sequences_and_keep_the_mask() {
    let buffer = filled(ReplayConfig::default());
    let spec = TransitionSpec::new(0.5).burn_in(1);
    let mut rng = Generator::from_seed(0);
    let data = buffer.sample_sequences(6, 4, &spec, 0, &mut rng).unwrap();
    assert_eq!((data.rows(), data.sequences.as_ref().unwrap().len), (36, 6));
    let units = data.units(Some(8));
    assert_eq!((units.count, units.minibatch), (6, 2));
    let device = burn::prelude::Device::flex();
    let batch = data.minibatch(&[4, 1], &device).unwrap();
    let mask = rekindle_core::any_tensor::to_f32(batch.float::<1>(Columns::LOSS_MASK).unwrap());
    let all = of(&data, Columns::LOSS_MASK);
    assert_eq!(mask.unwrap(), [&all[24..30], &all[6..12]].concat());
    assert_eq!(data.rows_that_count() as f32, all.iter().sum::<f32>());
}

#[test]
fn the_priority_of_a_sequence_is_between_its_largest_and_its_mean_error() {
    let config = PrioritizedConfig::default().alpha(1.0).epsilon(1e-9);
    let mut buffer = filled(ReplayConfig::default().prioritized(config));
    let rows = [2, 2, 2, 4, 4, 4];
    let errors = [1.0, 3.0, 99.0, 0.5, f32::NAN, 0.25];
    let masks = [[1.0, 1.0, 0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]];
    assert_eq!(buffer.set_sequence_errors(&rows, &errors, &masks[0], 3), 0);
    let priority = |buffer: &ReplayBuffer, row| buffer.tree.as_ref().unwrap().priority(row) as f32;
    close(&[priority(&buffer, 2), priority(&buffer, 4)], &[2.9, 0.4875]);
    // An error that is not finite and counts leaves its sequence as it is.
    assert_eq!(buffer.set_sequence_errors(&rows, &errors, &masks[1], 3), 1);
    close(&[priority(&buffer, 2), priority(&buffer, 4)], &[1.0, 0.4875]);
    let mut rng = Generator::from_seed(0);
    let data = buffer.sample_sequences(5, 2, &TransitionSpec::new(0.9), 0, &mut rng).unwrap();
    let (rows, weights) = (of(&data, ROWS), of(&data, Columns::WEIGHTS));
    for (rows, weights) in rows.chunks(3).zip(weights.chunks(3)) {
        assert!(rows.iter().all(|row| *row == rows[0]) && weights.iter().all(|w| *w == weights[0]));
    }
}

#[test]
fn steps_without_states_are_refused_by_name() {
    let mut buffer = ReplayBuffer::new(ReplayConfig::default(), [Columns::STATE_IN], 1);
    let steps = rollout(segment(0, 0, 0, 1, SegmentEnd::Cut), 0.0, &[1.0], 1.0);
    let error = buffer.push(&steps).unwrap_err().to_string();
    assert!(error.contains("state_in"), "{error}");
}
