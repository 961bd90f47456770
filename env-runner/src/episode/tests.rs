//! Assertions 56 to 59 and 61 to 64 of RLlib's episodes, on views. Experience is saved by the learner, whose
//! tests have assertion 60.

mod get;
mod pieces;

use rekindle_env::Buffer;

use super::EpisodeView;
use crate::experience::{Rollout, Segment, SegmentEnd};

fn ints(numbers: impl IntoIterator<Item = i64>) -> Buffer {
    Buffer::from_i64(numbers.into_iter().collect(), &[]).unwrap()
}

fn floats(numbers: impl IntoIterator<Item = i64>) -> Buffer {
    Buffer::from_f32(numbers.into_iter().map(|x| x as f32).collect(), &[1]).unwrap()
}

/// A rollout of the steps from `t` on, in which every item is its time step. It is time-major: each other
/// row is of another environment.
fn numbered(t: usize, steps: usize, end: SegmentEnd) -> Rollout {
    let rows = |last: usize| (t as i64..(t + last) as i64).flat_map(|x| [x, -1]);
    let segment = Segment::new(0..steps, end).with_episode(0, 7).with_t_started(t).with_stride(2);
    let (rewards, finals) = (rows(steps).map(|x| x as f32).collect(), ints([(t + steps) as i64]));
    let (observations, actions) = (ints(rows(steps)), floats(rows(steps)));
    let mut rollout = Rollout::new(observations, actions, rewards, vec![segment], finals);
    rollout.extras.insert("action_logp".into(), floats(rows(steps)));
    rollout.infos = Some(Buffer::from_dict([("x", floats(rows(steps)))]).unwrap());
    rollout
}

/// The only episode of a rollout, without its first steps, which are the look-back.
fn after(rollout: &Rollout, lookback: usize) -> EpisodeView<'_> {
    let episode = rollout.episodes().next().unwrap();
    episode.slice(lookback as isize.., Some(lookback)).unwrap()
}

#[test]
fn time_and_length_leave_the_look_back_out() {
    let rollout = numbered(0, 100, SegmentEnd::Cut);
    let episode = rollout.episodes().next().unwrap();
    assert_eq!((episode.t_started(), episode.t(), episode.len()), (0, 100, 100));
    let rollout = numbered(40, 100, SegmentEnd::Terminated);
    let episode = after(&rollout, 10);
    assert_eq!((episode.t_started(), episode.t(), episode.len()), (50, 140, 90));
    assert_eq!(episode.len_lookback(), 10);
    assert_eq!(rollout.rewards.len(), 200);
    assert_eq!(episode.get_return(), f64::from((50..140).sum::<i32>()));
    let empty = episode.slice(90.., None).unwrap();
    assert!(empty.is_empty() && empty.get_return() == 0.0);
}

#[test]
fn single_steps_are_counted_after_the_look_back() {
    let rollout = numbered(0, 5, SegmentEnd::Truncated);
    let episode = after(&rollout, 2);
    let observed: Vec<_> = (0..4).map(|i| episode.observation(i).as_discrete().unwrap()).collect();
    assert_eq!(observed, [2, 3, 4, 5]);
    assert_eq!(episode.action(1).as_f32().unwrap(), [3.0]);
    assert_eq!(episode.reward(2), 4.0);
    assert!(episode.observation(4).as_discrete().is_err() && episode.action(3).as_f32().is_err());
    assert!(episode.reward(3).is_nan());
}
