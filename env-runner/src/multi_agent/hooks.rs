//! What others are told: callbacks and metrics.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;
use rekindle_metrics::Reducer;

use super::{EpisodeTracker, MultiAgentEnvRunner};
use crate::callbacks::{EpisodeHook, counts};
use crate::metrics::{log_agent_steps, log_env_steps, log_episode};
use crate::restarts::Failures;
use crate::{
    AgentStep, EnvironmentEvent, EpisodeEvent, Experience, Result, SampleEvent, VectorEnvRef,
};

/// An agent as callbacks know it: until the end of the episode, even if its own comes before.
#[derive(Debug, Clone)]
pub(super) struct Player {
    module: ModuleId,
    episode_return: f64,
}

impl MultiAgentEnvRunner {
    pub(super) fn tell_environment_created(&mut self) -> Result<()> {
        self.config.callbacks.environment_created(&mut EnvironmentEvent {
            runner: self.index,
            in_evaluation: self.config.in_evaluation,
            env: VectorEnvRef::MultiAgent(&*self.env),
            env_config: &self.config.env_config,
            metrics: &mut self.metrics,
        })
    }

    /// Episodes began in these environments; clears what it told of.
    pub(super) fn tell_starts(&mut self, quota: &[usize], began: &mut [bool]) -> Result<()> {
        if !self.config.callbacks.is_some() {
            return Ok(());
        }
        for (env, began) in began.iter_mut().enumerate() {
            if std::mem::take(began) && counts(quota, env) {
                self.tell(EpisodeHook::Created, env)?;
                self.tell(EpisodeHook::Start, env)?;
            }
        }
        Ok(())
    }

    /// All environments made a step, but those that failed in it: their episodes are lost.
    pub(super) fn tell_steps(&mut self, quota: &[usize], failures: &Failures) -> Result<()> {
        for env in (0..self.config.num_envs).filter(|&env| counts(quota, env)) {
            if self.step.is_done(env) || !failures.contains(env) {
                self.tell(EpisodeHook::Step, env)?;
            }
        }
        Ok(())
    }

    /// Takes down who plays with what, after a step and before agents that ended are forgotten.
    pub(super) fn note_players(&mut self, env: usize) {
        let Some(outcome) = self.step.outcome(env) else { return };
        for agent in 0..self.agents.len() {
            let slot = env * self.agents.len() + agent;
            let Some(stream) = &self.streams[slot] else { continue };
            let episode_return = stream.episode_return + outcome.reward(agent);
            match &mut self.players[slot] {
                Some(player) => player.episode_return = episode_return,
                none => *none = Some(Player { module: stream.module.clone(), episode_return }),
            }
        }
    }

    pub(super) fn tell(&mut self, hook: EpisodeHook, env: usize) -> Result<()> {
        if !self.config.callbacks.is_some() {
            return Ok(());
        }
        let stepped = matches!(hook, EpisodeHook::Step | EpisodeHook::End);
        let seen = if stepped { self.step.outcome(env) } else { self.step.current().get(env) };
        let seen = seen.filter(|_| hook != EpisodeHook::Created);
        let agents = self.agents.iter().enumerate().filter_map(|(agent, spec)| {
            let (seen, player) = (seen?, &self.players[env * self.agents.len() + agent]);
            let observation = seen.observation(agent);
            let takes_part = player.is_some() || observation.is_some();
            takes_part.then(|| AgentStep {
                agent: Some(&spec.id),
                module: player.as_ref().map(|player| player.module.as_str()),
                action: self.actions[env].action(agent).filter(|_| stepped),
                observation,
                reward: if stepped { seen.reward(agent) } else { 0.0 },
                episode_return: player.as_ref().map_or(0.0, |player| player.episode_return),
            })
        });
        let agents: Vec<_> = agents.collect();
        let EpisodeTracker { id, t, episode_return } = self.episodes[env];
        self.config.callbacks.episode(
            hook,
            &mut EpisodeEvent {
                runner: self.index,
                in_evaluation: self.config.in_evaluation,
                env: VectorEnvRef::MultiAgent(&*self.env),
                env_index: env,
                episode: id,
                step: t,
                episode_return,
                terminated: stepped && seen.is_some_and(|step| step.all_terminated()),
                truncated: stepped && seen.is_some_and(|step| step.all_truncated()),
                agents: &agents,
                metrics: &mut self.metrics,
            },
        )
    }

    pub(super) fn tell_sample_end(&mut self, experience: &Experience) -> Result<()> {
        self.config.callbacks.sample_end(&mut SampleEvent {
            runner: self.index,
            in_evaluation: self.config.in_evaluation,
            experience,
            metrics: &mut self.metrics,
        })
    }

    /// Logs the episode of an environment, which ended and counts.
    pub(super) fn log_episode(&mut self, env: usize) -> Result<()> {
        let episode = self.episodes[env].summary();
        let window = self.config.metrics_num_episodes_for_smoothing;
        log_episode(&mut self.metrics, &episode, self.began[env].elapsed(), window)
    }

    /// Logs what a call collected and where its time went.
    pub(super) fn log(&mut self, experience: &Experience) -> Result<()> {
        let metrics = &mut self.metrics;
        log_env_steps(metrics, experience.env_steps)?;
        let mut steps: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (id, rollouts) in &experience.rollouts {
            for segment in rollouts.iter().flat_map(|rollout| &rollout.segments) {
                let agent = segment.agent.as_deref().unwrap_or_default();
                *steps.entry((agent, id)).or_default() += segment.len;
            }
        }
        for ((agent, module), steps) in steps {
            log_agent_steps(metrics, agent, module, steps)?;
        }
        metrics.log_value("weights_seq_no", self.weights_seq_no as f64, Reducer::Item)?;
        if self.config.fault_tolerance.restart_failed_sub_environments {
            self.restarts.log(metrics)?;
        }
        self.timers.log(metrics)
    }
}
