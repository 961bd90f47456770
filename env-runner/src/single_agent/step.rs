//! From actions to what comes of them.

use std::time::Instant;

use super::{Recorder, SingleAgentEnvRunner, Timers};
use crate::callbacks::{EpisodeHook, counts};
use crate::connectors::{ConnectorContext, LastStep, RewardContext, Slots};
use crate::restarts::{Failures, restartable};
use crate::{Result, SegmentEnd};

impl SingleAgentEnvRunner {
    /// Steps the environments and ends the segments of finished episodes.
    pub(super) fn step_envs(
        &mut self,
        recorder: &mut Recorder,
        quota: &mut [usize],
        timers: &mut Timers,
    ) -> Result<()> {
        let started = Instant::now();
        let actions =
            self.module_to_env.transform(&self.sampler.actions, ConnectorContext::rows(true))?;
        let connected = Instant::now();
        timers.module_to_env += connected - started;
        let failures = match self.env.0.step(actions, &mut self.step) {
            Ok(()) => Failures::default(),
            Err(error) => restartable(self.restarts_envs(), error)?,
        };
        timers.env += connected.elapsed();
        self.rewards.copy_from_slice(&self.step.rewards);
        if self.env_to_module.transforms_rewards() {
            // Episodes have not counted this step yet.
            for (start, episode) in self.starts.iter_mut().zip(&self.episodes) {
                *start = episode.t == 0;
            }
            let cx = RewardContext {
                update: self.config.update_connectors,
                starts: &self.starts,
                slots: None,
            };
            self.env_to_module.transform_rewards(&mut self.rewards, cx)?;
        }
        recorder.push_rewards(&self.rewards);

        for (env, episode) in self.episodes.iter_mut().enumerate() {
            episode.t += 1;
            episode.episode_return += self.step.rewards[env];
            self.starts[env] = self.step.is_done(env);
        }
        if self.config.callbacks.is_some() {
            self.tell_steps(quota, &failures)?;
        }
        if self.starts.contains(&true) {
            self.end_episodes(recorder, quota, timers)?;
        }
        self.restart_envs(&failures, recorder, timers)?;
        let starts = std::mem::take(&mut self.starts);
        let told = self.tell_starts(quota, |env| starts[env]);
        let observed = self.observe(Some(&starts), timers);
        self.starts = starts;
        told.and(observed)
    }

    /// Begins new episodes in the environments that failed; what their old ones brought in this
    /// call does not count, unless they had ended.
    fn restart_envs(
        &mut self,
        failures: &Failures,
        recorder: &mut Recorder,
        timers: &mut Timers,
    ) -> Result<()> {
        let started = Instant::now();
        for (env, failure) in failures.iter() {
            if !self.step.is_done(env) {
                recorder.discard(env, self.next_episode);
                self.start_episode(env)?;
            }
            let reset = |seed| self.env.0.reset_one(env, Some(seed), &mut self.step);
            self.restarts.restart(env, failure, reset)?;
            self.starts[env] = true;
        }
        timers.reset += started.elapsed();
        Ok(())
    }

    fn end_episodes(
        &mut self,
        recorder: &mut Recorder,
        quota: &mut [usize],
        timers: &mut Timers,
    ) -> Result<()> {
        let started = Instant::now();
        // Final observations pass the connectors too, but teach them nothing. Those of running
        // episodes are stale and need not be elements of the space.
        let ended: Vec<_> = (0..self.config.num_envs).filter(|&e| self.step.is_done(e)).collect();
        let rewards: Vec<_> = ended.iter().map(|&env| self.rewards[env]).collect();
        let step = LastStep {
            actions: &self.sampler.actions.gather(&ended)?,
            rewards: &rewards,
            starts: &vec![false; ended.len()],
            is_final: true,
            slots: Some(Slots { of_rows: &ended, count: self.config.num_envs }),
        };
        let finals = self.step.final_observations.gather(&ended)?;
        let cx = ConnectorContext::after(step, false);
        let finals = self.env_to_module.transform(&finals, cx)?.clone();
        timers.env_to_module += started.elapsed();
        for (row, env) in ended.into_iter().enumerate() {
            let end = if self.step.terminated[env] {
                SegmentEnd::Terminated
            } else {
                SegmentEnd::Truncated
            };
            if counts(quota, env) {
                self.log_episode(env)?;
                recorder.end(env, end, finals.row(row), self.memory.as_ref(), self.next_episode)?;
                if let Some(left) = quota.get_mut(env) {
                    *left -= 1;
                }
                self.tell(EpisodeHook::End, env)?;
            }
            self.restarts.delivered(env);
            self.start_episode(env)?;
        }
        Ok(())
    }
}
