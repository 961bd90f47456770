//! Returns, lengths and durations of episodes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{load_nested, save_nested};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, Info, ResetOptions, Step};
use crate::error::Result;
use crate::render::Frame;
use crate::spaces::Space;

/// The statistics of a finished episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpisodeStatistics {
    /// The undiscounted sum of rewards.
    pub episode_return: f64,
    /// The number of steps.
    pub length: usize,
    /// The duration in seconds.
    pub seconds: f64,
}

/// Records the statistics of the last finished episodes.
///
/// [`info`](Env::info) has the statistics of the most recent episode as `episode.r` (return),
/// `episode.l` (length in steps) and `episode.t` (seconds), until the next episode ends.
#[derive(Clone, Debug)]
pub struct RecordEpisodeStatistics<E> {
    env: E,
    capacity: usize,
    started: Instant,
    record: Record,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    episode_return: f64,
    length: usize,
    /// The duration of the episode before its state was restored.
    earlier: Duration,
    finished: VecDeque<EpisodeStatistics>,
}

impl<E: Env> RecordEpisodeStatistics<E> {
    /// Wraps `env` and records its last 100 episodes.
    #[must_use]
    pub fn new(env: E) -> Self {
        Self::with_capacity(env, 100)
    }

    /// Wraps `env` and records its last `capacity` episodes; 0 counts as 1.
    #[must_use]
    pub fn with_capacity(env: E, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { env, capacity, started: Instant::now(), record: Record::default() }
    }

    /// Returns the last finished episodes, oldest first.
    #[must_use]
    pub fn episodes(&self) -> &VecDeque<EpisodeStatistics> {
        &self.record.finished
    }

    fn elapsed(&self) -> Duration {
        self.record.earlier + self.started.elapsed()
    }
}

impl<E: Env> Env for RecordEpisodeStatistics<E> {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.env.reset(options, observation)?;
        let finished = std::mem::take(&mut self.record.finished);
        self.record = Record { finished, ..Record::default() };
        self.started = Instant::now();
        Ok(())
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let step = self.env.step(action, observation)?;
        self.record.episode_return += step.reward;
        self.record.length += 1;
        if step.is_done() {
            if self.record.finished.len() >= self.capacity {
                self.record.finished.pop_front();
            }
            self.record.finished.push_back(EpisodeStatistics {
                episode_return: self.record.episode_return,
                length: self.record.length,
                seconds: self.elapsed().as_secs_f64(),
            });
        }
        Ok(step)
    }

    fn info(&self) -> Info {
        let mut info = self.env.info();
        if let Some(episode) = self.record.finished.back() {
            info.insert("episode.r".to_owned(), episode.episode_return);
            info.insert("episode.l".to_owned(), episode.length as f64);
            info.insert("episode.t".to_owned(), episode.seconds);
        }
        info
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        save_nested(&Record { earlier: self.elapsed(), ..self.record.clone() }, &self.env)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.record = load_nested(&mut self.env, state)?;
        self.started = Instant::now();
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
