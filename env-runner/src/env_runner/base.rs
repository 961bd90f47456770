//! The fields and hooks that single- and multi-agent runners share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::prelude::Device;
use rekindle_core::Generator;
use rekindle_core::rng::{Purpose, stream};
use rekindle_metrics::{MetricsLogger, MetricsState, Reducer};
use rekindle_rl_module::{ExplorationContext, ExplorationStream};
use serde_json::Value;

use super::checks::of_env;
use super::metrics::{log_default_returns, log_env_steps, log_episodes};
use super::restarts::{Failures, Restarts};
use super::tracking::{EpisodeTracker, Timers};
use super::{Amount, EnvRunnerConfig, NewEpisodes, SampleOptions};
use crate::callbacks::{
    AgentStep, EnvironmentEvent, EpisodeEvent, EpisodeHook, SampleEvent, VectorEnvRef,
};
use crate::error::Result;
use crate::experience::{EpisodeSummary, Experience};

/// Everything about a runner except its environments, modules and connectors.
#[derive(Debug)]
pub(crate) struct RunnerBase {
    pub(crate) config: EnvRunnerConfig,
    pub(crate) index: usize,
    pub(crate) device: Device,
    /// The running episode of each environment.
    pub(crate) episodes: Vec<EpisodeTracker>,
    /// The times at which the running episodes began.
    began: Vec<Instant>,
    /// The episodes that ended in the running call, and their durations. They are logged at its end.
    ended: Vec<EpisodeSummary>,
    durations: Vec<Duration>,
    pub(crate) next_episode: u64,
    /// A stream of random numbers for each agent of each environment.
    pub(crate) action_rngs: Vec<Generator>,
    /// The context of exploration passes, with a stream for each agent of each environment.
    pub(crate) exploration: ExplorationContext,
    pub(crate) seeds: Generator,
    pub(crate) restarts: Restarts,
    pub(crate) needs_reset: bool,
    /// Whether the environments were seeded, which their first reset does.
    pub(crate) seeded: bool,
    /// Whether all environments ever began an episode.
    pub(crate) has_begun: bool,
    pub(crate) metrics: MetricsLogger,
    /// The time that the running call has taken so far.
    pub(crate) timers: Timers,
}

/// The part of a saved runner that both kinds share.
pub(crate) struct SavedBase {
    pub(crate) episodes: Vec<EpisodeTracker>,
    pub(crate) next_episode: u64,
    pub(crate) action_rngs: Vec<Generator>,
    pub(crate) exploration_rngs: BTreeMap<usize, ExplorationStream>,
    pub(crate) seeds: Generator,
    pub(crate) restarts: Restarts,
}

/// The data of a step that a hook receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) agents: &'a [AgentStep<'a>],
    pub(crate) terminated: bool,
    pub(crate) truncated: bool,
}

impl RunnerBase {
    /// Creates the base of a runner with `agents` agents in each environment.
    pub(crate) fn new(
        config: EnvRunnerConfig,
        index: usize,
        device: &Device,
        agents: usize,
    ) -> Self {
        let (seed, runner, n) = (config.seed, index as u64, config.num_envs);
        let rng = |agent| stream(seed, runner, agent as u64, Purpose::Action);
        Self {
            index,
            device: device.clone(),
            episodes: vec![EpisodeTracker::default(); n],
            began: vec![Instant::now(); n],
            ended: Vec::new(),
            durations: Vec::new(),
            next_episode: 0,
            action_rngs: (0..n * agents).map(rng).collect(),
            exploration: ExplorationContext::for_runner(seed, runner),
            seeds: stream(seed, runner, 0, Purpose::EnvSeed),
            restarts: Restarts::new(seed, index, n),
            needs_reset: true,
            seeded: false,
            has_begun: false,
            metrics: MetricsLogger::new(),
            timers: Timers::default(),
            config,
        }
    }

    pub(crate) fn num_envs(&self) -> usize {
        self.config.num_envs
    }

    /// Whether the call begins with a reset of all environments.
    pub(crate) fn begins_with_reset(&self, amount: Amount, options: SampleOptions) -> bool {
        self.needs_reset || options.force_reset || amount.is_episodes()
    }

    /// Returns the seeds of a reset. Only the first reset has any: later ones continue the
    /// environments' own streams.
    pub(crate) fn reset_seeds(&mut self) -> Vec<Option<u64>> {
        (0..self.num_envs())
            .map(|_| (!self.seeded).then(|| u64::from(self.seeds.next_u32())))
            .collect()
    }

    /// Records that all environments began episodes.
    pub(crate) fn began_all(&mut self) {
        (self.needs_reset, self.has_begun) = (false, true);
        self.restarts.environments_have_begun();
    }

    /// Records that environments were created, so that the next reset seeds them.
    pub(crate) fn envs_replaced(&mut self) {
        (self.needs_reset, self.seeded) = (true, false);
    }

    /// Returns the environments that failed and are to be restarted.
    ///
    /// # Errors
    /// The error, if it does not allow a restart.
    pub(crate) fn failures(&self, result: rekindle_env::Result<()>) -> Result<Failures> {
        let restarts = self.config.fault_tolerance.restart_failed_sub_environments;
        Failures::of(&self.config.env, restarts, result)
    }

    /// Begins the next episode of an environment.
    pub(crate) fn start_episode(&mut self, env: usize) {
        self.episodes[env] = EpisodeTracker::new(self.next_episode);
        self.began[env] = Instant::now();
        self.next_episode += 1;
    }

    /// Begins a call. Its metrics count only if it [succeeds](Self::end_call). `logs_midway` says that the
    /// runner logs before the call can no longer fail, as callbacks may do.
    pub(crate) fn begin_call(&mut self, logs_midway: bool) {
        self.metrics.roll_back();
        self.ended.clear();
        self.durations.clear();
        // Otherwise there is nothing to undo, and copies of all series would take longer than a short call.
        if logs_midway || self.config.callbacks.is_some() {
            self.metrics.begin();
        }
    }

    /// Ends a call. After an error, nothing that the call logged is kept: its experience is lost.
    /// After an error or complete episodes, the next call begins new episodes.
    pub(crate) fn end_call<T>(&mut self, amount: Amount, result: Result<T>) -> Result<T> {
        if result.is_err() || amount.is_episodes() {
            self.needs_reset = true;
        }
        match &result {
            Ok(_) => self.metrics.commit(),
            Err(_) => self.metrics.roll_back(),
        }
        result
    }

    /// Returns the metrics logged since the last call of this function.
    pub(crate) fn take_metrics(&mut self) -> MetricsState {
        // A call that panicked did not end.
        self.metrics.roll_back();
        self.metrics.take()
    }

    /// Counts the finished episode of an environment. It is logged at the end of the call.
    pub(crate) fn end_episode(&mut self, env: usize) -> EpisodeSummary {
        let episode = self.episodes[env].summary();
        self.ended.push(episode);
        self.durations.push(self.began[env].elapsed());
        episode
    }

    /// Logs the returns of the episodes that ended in the call as those of the only agent and module.
    pub(crate) fn log_default_returns(&mut self) -> Result<()> {
        let window = self.config.metrics_num_episodes_for_smoothing;
        log_default_returns(&mut self.metrics, &self.ended, window)
    }

    /// Logs the episodes and steps that a call collected and the time of its parts.
    pub(crate) fn log_call(&mut self, env_steps: usize, weights_seq_no: u64) -> Result<()> {
        let window = self.config.metrics_num_episodes_for_smoothing;
        log_episodes(&mut self.metrics, &self.ended, &self.durations, window)?;
        log_env_steps(&mut self.metrics, env_steps)?;
        self.metrics.log_value("weights_seq_no", weights_seq_no as f64, Reducer::Item)?;
        if self.config.fault_tolerance.restart_failed_sub_environments {
            self.restarts.log(&mut self.metrics)?;
        }
        self.timers.log(&mut self.metrics)
    }

    pub(crate) fn tell_environment_created(&mut self, env: VectorEnvRef<'_>) -> Result<()> {
        self.config.callbacks.environment_created(&mut EnvironmentEvent {
            runner: self.index,
            in_evaluation: self.config.in_evaluation,
            env,
            env_config: &self.config.env_config,
            metrics: &mut self.metrics,
        })
    }

    pub(crate) fn tell_episode(
        &mut self,
        hook: EpisodeHook,
        env: VectorEnvRef<'_>,
        env_index: usize,
        told: Told<'_>,
    ) -> Result<()> {
        let EpisodeTracker { id, t, episode_return } = self.episodes[env_index];
        self.config.callbacks.episode(
            hook,
            &mut EpisodeEvent {
                runner: self.index,
                in_evaluation: self.config.in_evaluation,
                env,
                env_index,
                episode: id,
                step: t,
                episode_return,
                terminated: told.terminated,
                truncated: told.truncated,
                agents: told.agents,
                metrics: &mut self.metrics,
            },
        )
    }

    pub(crate) fn tell_sample_end(&mut self, experience: &Experience) -> Result<()> {
        if !self.config.in_evaluation {
            self.config.recorder.record(self.index, experience)?;
        }
        self.config.callbacks.sample_end(&mut SampleEvent {
            runner: self.index,
            in_evaluation: self.config.in_evaluation,
            experience,
            metrics: &mut self.metrics,
        })
    }

    /// Passes a saved state to the environments.
    ///
    /// `before` is their current state; `set` replaces it.
    ///
    /// # Errors
    /// If the environments reject the state. They then continue from `before`, or begin new
    /// episodes if they cannot.
    pub(crate) fn restore_envs(
        &mut self,
        saved: &Value,
        before: Option<Value>,
        mut set: impl FnMut(&Value) -> rekindle_env::Result<()>,
    ) -> Result<()> {
        let Err(error) = set(saved) else { return Ok(()) };
        if before.is_none_or(|before| set(&before).is_err()) {
            self.envs_replaced();
        }
        Err(of_env(&self.config.env)(error))
    }

    /// Continues from a saved base. Streams of agents that were not saved stay as they are.
    pub(crate) fn restore(&mut self, saved: SavedBase) {
        let own = self.action_rngs.iter_mut();
        own.zip(saved.action_rngs).for_each(|(own, saved)| *own = saved);
        self.exploration.set_streams(saved.exploration_rngs);
        if saved.episodes.len() == self.episodes.len() {
            self.episodes = saved.episodes;
        }
        self.next_episode = saved.next_episode;
        if !self.needs_reset {
            self.began_all();
        }
        self.seeds = saved.seeds;
        self.restarts.restore(saved.restarts);
    }

    /// Returns why the episodes of `saved_envs` environments do not continue.
    pub(crate) fn new_episodes(&self, saved_envs: usize) -> NewEpisodes {
        match saved_envs == self.num_envs() {
            true => NewEpisodes::NotSaved,
            false => NewEpisodes::OtherEnvironments { saved: saved_envs },
        }
    }
}
