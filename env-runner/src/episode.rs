//! Episodes in recorded experience: RLlib's `SingleAgentEpisode`, as a view of a rollout.

mod error;
mod gather;
mod get;
mod index;
mod lookback;
mod one_hot;
mod pieces;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rekindle_env::{AgentId, Buffer, Row};

use crate::experience::{Rollout, Segment, SegmentEnd};

pub use error::EpisodeError;
pub use index::{Index, Slice};

/// The observations, actions and rewards of one agent in an episode, or in the part of it that a rollout
/// has. For callbacks, and for programs that write experience.
///
/// A view borrows the columns of its [`Rollout`]. The first `len_lookback` steps of a
/// [slice](Self::slice) are its *look-back*: steps before it that can be read and do not count. With two
/// steps of look-back and three of the episode:
///
/// ```text
///               look-back | episode
/// observations    o0  o1  | o2  o3  o4  o5
/// actions         a0  a1  | a2  a3  a4
/// rewards         r0  r1  | r2  r3  r4
/// extra outputs   x0  x1  | x2  x3  x4
/// time step               | t_started ... t
/// ```
///
/// Action `i` was chosen on observation `i` and led to reward `i` and observation `i + 1`. The last
/// observation has no action, or its action is in the next rollout.
///
/// ```
/// use burn::prelude::Device;
/// use rekindle_env_runner::{Amount, EnvRunnerConfig, SampleOptions, SingleAgentEnvRunner};
///
/// let config = EnvRunnerConfig::new("CartPole-v1");
/// let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex())?;
/// let rollout = runner.sample(Amount::Episodes(2), SampleOptions::random())?;
/// for episode in rollout.episodes() {
///     assert!(episode.is_terminated() && episode.t_started() == 0);
///     assert_eq!(episode.get_return(), episode.len() as f64);
///     let last = episode.observation(episode.len()).as_f32()?;
///     let angles = episode.get_observations(-3.., None)?;
///     assert_eq!(angles.as_f32()?[8..], *last);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EpisodeView<'a> {
    rollout: &'a Rollout,
    /// The number of the segment.
    index: usize,
    segment: &'a Segment,
    /// The first step of the segment that counts, and the one after the last.
    start: usize,
    end: usize,
    len_lookback: usize,
}

impl Rollout {
    /// Returns each segment as an episode, or as the part of one that the rollout has.
    #[must_use]
    pub fn episodes(&self) -> impl ExactSizeIterator<Item = EpisodeView<'_>> {
        self.segments.iter().enumerate().map(|(index, segment)| EpisodeView {
            rollout: self,
            index,
            segment,
            start: 0,
            end: segment.len,
            len_lookback: 0,
        })
    }
}

/// Identity and progress.
impl<'a> EpisodeView<'a> {
    /// Returns the number of the episode, which all parts of an episode share. It is counted over all
    /// environments of the runner.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.segment.episode
    }

    /// Returns the index of the environment within its runner.
    #[must_use]
    pub fn env(&self) -> usize {
        self.segment.env
    }

    /// Returns the agent; `None` in single-agent environments.
    #[must_use]
    pub fn agent_id(&self) -> Option<&'a AgentId> {
        self.segment.agent.as_ref()
    }

    /// Returns the number of steps after the look-back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are no steps after the look-back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of steps of the look-back.
    #[must_use]
    pub fn len_lookback(&self) -> usize {
        self.len_lookback
    }

    /// Returns the time step of the first observation after the look-back.
    #[must_use]
    pub fn t_started(&self) -> usize {
        self.segment.t_started + self.start
    }

    /// Returns the time step of the last observation: `t_started + len`.
    #[must_use]
    pub fn t(&self) -> usize {
        self.segment.t_started + self.end
    }

    /// Whether the last step led to a terminal state.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.ends(SegmentEnd::Terminated)
    }

    /// Whether the episode was truncated after the last step, for example by a time limit.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.ends(SegmentEnd::Truncated)
    }

    /// Whether the episode is terminated or truncated.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_terminated() || self.is_truncated()
    }

    fn ends(&self, end: SegmentEnd) -> bool {
        self.end == self.segment.len && self.segment.end == end
    }

    /// Returns the sum of the rewards after the look-back.
    #[must_use]
    pub fn get_return(&self) -> f64 {
        (0..self.len()).map(|step| f64::from(self.reward(step))).sum()
    }
}

/// Single steps, counted after the look-back, without a copy.
impl<'a> EpisodeView<'a> {
    /// Returns the observation before step `index`; after the last step for `index == len`. Reading it
    /// fails if there is none.
    #[must_use]
    pub fn observation(&self, index: usize) -> Row<'a> {
        match self.start.saturating_add(index) {
            step if step == self.segment.len => self.rollout.final_observations.row(self.index),
            step => self.rollout.observations.row(self.row(step)),
        }
    }

    /// Returns the action of step `index`. Reading it fails if there is none.
    #[must_use]
    pub fn action(&self, index: usize) -> Row<'a> {
        self.rollout.actions.row(self.row(self.start.saturating_add(index)))
    }

    /// Returns the reward of step `index`; NaN if there is none.
    #[must_use]
    pub fn reward(&self, index: usize) -> f32 {
        let row = self.row(self.start.saturating_add(index));
        self.rollout.rewards.get(row).copied().unwrap_or(f32::NAN)
    }

    /// Returns the row of a step of the segment in the columns of the rollout; one that does not exist
    /// for a step beyond the segment.
    fn row(&self, step: usize) -> usize {
        match step < self.segment.len {
            true => self.segment.start + step * self.segment.stride,
            false => usize::MAX,
        }
    }

    /// The steps of the segment that can be read, look-back included.
    fn steps(&self) -> Range<usize> {
        self.start - self.len_lookback..self.end
    }

    /// Their rows in the columns of the rollout.
    fn rows(&self) -> Vec<usize> {
        self.steps().map(|step| self.row(step)).collect()
    }

    /// Returns all observations, look-back included.
    fn all_observations(&self) -> Result<Buffer, EpisodeError> {
        let mut all = self.rollout.observations.gather(&self.rows())?;
        all.push(self.observation(self.len()))?;
        Ok(all)
    }
}
