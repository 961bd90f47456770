//! Stepping the environments and recording the outcomes.

use std::time::Instant;

use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, Info};

use super::fragment::Fragment;
use super::stream::{At, EndedSegment};
use super::{Counters, MultiAgentEnvRunner};
use crate::callbacks::counts;
use crate::env_runner::checks::check_reward;
use crate::env_runner::restarts::Failures;
use crate::error::Result;
use crate::experience::SegmentEnd;

impl MultiAgentEnvRunner {
    /// Steps the environments and records the outcomes in the episodes that count. Returns the
    /// failures that are tolerated.
    pub(super) fn step_envs(
        &mut self,
        quota: &[usize],
        fragment: &mut Fragment,
        counters: &mut Counters,
    ) -> Result<Failures> {
        let started = Instant::now();
        let failures = self.base.failures(self.env.step(&self.actions, &mut self.step))?;
        self.base.timers.env += started.elapsed();
        for env in 0..self.base.num_envs() {
            // A failed step yields no data.
            if failures.contains(env) && !self.step.is_done(env) {
                continue;
            }
            self.base.episodes[env].t += 1;
            let mut info = None;
            for agent in 0..self.agents.len() {
                if let Some((module, segment)) = self.settle(env, agent, &mut info, counters)?
                    && counts(quota, env)
                {
                    fragment.push(&module, segment);
                }
            }
        }
        Ok(failures)
    }

    /// Begins new episodes in the environments that failed. The steps of their old episodes in this
    /// call do not count, unless the episode had ended.
    pub(super) fn restart_envs(
        &mut self,
        failures: &Failures,
        fragment: &mut Fragment,
        counters: &mut Counters,
    ) -> Result<()> {
        let started = Instant::now();
        for (env, failure) in failures.iter() {
            if !self.step.is_done(env) {
                let episode = self.base.episodes[env];
                let agents = self.agents.len();
                let open = &self.streams[env * agents..(env + 1) * agents];
                let open: usize = open.iter().flatten().map(|stream| stream.steps()).sum();
                let ended = fragment.retain(|segment| segment.episode != episode.id);
                counters.agent_steps -= (open + ended).min(counters.agent_steps);
                // The failed step and the earlier steps of the episode in this call.
                counters.lost_env_steps += 1 + episode.t.min(counters.vector_steps);
                self.start_episode(env);
            }
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.base.restarts.restart(&self.base.config.env, env, failure, reset)?;
        }
        self.base.timers.reset += started.elapsed();
        Ok(())
    }

    /// Records the outcome of a step for one agent. Returns its segment with the module if its part
    /// of the episode ended. `info` is that of the environment, once it is read.
    fn settle(
        &mut self,
        env: usize,
        agent: usize,
        info: &mut Option<Info>,
        counters: &mut Counters,
    ) -> Result<Option<(ModuleId, EndedSegment)>> {
        let Some(outcome) = self.step.outcome(env) else { return Ok(None) };
        let slot = env * self.agents.len() + agent;
        let (id, reward) = (&self.base.config.env, outcome.reward(agent));
        let name = || Some(self.agents[agent].id.as_str());
        check_reward(id, env, name(), reward)?;
        self.base.episodes[env].episode_return += reward;
        let (Some(stream), Some(player)) = (&mut self.streams[slot], &mut self.players[slot])
        else {
            return Ok(None);
        };
        player.episode_return += reward;
        stream.pay(reward);
        let ends = outcome.is_agent_done(agent);
        if outcome.observed(agent) || ends {
            let (starts, update) = (stream.is_first_step(), self.base.config.update_connectors);
            let slots = [slot, self.base.action_rngs.len()];
            let lane = self.lanes.get_mut(&stream.module);
            // Rewards that are finite one by one can add up to more than single precision holds.
            let connect = |sum| {
                check_reward(id, env, name(), sum)?;
                match lane {
                    Some(lane) => lane.transform_reward(sum, starts, update, slots),
                    None => Ok(sum),
                }
            };
            let read = || match self.step.is_done(env) {
                true => self.env.final_info(env),
                false => self.env.info(env),
            };
            let of_agent = || info_of(&self.agents, agent, info.get_or_insert_with(read));
            if stream.complete(connect, of_agent)? {
                counters.agent_steps += 1;
                (counters.idle_steps, counters.idle_episode) = (0, false);
            }
        }
        if !ends {
            return Ok(None);
        }
        let end = match outcome.terminated(agent) {
            true => SegmentEnd::Terminated,
            false => SegmentEnd::Truncated,
        };
        let Some(mut stream) = self.streams[slot].take() else { return Ok(None) };
        // An agent that ends without a new observation keeps its last one.
        let Some(observation) = outcome.last_observation(agent) else { return Ok(None) };
        let Some(lane) = self.lanes.get_mut(&stream.module) else { return Ok(None) };
        let at = At { env, agent, episode: self.base.episodes[env].id };
        let slots = self.streams.len();
        let segment = stream.end_segment(at, end, |stream| {
            Ok((lane.peek(slot, slots, observation, stream)?, stream.state.clone()))
        })?;
        Ok(Some((stream.module, segment)))
    }

    /// Ends the segments of all agents, whose episodes continue in the next call. An action without
    /// an outcome stays open.
    pub(super) fn cut(&mut self, fragment: &mut Fragment) -> Result<()> {
        let slots = self.streams.len();
        for slot in 0..slots {
            let Some(stream) = self.streams[slot].as_mut().filter(|s| s.steps() > 0) else {
                continue;
            };
            let (env, agent) = (slot / self.agents.len(), slot % self.agents.len());
            let (Some(current), Some(lane)) =
                (self.step.current().get(env), self.lanes.get_mut(&stream.module))
            else {
                continue;
            };
            let Some(observation) = current.last_observation(agent) else { continue };
            let at = At { env, agent, episode: self.base.episodes[env].id };
            let segment = stream.end_segment(at, SegmentEnd::Cut, |stream| {
                if let Some((columns, row)) = stream.open_row() {
                    let at = row..row + 1;
                    let state = columns.state_in.as_ref().map(|states| states.slice(at.clone()));
                    return Ok((columns.copy_observations(at)?, state.transpose()?));
                }
                Ok((lane.peek(slot, slots, observation, stream)?, stream.state.clone()))
            })?;
            fragment.push(&stream.module, segment);
        }
        Ok(())
    }
}

/// Returns the numbers of an environment that concern an agent: those of no agent, and its own without its
/// name. A name that begins with the names of several agents, such as `a` and `a.b`, belongs to the longest.
fn info_of(agents: &[AgentSpec], agent: usize, info: &Info) -> Info {
    let numbers = info.iter().filter_map(|(name, number)| {
        let named = agents.iter().enumerate().filter_map(|(index, agent)| {
            let rest = name.strip_prefix(agent.id.as_str())?.strip_prefix('.')?;
            Some((index, rest))
        });
        let of_agent = named.min_by_key(|(_, rest)| rest.len());
        match of_agent {
            Some((index, rest)) if index == agent => Some((rest.to_owned(), *number)),
            Some(_) => None,
            None => Some((name.clone(), *number)),
        }
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use rekindle_env::Space;

    use super::*;

    #[test]
    fn an_info_belongs_to_the_agent_with_the_longest_name_that_it_begins_with() {
        let spec =
            |id| AgentSpec::new(id, Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap());
        let agents = ["a", "a.b", "c"].map(spec);
        let names = ["t", "a.x", "a.b.x", "a.b", "ab.x", "c.d.e"];
        let info: Info =
            names.iter().zip(1..).map(|(name, i)| ((*name).into(), f64::from(i))).collect();
        let of = |agent| info_of(&agents, agent, &info).into_iter().collect::<Vec<_>>();
        let common = |own: &[(&str, f64)]| {
            let mut all = vec![("ab.x".to_owned(), 5.0), ("t".into(), 1.0)];
            all.extend(own.iter().map(|(name, number)| ((*name).into(), *number)));
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        assert_eq!(of(0), common(&[("x", 2.0), ("b", 4.0)]));
        assert_eq!(of(1), common(&[("x", 3.0)]));
        assert_eq!(of(2), common(&[("d.e", 6.0)]));
    }
}
