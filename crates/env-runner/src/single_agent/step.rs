//! From actions to what comes of them.

use std::time::Instant;

use super::{EpisodeTracker, Recorder, SingleAgentEnvRunner, Timers};
use crate::connectors::{ConnectorContext, LastStep};
use crate::metrics::log_episode;
use crate::{EpisodeSummary, Result, SegmentEnd};

impl SingleAgentEnvRunner {
    /// Steps the environments and ends the segments of finished episodes.
    pub(super) fn step_envs(
        &mut self,
        recorder: &mut Recorder,
        quota: &mut [usize],
        whole_episodes: bool,
        timers: &mut Timers,
    ) -> Result<()> {
        let started = Instant::now();
        let actions =
            self.module_to_env.transform(&self.sampler.actions, ConnectorContext::rows(true))?;
        let connected = Instant::now();
        timers.module_to_env += connected - started;
        self.env.0.step(actions, &mut self.step)?;
        timers.env += connected.elapsed();
        recorder.push_rewards(&self.step.rewards);

        for (env, episode) in self.episodes.iter_mut().enumerate() {
            episode.t += 1;
            episode.episode_return += self.step.rewards[env];
            self.starts[env] = self.step.is_done(env);
        }
        if self.starts.contains(&true) {
            self.end_episodes(recorder, quota, whole_episodes, timers)?;
        }
        let starts = std::mem::take(&mut self.starts);
        let observed = self.observe(Some(&starts), timers);
        self.starts = starts;
        observed
    }

    fn end_episodes(
        &mut self,
        recorder: &mut Recorder,
        quota: &mut [usize],
        whole_episodes: bool,
        timers: &mut Timers,
    ) -> Result<()> {
        let started = Instant::now();
        // Final observations pass the connectors too, but teach them nothing.
        let running = vec![false; self.config.num_envs];
        let step = LastStep {
            actions: &self.sampler.actions,
            rewards: &self.step.rewards,
            starts: &running,
            is_final: true,
            slots: None,
        };
        let cx = ConnectorContext { update: false, step: Some(step) };
        let finals = self.env_to_module.transform(&self.step.final_observations, cx)?.clone();
        timers.env_to_module += started.elapsed();
        for env in 0..self.config.num_envs {
            if !self.step.is_done(env) {
                continue;
            }
            let wanted = !whole_episodes || quota.get(env).is_some_and(|&q| q > 0);
            let end = if self.step.terminated[env] {
                SegmentEnd::Terminated
            } else {
                SegmentEnd::Truncated
            };
            if wanted {
                let EpisodeTracker { episode_return, t, .. } = self.episodes[env];
                let episode = EpisodeSummary { episode_return, len: t };
                log_episode(&mut self.metrics, &episode)?;
                self.finished.push(episode);
                recorder.end(env, end, &finals, self.memory.as_ref(), self.next_episode)?;
                if let Some(left) = quota.get_mut(env) {
                    *left -= 1;
                }
            }
            self.start_episode(env)?;
        }
        Ok(())
    }
}
