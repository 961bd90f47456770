//! Transitions, priorities and eviction.

mod frames;
mod properties;
mod saved;
mod sequences;

use rekindle_core::{Columns, Generator};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, Segment, SegmentEnd};

use super::*;

fn floats(data: impl IntoIterator<Item = f32>) -> Buffer {
    Buffer::from_f32(data.into_iter().collect(), &[]).unwrap()
}

fn segment(env: usize, episode: u64, t_started: usize, len: usize, end: SegmentEnd) -> Segment {
    Segment::new(0..len, end).with_episode(env, episode).with_t_started(t_started)
}

/// Steps whose observations count from `first`, with a reward each; `last` is the final observation.
fn rollout(segment: Segment, first: f32, rewards: &[f32], last: f32) -> Rollout {
    let observations = floats((0..rewards.len()).map(|t| first + t as f32));
    let actions = Buffer::from_i64((0..rewards.len() as i64).collect(), &[]).unwrap();
    Rollout::new(observations, actions, rewards.to_vec(), vec![segment], floats([last]))
}

fn buffer(config: ReplayConfig) -> ReplayBuffer {
    ReplayBuffer::new(config, [""; 0], 1)
}

fn prioritized(weights_by: LargestWeight) -> ReplayConfig {
    ReplayConfig::default().prioritized(PrioritizedConfig::default().weights_by(weights_by))
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// Five steps with rewards 1 to 5; the episode ends after the third.
fn five_steps(end: SegmentEnd) -> ReplayBuffer {
    let mut buffer = buffer(ReplayConfig::default());
    let first = rollout(segment(0, 0, 0, 3, end), 0.0, &[1.0, 2.0, 3.0], 30.0);
    let second = rollout(segment(0, 1, 0, 2, SegmentEnd::Cut), 3.0, &[4.0, 5.0], 50.0);
    buffer.push(&first).unwrap();
    buffer.push(&second).unwrap();
    buffer
}

fn transitions(buffer: &ReplayBuffer, rows: &[usize], n: usize) -> [Vec<f32>; 3] {
    let spec = TransitionSpec::new(0.9).n_step(n..=n);
    let batch = buffer.storage.gather(rows, &spec, &mut Generator::from_seed(0)).unwrap();
    [Columns::REWARDS, Columns::DISCOUNTS, Columns::NEXT_OBS]
        .map(|name| batch.as_f32(name).unwrap().to_vec())
}

#[test]
fn transitions_of_three_steps_bootstrap_where_an_episode_was_truncated_or_goes_on() {
    let buffer = five_steps(SegmentEnd::Truncated);
    let [rewards, discounts, next] = transitions(&buffer, &[0, 1, 2, 3, 4], 3);
    close(&rewards, &[5.23, 4.7, 3.0, 8.5, 5.0]);
    close(&discounts, &[0.729, 0.81, 0.9, 0.81, 0.9]);
    assert_eq!(next, [30.0, 30.0, 30.0, 50.0, 50.0]);
    // The value of the observation that step t reached is 10 (t + 1).
    let values = next.iter().map(|next| if *next == 30.0 { 30.0 } else { 50.0 });
    let targets = rewards.iter().zip(&discounts).zip(values).map(|((r, d), v)| r + d * v);
    close(&targets.collect::<Vec<_>>(), &[27.1, 29.0, 30.0, 49.0, 50.0]);
}

#[test]
fn nothing_follows_where_an_episode_was_terminated() {
    let buffer = five_steps(SegmentEnd::Terminated);
    let [rewards, discounts, _] = transitions(&buffer, &[0, 1, 2, 3, 4], 3);
    close(&rewards, &[5.23, 4.7, 3.0, 8.5, 5.0]);
    close(&discounts, &[0.0, 0.0, 0.0, 0.81, 0.9]);
}

#[test]
fn a_constant_reward_is_worth_100_steps_of_it_at_a_time_limit() {
    // The reward is always −1 and γ is 0.99, so the value is −100 if truncations bootstrap. If truncations counted as
    // terminations, only 199 of 200 steps would bootstrap.
    for (end, expected) in [(SegmentEnd::Truncated, -100.0), (SegmentEnd::Terminated, -66.889_632)]
    {
        let mut buffer = buffer(ReplayConfig::default());
        let steps = rollout(segment(0, 0, 0, 200, end), 0.0, &[-1.0; 200], 200.0);
        buffer.push(&steps).unwrap();
        let rows: Vec<usize> = (0..200).collect();
        let spec = TransitionSpec::new(0.99);
        let mut rng = Generator::from_seed(0);
        let batch = buffer.storage.gather(&rows, &spec, &mut rng).unwrap();
        let mut value = 0.0_f64;
        for _ in 0..2000 {
            let targets = batch.as_f32(Columns::REWARDS).unwrap().iter();
            let targets = targets.zip(batch.as_f32(Columns::DISCOUNTS).unwrap());
            let sum: f64 = targets.map(|(r, d)| f64::from(*r) + f64::from(*d) * value).sum();
            value = sum / 200.0;
        }
        assert!((value - expected).abs() < 1e-3, "{value} {expected}");
    }
}

#[test]
fn one_step_transitions_have_the_observation_of_the_next_step() {
    let buffer = five_steps(SegmentEnd::Truncated);
    let [rewards, discounts, next] = transitions(&buffer, &[0, 1, 2, 3, 4], 1);
    assert_eq!(rewards, [1.0, 2.0, 3.0, 4.0, 5.0]);
    close(&discounts, &[0.9; 5]);
    assert_eq!(next, [1.0, 2.0, 30.0, 4.0, 50.0]);
}

#[test]
fn an_episode_that_goes_on_in_a_later_fragment_is_one() {
    let mut buffer = buffer(ReplayConfig::default());
    let part = |t, end, last| rollout(segment(0, 7, t, 2, end), t as f32, &[1.0, 1.0], last);
    buffer.push(&part(0, SegmentEnd::Cut, 2.0)).unwrap();
    assert_eq!(transitions(&buffer, &[0, 1], 3)[2], [2.0, 2.0]);
    buffer.push(&part(2, SegmentEnd::Terminated, 4.0)).unwrap();
    let [rewards, discounts, next] = transitions(&buffer, &[0, 1, 2, 3], 3);
    close(&rewards, &[2.71, 2.71, 1.9, 1.0]);
    close(&discounts, &[0.729, 0.0, 0.0, 0.0]);
    assert_eq!(next, [3.0, 4.0, 4.0, 4.0]);
}

#[test]
fn an_episode_whose_next_step_was_lost_is_truncated_there() {
    let mut buffer = buffer(ReplayConfig::default());
    let part = |episode, t, first| {
        rollout(segment(0, episode, t, 2, SegmentEnd::Cut), first, &[1.0, 1.0], first + 2.0)
    };
    buffer.push(&part(0, 0, 0.0)).unwrap();
    // The environment was restarted, and later a fragment was lost.
    buffer.push(&part(1, 0, 10.0)).unwrap();
    buffer.push(&part(1, 4, 20.0)).unwrap();
    let [_, discounts, next] = transitions(&buffer, &[0, 2, 4], 9);
    close(&discounts, &[0.81; 3]);
    assert_eq!(next, [2.0, 12.0, 22.0]);
}

#[test]
fn environments_agents_and_runners_do_not_mix() {
    let mut buffer = buffer(ReplayConfig::default());
    let of = |env, agent: Option<&str>, first| {
        let mut segment = segment(env, 0, 0, 2, SegmentEnd::Cut);
        segment.agent = agent.map(|agent| agent.parse().unwrap());
        rollout(segment, first, &[1.0, 1.0], first + 2.0)
    };
    buffer.push(&of(0, None, 0.0)).unwrap();
    let mut of_other_runner = of(0, None, 10.0);
    of_other_runner.runner = 1;
    buffer.push(&of_other_runner).unwrap();
    buffer.push(&of(1, None, 20.0)).unwrap();
    buffer.push(&of(0, Some("a"), 30.0)).unwrap();
    let firsts: Vec<usize> = (0..buffer.storage.slots())
        .filter(|row| buffer.storage.successor(*row).is_some())
        .collect();
    let [_, _, next] = transitions(&buffer, &firsts, 5);
    assert_eq!(next, [2.0, 12.0, 22.0, 32.0]);
}

#[test]
fn the_oldest_steps_make_room_and_no_more_than_the_capacity_is_kept() {
    let mut buffer = buffer(prioritized(LargestWeight::Buffer).capacity(40));
    for episode in 0..30_u16 {
        let first = f32::from(episode) * 7.0;
        let segment = segment(0, episode.into(), 0, 7, SegmentEnd::Truncated);
        buffer.push(&rollout(segment, first, &[1.0; 7], first + 0.5)).unwrap();
        assert!(buffer.len() <= 40 && buffer.len() >= 30.min(7 * (usize::from(episode) + 1)));
    }
    let spec = TransitionSpec::new(1.0);
    let batch = buffer.sample(500, &spec, 0, &mut Generator::from_seed(0)).unwrap();
    let (obs, next) =
        (batch.as_f32(Columns::OBS).unwrap(), batch.as_f32(Columns::NEXT_OBS).unwrap());
    assert!(obs.iter().all(|obs| *obs >= 170.0), "{obs:?}");
    for (obs, next) in obs.iter().zip(next) {
        let last = (obs + 1.0) % 7.0 == 0.0;
        assert_eq!(*next, if last { obs - 6.0 + 0.5 } else { obs + 1.0 });
    }
}

#[test]
fn priorities_and_importance_weights() {
    for (by, rows, expected) in [
        (LargestWeight::Buffer, &[0, 1, 2, 3][..], &[0.063_096, 0.036_308, 0.029_140, 1.0][..]),
        (LargestWeight::Batch, &[0, 1, 2], &[1.0, 0.575_441, 0.461_844]),
    ] {
        let mut buffer = buffer(prioritized(by));
        let segment = segment(0, 0, 0, 4, SegmentEnd::Terminated);
        buffer.push(&rollout(segment, 0.0, &[0.0; 4], 4.0)).unwrap();
        assert_eq!(buffer.set_errors(&[0, 1, 2, 3], &[0.1, -1.0, 2.5, 0.0]), 0);
        let tree = buffer.tree.as_ref().unwrap();
        let priorities = [0, 1, 2, 3].map(|row| tree.priority(row) as f32);
        close(&priorities, &[0.251_190, 1.000_001, 1.732_863, 0.000_251]);
        let probabilities = priorities.map(|priority| priority / tree.total() as f32);
        close(&probabilities, &[0.084_170, 0.335_087, 0.580_659, 0.000_084]);
        let config = buffer.config.prioritized.as_ref().unwrap();
        close(&buffer.weights(tree, config, rows, 0.4), expected);
    }
}

#[test]
fn rows_are_drawn_in_proportion_to_their_priorities_and_new_ones_with_the_largest() {
    let config = PrioritizedConfig::default().alpha(1.0);
    let mut buffer = buffer(ReplayConfig::default().prioritized(config));
    let of = |episode| {
        let segment = segment(0, episode, 0, 2, SegmentEnd::Terminated);
        rollout(segment, 0.0, &[0.0; 2], 2.0)
    };
    buffer.push(&of(0)).unwrap();
    buffer.set_errors(&[0, 1], &[1.0, 3.0]);
    buffer.push(&of(1)).unwrap();
    // Errors that are not finite change nothing.
    assert_eq!(buffer.set_errors(&[0, 1], &[f32::NAN, f32::INFINITY]), 2);
    let mut rng = Generator::from_seed(1);
    let mut counts = [0_u32; 4];
    for _ in 0..1000 {
        let batch = buffer.sample(10, &TransitionSpec::new(0.9), 0, &mut rng).unwrap();
        let rows = batch.host().unwrap().column(ROWS).unwrap().as_i64().unwrap();
        rows.iter().for_each(|row| counts[*row as usize] += 1);
    }
    for (count, expected) in counts.into_iter().zip([1000.0, 3000.0, 3000.0, 3000.0]) {
        assert!((f64::from(count) - expected).abs() < 100.0, "{counts:?}");
    }
}

#[test]
fn a_range_of_steps_draws_a_number_for_each_transition() {
    let buffer = five_steps(SegmentEnd::Truncated);
    let spec = TransitionSpec::new(0.9).n_step(1..=3);
    let batch = buffer.storage.gather(&[0; 300], &spec, &mut Generator::from_seed(0)).unwrap();
    for (n, discount) in [(1, 0.9_f32), (2, 0.81), (3, 0.729)] {
        let of_n = batch.as_f32(Columns::DISCOUNTS).unwrap().iter();
        let count = of_n.filter(|found| (**found - discount).abs() < 1e-6).count();
        assert!((70..130).contains(&count), "{n}: {count}");
    }
}

#[test]
fn an_empty_buffer_and_other_columns_are_refused() {
    let mut buffer = ReplayBuffer::new(ReplayConfig::default(), [Columns::ACTION_LOGP], 1);
    let mut rng = Generator::from_seed(0);
    let error = buffer.sample(1, &TransitionSpec::new(0.9), 0, &mut rng).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let mut steps = rollout(segment(0, 0, 0, 1, SegmentEnd::Terminated), 0.0, &[1.0], 1.0);
    let error = buffer.push(&steps).unwrap_err().to_string();
    assert!(error.contains("action_logp"), "{error}");
    steps.extras.insert(Columns::ACTION_LOGP.into(), floats([0.5]));
    buffer.push(&steps).unwrap();
    steps.observations = Buffer::from_u8(vec![0], &[]).unwrap();
    let error = buffer.push(&steps).unwrap_err().to_string();
    assert!(error.contains("`obs`"), "{error}");
    assert_eq!(buffer.len(), 1);
}
