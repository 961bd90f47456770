//! Callbacks and metrics of the single-agent runner.

use rekindle_core::DEFAULT_MODULE_ID;

use super::SingleAgentEnvRunner;
use crate::callbacks::{AgentStep, EpisodeHook, VectorEnvRef, counts};
use crate::env_runner::base::Told;
use crate::env_runner::metrics::{DEFAULT_AGENT_ID, log_agent_steps};
use crate::env_runner::restarts::Failures;
use crate::error::Result;

impl SingleAgentEnvRunner {
    /// Reports the episodes that began in these environments.
    pub(super) fn tell_starts(
        &mut self,
        quota: &[usize],
        began: impl Fn(usize) -> bool,
    ) -> Result<()> {
        if !self.base.config.callbacks.is_some() {
            return Ok(());
        }
        for env in (0..self.base.num_envs()).filter(|&env| began(env) && counts(quota, env)) {
            self.tell(EpisodeHook::Created, env, None)?;
            self.tell(EpisodeHook::Start, env, None)?;
        }
        Ok(())
    }

    /// Reports a step of all environments except those that failed, whose episodes are lost.
    pub(super) fn tell_steps(
        &mut self,
        quota: &[usize],
        failures: &Failures,
        random: bool,
    ) -> Result<()> {
        for env in (0..self.base.num_envs()).filter(|&env| counts(quota, env)) {
            if self.step.is_done(env) || !failures.contains(env) {
                self.tell(EpisodeHook::Step, env, Some(random))?;
            }
        }
        Ok(())
    }

    /// Calls a hook; `random` says, after a step, whether its actions were random.
    pub(super) fn tell(
        &mut self,
        hook: EpisodeHook,
        env: usize,
        random: Option<bool>,
    ) -> Result<()> {
        if !self.base.config.callbacks.is_some() {
            return Ok(());
        }
        let stepped = random.is_some();
        let observations = match stepped && self.step.is_done(env) {
            true => &self.step.final_observations,
            false => &self.step.observations,
        };
        let received = match random {
            Some(true) => self.sampler.uniform(),
            _ => self.module_to_env.last_output(&self.sampler.actions),
        };
        let agent = AgentStep {
            agent: None,
            module: Some(DEFAULT_MODULE_ID),
            action: stepped.then(|| received.row(env)),
            observation: Some(observations.row(env)),
            reward: if stepped { self.step.rewards[env] } else { 0.0 },
            episode_return: self.base.episodes[env].episode_return,
        };
        let seen = hook != EpisodeHook::Created;
        let told = Told {
            agents: if seen { std::slice::from_ref(&agent) } else { &[] },
            terminated: stepped && self.step.terminated[env],
            truncated: stepped && self.step.truncated[env],
        };
        self.base.tell_episode(hook, VectorEnvRef::Single(&*self.env), env, told)
    }

    /// Logs the episodes and steps that a call collected and the time of its parts.
    pub(super) fn log(&mut self, env_steps: usize, weights_seq_no: u64) -> Result<()> {
        self.base.log_default_returns()?;
        log_agent_steps(&mut self.base.metrics, DEFAULT_AGENT_ID, DEFAULT_MODULE_ID, env_steps)?;
        self.base.log_call(env_steps, weights_seq_no)
    }
}
