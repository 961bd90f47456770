//! Replay buffers of a million steps with the spaces of CartPole.

use rekindle::env_runner::SegmentEnd;
use rekindle::learner::replay::{PrioritizedConfig, ReplayBuffer, ReplayConfig};
use rekindle::prelude::*;

use crate::Outcome;

/// Steps that a buffer holds.
pub const CAPACITY: usize = 1_000_000;
/// Steps of an episode.
pub const EPISODE: usize = 200;
/// Transitions of a minibatch.
pub const MINIBATCH: usize = 256;

/// Returns an episode with the spaces of CartPole.
///
/// # Errors
/// If its buffers cannot be made.
pub fn episode(number: u64) -> Outcome<Rollout> {
    let observation = |len: usize| {
        let values = (0..4 * len).map(|i| (number as usize * EPISODE + i) as f32);
        Buffer::from_f32(values.collect(), &[4])
    };
    let segment = Segment::new(0..EPISODE, SegmentEnd::Truncated).with_episode(0, number);
    let actions = Buffer::from_i64((0..EPISODE as i64).map(|t| t % 2).collect(), &[])?;
    let (observations, last) = (observation(EPISODE)?, observation(1)?);
    Ok(Rollout::new(observations, actions, vec![1.0; EPISODE], vec![segment], last))
}

/// Returns a full buffer.
///
/// # Errors
/// If a step cannot be stored.
pub fn full(prioritized: Option<PrioritizedConfig>) -> Outcome<ReplayBuffer> {
    let config = ReplayConfig::default().capacity(CAPACITY).prioritized(prioritized);
    let mut buffer = ReplayBuffer::new(config, [""; 0], 1);
    for number in 0..(CAPACITY / EPISODE) as u64 + 10 {
        buffer.push(&episode(number)?)?;
    }
    Ok(buffer)
}
