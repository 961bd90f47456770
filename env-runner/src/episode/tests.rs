//! What all tests of episodes need.

mod get;
mod pieces;
mod properties;
mod set;
mod state;
mod steps;

use rekindle_env::{Buffer, Space};

use super::{EpisodeColumns, EpisodeError, SingleAgentEpisode};

/// Spaces whose elements can be numbered.
fn spaces() -> (Space, Space) {
    (Space::discrete(1_000_000).unwrap(), Space::boxed(-1e6, 1e6, &[1]).unwrap())
}

fn ints(numbers: impl IntoIterator<Item = i64>) -> Buffer {
    Buffer::from_i64(numbers.into_iter().collect(), &[]).unwrap()
}

fn floats(numbers: impl IntoIterator<Item = i64>) -> Buffer {
    Buffer::from_f32(numbers.into_iter().map(|x| x as f32).collect(), &[1]).unwrap()
}

/// An episode of `steps` steps, the look-back included. Every item is the number of its row.
fn numbered(steps: usize, len_lookback: usize) -> SingleAgentEpisode {
    numbered_columns(steps, len_lookback).try_into().unwrap()
}

fn numbered_columns(steps: usize, len_lookback: usize) -> EpisodeColumns {
    let steps = steps as i64;
    let rewards = (0..steps).map(|x| x as f64).collect();
    EpisodeColumns {
        extra_model_outputs: [("action_logp".to_owned(), floats(0..steps))].into(),
        len_lookback,
        ..EpisodeColumns::new(ints(0..=steps), floats(0..steps), rewards)
    }
}

/// Adds step `t` of an endless numbered episode: action and reward `t`, observation `t + 1`.
fn add_step(episode: &mut SingleAgentEpisode, t: i64, terminated: bool, truncated: bool) {
    try_step(episode, t, terminated, truncated).unwrap();
}

fn try_step(
    episode: &mut SingleAgentEpisode,
    t: i64,
    terminated: bool,
    truncated: bool,
) -> Result<(), EpisodeError> {
    let (observation, action) = (ints([t + 1]), floats([t]));
    let logp = [t as f32];
    episode.add_env_step(
        observation.row(0),
        action.row(0),
        t as f64,
        terminated,
        truncated,
        &[("action_logp", &logp)],
    )
}

/// A reset episode, before its first step.
fn fresh() -> SingleAgentEpisode {
    let (observed, chosen) = spaces();
    let mut episode = SingleAgentEpisode::new(&observed, &chosen);
    episode.add_env_reset(ints([0]).row(0)).unwrap();
    episode
}

/// An unfinished episode of `steps` steps, added one by one.
fn played(steps: i64) -> SingleAgentEpisode {
    let mut episode = fresh();
    (0..steps).for_each(|t| add_step(&mut episode, t, false, false));
    episode
}
