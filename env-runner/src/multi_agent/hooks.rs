//! Callbacks and metrics of the multi-agent runner.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;
use serde::{Deserialize, Serialize};

use super::MultiAgentEnvRunner;
use super::fragment::Fragment;
use crate::callbacks::{AgentStep, EpisodeHook, VectorEnvRef, counts};
use crate::env_runner::base::Told;
use crate::env_runner::metrics::{log_agent_return, log_agent_steps, log_module_return};
use crate::env_runner::restarts::Failures;
use crate::error::Result;
use crate::experience::EpisodeSummary;

/// An agent that acted in the running episode. It stays until the episode ends, even if the agent's
/// own part ends before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Player {
    module: ModuleId,
    /// Sum of its rewards from its first action on.
    pub(super) episode_return: f64,
}

impl Player {
    pub(super) fn new(module: ModuleId) -> Self {
        Self { module, episode_return: 0.0 }
    }
}

impl MultiAgentEnvRunner {
    /// Reports the episodes that began in these environments, and clears `began`.
    pub(super) fn tell_starts(&mut self, quota: &[usize], began: &mut [bool]) -> Result<()> {
        if !self.base.config.callbacks.is_some() {
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

    /// Reports a step of all environments except those that failed, whose episodes are lost.
    pub(super) fn tell_steps(&mut self, quota: &[usize], failures: &Failures) -> Result<()> {
        if !self.base.config.callbacks.is_some() {
            return Ok(());
        }
        for env in (0..self.base.num_envs()).filter(|&env| counts(quota, env)) {
            if self.step.is_done(env) || !failures.contains(env) {
                self.tell(EpisodeHook::Step, env)?;
            }
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, hook: EpisodeHook, env: usize) -> Result<()> {
        if !self.base.config.callbacks.is_some() {
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
        let told = Told {
            agents: &agents,
            terminated: stepped && seen.is_some_and(|step| step.all_terminated()),
            truncated: stepped && seen.is_some_and(|step| step.all_truncated()),
        };
        self.base.tell_episode(hook, VectorEnvRef::MultiAgent(&*self.env), env, told)
    }

    /// Counts the finished episode of an environment, and logs the returns of its agents and modules.
    pub(super) fn log_episode(&mut self, env: usize) -> Result<EpisodeSummary> {
        let episode = self.base.end_episode(env);
        let window = self.base.config.metrics_num_episodes_for_smoothing;
        let metrics = &mut self.base.metrics;
        let n = self.agents.len();
        let players = self.agents.iter().zip(&self.players[env * n..(env + 1) * n]);
        let mut modules: BTreeMap<&str, f64> = BTreeMap::new();
        for (agent, player) in players {
            let Some(player) = player else { continue };
            log_agent_return(metrics, &agent.id, player.episode_return, window)?;
            *modules.entry(&player.module).or_default() += player.episode_return;
        }
        for (module, value) in modules {
            log_module_return(metrics, module, value, window)?;
        }
        Ok(episode)
    }

    /// Logs the steps that a call collected and the time of its parts.
    pub(super) fn log(&mut self, env_steps: usize, fragment: &Fragment) -> Result<()> {
        for ((agent, module), steps) in fragment.agent_steps() {
            let Some(agent) = self.agents.get(agent) else { continue };
            log_agent_steps(&mut self.base.metrics, &agent.id, module, steps)?;
        }
        self.base.log_call(env_steps, self.weights_seq_no)
    }
}
