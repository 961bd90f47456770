//! Stepping the environments.

use std::time::Instant;

use super::{Recorder, SingleAgentEnvRunner};
use crate::callbacks::{EpisodeHook, counts};
use crate::connectors::{ConnectorContext, LastStep, RewardContext, Slots, connect_actions};
use crate::env_runner::SampleOptions;
use crate::env_runner::checks::{ACTION_CONNECTOR, check_reward};
use crate::env_runner::restarts::Failures;
use crate::error::{Result, RunnerError};
use crate::experience::{EpisodeSummary, SegmentEnd};

impl SingleAgentEnvRunner {
    /// Steps the environments and ends the segments of finished episodes. Episodes that count are appended to `ended`.
    /// `inferred` is the time at which the module had chosen the actions.
    pub(super) fn step_envs(
        &mut self,
        options: SampleOptions,
        inferred: Instant,
        recorder: &mut Recorder,
        quota: &mut [usize],
        ended: &mut Vec<EpisodeSummary>,
    ) -> Result<()> {
        let random = options.random_actions;
        let mut actions = self.sampler.uniform();
        if !random {
            let (connectors, update) =
                (&mut self.module_to_env, self.base.config.update_connectors);
            let invalid = connect_actions(connectors, &self.sampler.actions, update)?;
            if let Some((index, value)) = invalid {
                let (env, origin) = (self.base.config.env.clone(), ACTION_CONNECTOR.into());
                return Err(RunnerError::InvalidAction { env, index, value, origin });
            }
            actions = self.module_to_env.last_output(&self.sampler.actions);
        }
        let connected = Instant::now();
        self.base.timers.module_to_env += connected - inferred;
        let failures = self.base.failures(self.env.step(actions, &mut self.step))?;
        self.base.timers.env += connected.elapsed();
        for (env, &reward) in self.step.rewards.iter().enumerate() {
            if !self.is_lost(env, &failures) {
                check_reward(&self.base.config.env, env, None, reward)?;
            }
        }
        self.rewards.copy_from_slice(&self.step.rewards);
        if self.env_to_module.transforms_rewards() {
            self.transform_rewards(&failures)?;
        }
        let (env, step) = (&self.env, &self.step);
        recorder.push_outcomes(&self.rewards, |index| match step.is_done(index) {
            true => env.final_info(index),
            false => env.info(index),
        });

        for (env, episode) in self.base.episodes.iter_mut().enumerate() {
            episode.t += 1;
            episode.episode_return += self.step.rewards[env];
            self.starts[env] = self.step.is_done(env);
        }
        if self.base.config.callbacks.is_some() {
            self.tell_steps(quota, &failures, random)?;
        }
        if self.starts.contains(&true) {
            self.end_episodes(random, recorder, quota, ended)?;
        }
        self.restart_envs(&failures, recorder)?;
        let starts = std::mem::take(&mut self.starts);
        let told = self.tell_starts(quota, |env| starts[env]);
        let observed = self.observe(Some(&starts));
        self.starts = starts;
        told.and(observed)
    }

    /// Whether an environment failed before its step, so that there is no outcome.
    fn is_lost(&self, env: usize, failures: &Failures) -> bool {
        failures.contains(env) && !self.step.is_done(env)
    }

    /// Passes the rewards of the last step through the connectors, without those of failed
    /// environments.
    fn transform_rewards(&mut self, failures: &Failures) -> Result<()> {
        // Episodes have not counted this step yet.
        for (start, episode) in self.starts.iter_mut().zip(&self.base.episodes) {
            *start = episode.t == 0;
        }
        let update = self.base.config.update_connectors;
        if failures.is_empty() {
            let cx = RewardContext { update, starts: &self.starts, slots: None };
            return self.env_to_module.transform_rewards(&mut self.rewards, cx);
        }
        let count = self.base.num_envs();
        let kept: Vec<_> = (0..count).filter(|&env| !self.is_lost(env, failures)).collect();
        let starts: Vec<_> = kept.iter().map(|&env| self.starts[env]).collect();
        let mut rewards: Vec<_> = kept.iter().map(|&env| self.rewards[env]).collect();
        let slots = Some(Slots { of_rows: &kept, count });
        let cx = RewardContext { update, starts: &starts, slots };
        self.env_to_module.transform_rewards(&mut rewards, cx)?;
        kept.iter().zip(rewards).for_each(|(&env, reward)| self.rewards[env] = reward);
        Ok(())
    }

    /// Begins new episodes in the environments that failed. The steps of their old episodes in this
    /// call do not count, unless the episode had ended.
    fn restart_envs(&mut self, failures: &Failures, recorder: &mut Recorder) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        for (env, failure) in failures.iter() {
            if !self.step.is_done(env) {
                recorder.discard(env, self.base.next_episode);
                self.start_episode(env)?;
            }
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.base.restarts.restart(&self.base.config.env, env, failure, reset)?;
            self.starts[env] = true;
        }
        self.base.timers.reset += started.elapsed();
        Ok(())
    }

    fn end_episodes(
        &mut self,
        random: bool,
        recorder: &mut Recorder,
        quota: &mut [usize],
        ended: &mut Vec<EpisodeSummary>,
    ) -> Result<()> {
        let started = Instant::now();
        // Final observations pass through the connectors without updating their statistics. Rows of
        // running episodes are stale and need not be elements of the space.
        let done: Vec<_> = (0..self.base.num_envs()).filter(|&e| self.step.is_done(e)).collect();
        let rewards: Vec<_> = done.iter().map(|&env| self.rewards[env]).collect();
        let step = LastStep {
            actions: &self.sampler.actions.gather(&done)?,
            rewards: &rewards,
            starts: &vec![false; done.len()],
            is_final: true,
            slots: Some(Slots { of_rows: &done, count: self.base.num_envs() }),
        };
        let finals = self.step.final_observations.gather(&done)?;
        let cx = ConnectorContext::after(step, false);
        let finals = self.env_to_module.transform(&finals, cx)?.clone();
        self.base.timers.env_to_module += started.elapsed();
        for (row, env) in done.into_iter().enumerate() {
            let end = if self.step.terminated[env] {
                SegmentEnd::Terminated
            } else {
                SegmentEnd::Truncated
            };
            if counts(quota, env) {
                ended.push(self.base.end_episode(env));
                let next = self.base.next_episode;
                recorder.end(env, end, finals.row(row), self.memory.as_ref(), next)?;
                if let Some(left) = quota.get_mut(env) {
                    *left -= 1;
                }
                self.tell(EpisodeHook::End, env, Some(random))?;
            } else {
                recorder.discard(env, self.base.next_episode);
            }
            self.base.restarts.delivered(env);
            self.start_episode(env)?;
        }
        Ok(())
    }
}
