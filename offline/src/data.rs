//! Recorded experience in memory.

use std::collections::BTreeMap;

use crate::check::check_rollout;
use crate::episodes::episode_of;
use crate::error::{OfflineError, Result};
use crate::fingerprint::Fingerprint;
use crate::source::{OfflineSource, Recorded};
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Rollout, Segment, SegmentEnd};

/// Recorded experience in memory. Each episode of a module is a part.
#[derive(Debug, Clone)]
pub struct OfflineData {
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    episodes: Vec<(ModuleId, Rollout)>,
    fingerprint: Fingerprint,
}

/// An episode of one agent.
///
/// # Shapes
/// `actions`: `[T, …]`; `rewards`: `[T]`; `observations`: `[T + 1, …]`, the last of which follows the last step.
#[derive(Debug, Clone)]
pub struct Episode {
    /// Observations, before each step and after the last one.
    pub observations: Buffer,
    /// Actions in the units of the module.
    pub actions: Buffer,
    /// Rewards.
    pub rewards: Vec<f32>,
    /// How the episode ends. Data that do not say so are [`SegmentEnd::Truncated`]: the value of the last observation
    /// counts.
    pub end: SegmentEnd,
}

/// Steps of one agent, one row each, in order of time within each episode.
///
/// # Shapes
/// All `[T, …]`.
#[derive(Debug, Clone)]
pub struct Transitions {
    /// Observations before the steps.
    pub observations: Buffer,
    /// Actions in the units of the module.
    pub actions: Buffer,
    /// Rewards.
    pub rewards: Vec<f32>,
    /// Observations after the steps.
    pub next_observations: Buffer,
    /// Whether the environment ended the episode with the step.
    pub terminateds: Vec<bool>,
    /// Whether something outside, such as a time limit, ended the episode with the step.
    pub truncateds: Vec<bool>,
}

impl OfflineData {
    /// Creates data of the default module, without episodes.
    #[must_use]
    pub fn new(observation_space: Space, action_space: Space) -> Self {
        Self::of_modules([(DEFAULT_MODULE_ID, (observation_space, action_space))])
    }

    /// Creates data of several modules with the spaces of their observations and actions, without episodes.
    #[must_use]
    pub fn of_modules<S: Into<ModuleId>>(
        spaces: impl IntoIterator<Item = (S, (Space, Space))>,
    ) -> Self {
        let spaces = spaces.into_iter().map(|(id, spaces)| (id.into(), spaces)).collect();
        Self { spaces, episodes: Vec::new(), fingerprint: Fingerprint::default() }
    }

    /// Returns the number of episodes, each of one agent.
    #[must_use]
    pub fn num_episodes(&self) -> usize {
        self.episodes.len()
    }

    /// Returns the episodes, each with the id of its module.
    pub fn episodes(&self) -> impl ExactSizeIterator<Item = (&ModuleId, &Rollout)> {
        self.episodes.iter().map(|(id, rollout)| (id, rollout))
    }

    /// Appends an episode of the default module.
    ///
    /// # Errors
    /// As [`push_rollout`](Self::push_rollout), and [`OfflineError::Rows`] for columns of other lengths.
    pub fn push_episode(&mut self, episode: Episode) -> Result<()> {
        let Episode { observations, actions, rewards, end } = episode;
        let (number, steps) = (self.episodes.len(), rewards.len());
        if steps == 0 {
            return Err(OfflineError::NoSteps { episode: number });
        }
        for (column, expected, found) in
            [("observations", steps + 1, observations.rows()), ("actions", steps, actions.rows())]
        {
            if found != expected {
                let column = column.into();
                return Err(OfflineError::Rows { episode: number, column, steps, expected, found });
            }
        }
        let last = observations.slice(steps..steps + 1)?;
        let observations = observations.slice(0..steps)?;
        let segments = vec![Segment::new(0..steps, end)];
        let rollout = Rollout::new(observations, actions, rewards, segments, last);
        self.push_rollout(DEFAULT_MODULE_ID, &rollout)
    }

    /// Appends episodes of the default module from one row per step. The steps after the last end form an episode
    /// that was cut off: the value of its last observation counts.
    ///
    /// # Errors
    /// As [`push_rollout`](Self::push_rollout), and [`OfflineError::Rows`] for columns of other lengths.
    pub fn push_transitions(&mut self, steps: Transitions) -> Result<()> {
        let count = steps.rewards.len();
        for (column, found) in [
            ("observations", steps.observations.rows()),
            ("actions", steps.actions.rows()),
            ("next_observations", steps.next_observations.rows()),
            ("terminateds", steps.terminateds.len()),
            ("truncateds", steps.truncateds.len()),
        ] {
            if found != count {
                let (episode, column) = (self.episodes.len(), column.into());
                return Err(OfflineError::Rows {
                    episode,
                    column,
                    steps: count,
                    expected: count,
                    found,
                });
            }
        }
        let mut segments = Vec::new();
        let mut start = 0;
        for row in 0..count {
            let end = match (steps.terminateds[row], steps.truncateds[row]) {
                (true, _) => SegmentEnd::Terminated,
                (_, true) => SegmentEnd::Truncated,
                _ if row + 1 == count => SegmentEnd::Truncated,
                _ => continue,
            };
            let episode = segments.len() as u64;
            segments.push(Segment::new(start..row + 1, end).with_episode(0, episode));
            start = row + 1;
        }
        let lasts: Vec<_> = segments.iter().map(|segment| segment.range().end - 1).collect();
        let finals = steps.next_observations.gather(&lasts)?;
        let Transitions { observations, actions, rewards, .. } = steps;
        let rollout = Rollout::new(observations, actions, rewards, segments, finals);
        self.push_rollout(DEFAULT_MODULE_ID, &rollout)
    }

    /// Appends everything that runners recorded.
    ///
    /// # Errors
    /// As [`push_rollout`](Self::push_rollout).
    pub fn push(&mut self, recorded: &Recorded) -> Result<()> {
        let all = recorded.iter().flat_map(|(id, of)| of.iter().map(move |rollout| (id, rollout)));
        all.into_iter().try_for_each(|(id, rollout)| self.push_rollout(id, rollout))
    }

    /// Appends the segments of a rollout of one module, each as an episode, with all recorded columns. A segment that
    /// was cut off ends like a truncated one.
    ///
    /// # Errors
    /// [`OfflineError::UnknownModule`]; [`OfflineError::OtherSpace`] and [`OfflineError::InvalidRow`] for rows that
    /// are not elements of the module's spaces. Nothing is appended then.
    pub fn push_rollout(&mut self, id: &str, rollout: &Rollout) -> Result<()> {
        let Some(spaces) = self.spaces.get(id) else {
            let known = self.spaces.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(OfflineError::UnknownModule { id: id.into(), known });
        };
        let mut episodes = Vec::with_capacity(rollout.segments.len());
        for index in (0..rollout.segments.len()).filter(|index| rollout.segments[*index].len > 0) {
            let number = self.episodes.len() + episodes.len();
            let mut episode = episode_of(rollout, index)?;
            for segment in &mut episode.segments {
                *segment = Segment::new(segment.range(), closed(segment.end))
                    .with_episode(0, number as u64)
                    .with_agent(segment.agent.clone());
            }
            episode.runner = 0;
            check_rollout(number, &episode, spaces)?;
            episodes.push((id.to_owned(), episode));
        }
        for (_, episode) in &episodes {
            self.fingerprint.add(id.as_bytes());
            self.fingerprint.add_rollout(episode);
        }
        self.episodes.append(&mut episodes);
        Ok(())
    }
}

/// A segment that was cut off ends like a truncated one.
fn closed(end: SegmentEnd) -> SegmentEnd {
    match end {
        SegmentEnd::Cut => SegmentEnd::Truncated,
        end => end,
    }
}

impl OfflineSource for OfflineData {
    fn module_spaces(&self) -> &BTreeMap<ModuleId, (Space, Space)> {
        &self.spaces
    }

    fn num_parts(&self) -> usize {
        self.episodes.len()
    }

    fn steps_of(&self, part: usize) -> usize {
        self.episodes.get(part).map_or(0, |(_, rollout)| rollout.rewards.len())
    }

    fn read(&self, part: usize) -> Result<Recorded> {
        let parts = self.episodes.len();
        let (id, rollout) =
            self.episodes.get(part).ok_or(OfflineError::UnknownPart { part, parts })?;
        Ok(Recorded::from([(id.clone(), vec![rollout.clone()])]))
    }

    fn is_in_memory(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.text()
    }
}

#[cfg(test)]
mod tests;
