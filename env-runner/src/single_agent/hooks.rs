//! What others are told: callbacks and metrics.

use rekindle_core::DEFAULT_MODULE_ID;
use rekindle_metrics::Reducer;

use super::{EpisodeTracker, SingleAgentEnvRunner, Timers};
use crate::callbacks::{EpisodeHook, counts};
use crate::metrics::{
    DEFAULT_AGENT_ID, log_agent_episode, log_agent_steps, log_env_steps, log_episode,
};
use crate::restarts::Failures;
use crate::{
    AgentStep, EnvironmentEvent, EpisodeEvent, Experience, Result, Rollout, SampleEvent,
    VectorEnvRef,
};

impl SingleAgentEnvRunner {
    pub(super) fn tell_environment_created(&mut self) -> Result<()> {
        self.config.callbacks.environment_created(&mut EnvironmentEvent {
            runner: self.index,
            in_evaluation: self.config.in_evaluation,
            env: VectorEnvRef::Single(&*self.env.0),
            env_config: &self.config.env_config,
            metrics: &mut self.metrics,
        })
    }

    /// Episodes began in these environments.
    pub(super) fn tell_starts(
        &mut self,
        quota: &[usize],
        began: impl Fn(usize) -> bool,
    ) -> Result<()> {
        if !self.config.callbacks.is_some() {
            return Ok(());
        }
        for env in (0..self.config.num_envs).filter(|&env| began(env) && counts(quota, env)) {
            self.tell(EpisodeHook::Created, env)?;
            self.tell(EpisodeHook::Start, env)?;
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

    pub(super) fn tell(&mut self, hook: EpisodeHook, env: usize) -> Result<()> {
        if !self.config.callbacks.is_some() {
            return Ok(());
        }
        let EpisodeTracker { id, t, episode_return } = self.episodes[env];
        let stepped = matches!(hook, EpisodeHook::Step | EpisodeHook::End);
        let observations = match stepped && self.step.is_done(env) {
            true => &self.step.final_observations,
            false => &self.step.observations,
        };
        let actions = self.module_to_env.last_output(&self.sampler.actions);
        let agent = AgentStep {
            agent: None,
            module: Some(DEFAULT_MODULE_ID),
            action: stepped.then(|| actions.row(env)),
            observation: Some(observations.row(env)),
            reward: if stepped { self.step.rewards[env] } else { 0.0 },
            episode_return,
        };
        let seen = hook != EpisodeHook::Created;
        self.config.callbacks.episode(
            hook,
            &mut EpisodeEvent {
                runner: self.index,
                in_evaluation: self.config.in_evaluation,
                env: VectorEnvRef::Single(&*self.env.0),
                env_index: env,
                episode: id,
                step: t,
                episode_return,
                terminated: stepped && self.step.terminated[env],
                truncated: stepped && self.step.truncated[env],
                agents: if seen { std::slice::from_ref(&agent) } else { &[] },
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

    /// Books the episode of an environment, which ended and counts.
    pub(super) fn log_episode(&mut self, env: usize) -> Result<()> {
        let episode = self.episodes[env].summary();
        self.finished.push(episode);
        let window = self.config.metrics_num_episodes_for_smoothing;
        let metrics = &mut self.metrics;
        log_episode(metrics, &episode, self.began[env].elapsed(), window)?;
        log_agent_episode(
            metrics,
            DEFAULT_AGENT_ID,
            DEFAULT_MODULE_ID,
            episode.episode_return,
            window,
        )
    }

    /// Logs what a call collected and where its time went.
    pub(super) fn log(&mut self, rollout: &Rollout, timers: &Timers) -> Result<()> {
        let (metrics, steps) = (&mut self.metrics, rollout.env_steps());
        log_env_steps(metrics, steps)?;
        log_agent_steps(metrics, DEFAULT_AGENT_ID, DEFAULT_MODULE_ID, steps)?;
        metrics.log_value("weights_seq_no", rollout.weights_seq_no as f64, Reducer::Item)?;
        if self.config.fault_tolerance.restart_failed_sub_environments {
            self.restarts.log(metrics)?;
        }
        timers.log(metrics)
    }
}
