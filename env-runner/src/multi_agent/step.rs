//! What the agents' actions lead to.

use std::time::Instant;

use super::MultiAgentEnvRunner;
use super::fragment::Fragment;
use super::stream::EndedSegment;
use crate::metrics::log_agent_episode;
use crate::restarts::{Failures, restartable};
use crate::{Result, SegmentEnd};

impl MultiAgentEnvRunner {
    /// Steps the environments and books what comes of it.
    /// Returns what failed.
    pub(super) fn step_envs(&mut self, fragment: &mut Fragment) -> Result<Failures> {
        let started = Instant::now();
        let failures = match self.env.step(&self.actions, &mut self.step) {
            Ok(()) => Failures::default(),
            Err(error) => restartable(self.restarts_envs(), error)?,
        };
        self.timers.env += started.elapsed();
        for env in 0..self.config.num_envs {
            // Of a step that failed nothing is known.
            if failures.contains(env) && !self.step.is_done(env) {
                continue;
            }
            self.episodes[env].t += 1;
            if self.config.callbacks.is_some() {
                self.note_players(env);
            }
            for agent in 0..self.agents.len() {
                self.settle(env, agent, fragment)?;
            }
        }
        Ok(failures)
    }

    /// Begins new episodes in the environments that failed; what their old ones brought in this
    /// call does not count, unless they had ended. Returns the steps that do not count; `step` is
    /// how many were done in this call before.
    pub(super) fn restart_envs(
        &mut self,
        failures: &Failures,
        fragment: &mut Fragment,
        step: usize,
    ) -> Result<usize> {
        let started = Instant::now();
        let mut lost_steps = 0;
        for (env, failure) in failures.iter() {
            if !self.step.is_done(env) {
                let episode = self.episodes[env];
                fragment.retain(|segment| segment.episode != episode.id);
                // The step that failed, and those of this call that the episode had lasted.
                lost_steps += 1 + episode.t.min(step);
                self.start_episode(env);
            }
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.restarts.restart(env, failure, reset)?;
        }
        self.timers.reset += started.elapsed();
        Ok(lost_steps)
    }

    /// Books what a step brought to one agent.
    fn settle(&mut self, env: usize, agent: usize, fragment: &mut Fragment) -> Result<()> {
        let Some(outcome) = self.step.outcome(env) else { return Ok(()) };
        let slot = env * self.agents.len() + agent;
        self.episodes[env].episode_return += outcome.reward(agent);
        let Some(stream) = &mut self.streams[slot] else { return Ok(()) };
        stream.pay(outcome.reward(agent));
        let ends = outcome.is_agent_done(agent);
        if outcome.observed(agent) || ends {
            let (starts, update) = (stream.is_first_step(), self.config.update_connectors);
            let slots = [slot, self.action_rngs.len()];
            let lane = match self.config.env_to_module.is_empty() {
                true => None,
                false => self.lanes.get_mut(&stream.module),
            };
            stream.complete(|reward| match lane {
                Some(lane) => lane.transform_reward(reward, starts, update, slots),
                None => Ok(reward),
            })?;
        }
        if !ends {
            return Ok(());
        }
        let end = match outcome.terminated(agent) {
            true => SegmentEnd::Terminated,
            false => SegmentEnd::Truncated,
        };
        // Of an agent that ends unseen, what it saw last stands.
        let Some(observation) = outcome.last_observation(agent) else { return Ok(()) };
        let Some(mut stream) = self.streams[slot].take() else { return Ok(()) };
        let Some(lane) = self.lanes.get_mut(&stream.module) else { return Ok(()) };
        let final_observation = lane.peek(slot, self.action_rngs.len(), observation, &stream)?;
        let (module, t_started) = (stream.module.clone(), stream.t_started);
        let episode_return = stream.episode_return;
        let segment = EndedSegment {
            env,
            agent,
            episode: self.episodes[env].id,
            t_started,
            end,
            columns: stream.take_columns()?,
            final_observation,
            final_state: stream.state.take(),
        };
        fragment.push(&module, segment);
        let window = self.config.metrics_num_episodes_for_smoothing;
        let agent = &self.agents[agent].id;
        log_agent_episode(&mut self.metrics, agent, &module, episode_return, window)
    }

    /// Ends the segments of all agents: their episodes go on in the next call. An action that waits
    /// for its outcome waits on.
    pub(super) fn cut(&mut self, fragment: &mut Fragment) -> Result<()> {
        let slots = self.streams.len();
        for slot in 0..slots {
            let Some(stream) = &mut self.streams[slot] else { continue };
            if stream.columns.steps() == 0 {
                continue;
            }
            let (env, agent) = (slot / self.agents.len(), slot % self.agents.len());
            let last = stream.columns.observations.rows() - 1;
            let (final_observation, final_state) = if stream.columns.is_pending() {
                let states = stream.columns.state_in.as_ref();
                let state = states.map(|states| states.slice(last..last + 1)).transpose()?;
                (stream.columns.observations.slice(last..last + 1)?, state)
            } else {
                let current = self.step.current().get(env);
                let observation = current.and_then(|current| current.last_observation(agent));
                let (Some(observation), Some(lane)) =
                    (observation, self.lanes.get_mut(&stream.module))
                else {
                    continue;
                };
                (lane.peek(slot, slots, observation, stream)?, stream.state.clone())
            };
            let segment = EndedSegment {
                env,
                agent,
                episode: self.episodes[env].id,
                t_started: stream.t_started,
                end: SegmentEnd::Cut,
                columns: stream.take_columns()?,
                final_observation,
                final_state,
            };
            fragment.push(&stream.module, segment);
        }
        Ok(())
    }
}
