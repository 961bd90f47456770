//! The runner of single-agent environments.

mod act;
mod config;
mod hooks;
mod recorder;
mod runner;
mod state;
mod step;

use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{DEFAULT_MODULE_ID, Generator};
use rekindle_env::{Buffer, Space, VectorEnv, VectorStep, make_vec_with};
use rekindle_metrics::{MetricsLogger, MetricsState};
use rekindle_rl_module::AnyRLModule;

use crate::connectors::{ActionSampler, ConnectorPipeline, pipelines};
use crate::memory::Memory;
use crate::restarts::{Failures, Restarts, restartable};
use crate::tracking::{EpisodeTracker, Timers, acting};
use crate::{BundleConfig, EpisodeSummary, PolicyBundle, Result, Rollout, RunnerError};

pub(crate) use config::share;
pub use config::{Amount, EnvRunnerConfig, SampleOptions};
use recorder::Recorder;

/// Steps a vector of environments with a module and records what happens.
///
/// Deterministic: what it does depends on the configuration, its index and the weights it is given,
/// on nothing else.
#[derive(Debug)]
pub struct SingleAgentEnvRunner {
    config: EnvRunnerConfig,
    index: usize,
    device: Device,
    env: EnvBox,
    env_to_module: ConnectorPipeline,
    module_to_env: ConnectorPipeline,
    module: Option<ActingModule>,
    sampler: ActionSampler,
    /// What the environments reported last.
    step: VectorStep,
    /// The current observations as the module sees them.
    observations: Buffer,
    /// What a stateful module remembers of the running episodes.
    memory: Option<Memory>,
    /// Which environments began an episode in the last step.
    starts: Vec<bool>,
    /// The rewards of the last step as losses see them.
    rewards: Vec<f64>,
    episodes: Vec<EpisodeTracker>,
    /// When the episodes began, by the clock.
    began: Vec<Instant>,
    next_episode: u64,
    action_rngs: Vec<Generator>,
    seeds: Generator,
    restarts: Restarts,
    needs_reset: bool,
    /// Whether the first reset has happened, which is the one that seeds the environments.
    seeded: bool,
    metrics: MetricsLogger,
    /// The episodes that ended in this call.
    finished: Vec<EpisodeSummary>,
}

/// The environments; they have no `Debug` of their own.
struct EnvBox(Box<dyn VectorEnv>);

impl std::fmt::Debug for EnvBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} environments", self.0.num_envs())
    }
}

#[derive(Debug)]
struct ActingModule {
    module: AnyRLModule,
    weights_seq_no: u64,
}

impl SingleAgentEnvRunner {
    /// A runner with fresh environments; `index` keys its random streams, and forward passes run
    /// on `device`.
    ///
    /// # Errors
    /// If the environment is unknown or a connector cannot work on its space.
    pub fn new(config: EnvRunnerConfig, index: usize, device: &Device) -> Result<Self> {
        config.validate()?;
        config.check_connectors(&[DEFAULT_MODULE_ID])?;
        let env = make_vec_with(&config.env, config.num_envs, &config.env_config)?;
        let (env_to_module, module_to_env) = pipelines(
            DEFAULT_MODULE_ID,
            env.observation_space(),
            env.action_space(),
            [&config.env_to_module, &config.module_to_env],
            config.normalize_actions,
            config.clip_actions,
        )?;
        let streams = |purpose| {
            let (seed, runner) = (config.seed, index as u64);
            (0..config.num_envs as u64).map(move |env| stream(seed, runner, env, purpose))
        };
        let mut runner = Self {
            index,
            device: device.clone(),
            step: VectorStep::new(env.observation_space(), config.num_envs),
            observations: Buffer::zeros(env_to_module.output_space(), config.num_envs),
            sampler: ActionSampler::new(&module_to_env, config.num_envs),
            memory: None,
            starts: vec![true; config.num_envs],
            rewards: vec![0.0; config.num_envs],
            env: EnvBox(env),
            env_to_module,
            module_to_env,
            module: None,
            episodes: vec![EpisodeTracker::default(); config.num_envs],
            began: vec![Instant::now(); config.num_envs],
            next_episode: 0,
            action_rngs: streams(Purpose::Action).collect(),
            seeds: stream(config.seed, index as u64, 0, Purpose::EnvSeed),
            restarts: Restarts::new(config.seed, index, config.num_envs),
            needs_reset: true,
            seeded: false,
            metrics: MetricsLogger::new(),
            finished: Vec::new(),
            config,
        };
        runner.tell_environment_created()?;
        Ok(runner)
    }

    /// The space of the observations as a module sees them.
    pub fn observation_space(&self) -> &Space {
        self.env_to_module.output_space()
    }

    /// The space of the actions as a module samples them.
    pub fn action_space(&self) -> &Space {
        self.module_to_env.input_space()
    }

    /// The number of environments.
    pub fn num_envs(&self) -> usize {
        self.config.num_envs
    }

    /// The index that keys its random streams.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The connectors between environments and module.
    pub fn env_to_module(&mut self) -> &mut ConnectorPipeline {
        &mut self.env_to_module
    }

    /// Gives the runner the weights it acts with from now on; nothing is copied.
    ///
    /// Parameters on another device than the runner's are moved to it. A stateful module goes on
    /// with what the last one remembered, unless their states differ in shape.
    ///
    /// # Errors
    /// If the module cannot say its initial state.
    pub fn set_module(&mut self, module: &AnyRLModule, weights_seq_no: u64) -> Result<()> {
        let module = acting(module, &self.device);
        self.memory = match module.initial_state()? {
            Some(initial) => {
                let fresh = Memory::new(initial, self.config.num_envs)?;
                self.memory.take().filter(|memory| memory.fits(&fresh)).or(Some(fresh))
            }
            None => None,
        };
        self.module = Some(ActingModule { module, weights_seq_no });
        Ok(())
    }

    /// The policy that the runner acts with, ready to be deployed: module, connectors and what
    /// they have learnt, action transform.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module.
    pub fn policy_bundle(&self) -> Result<PolicyBundle> {
        let acting = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let [observations, actions] = [self.env.0.observation_space(), self.env.0.action_space()];
        let config =
            BundleConfig::of_runner(&self.config, DEFAULT_MODULE_ID, observations, actions);
        let mut bundle = PolicyBundle::new(acting.module.clone(), config, &self.device)?;
        bundle.set_connector_states([
            &self.env_to_module.get_state()?,
            &self.module_to_env.get_state()?,
        ])?;
        Ok(bundle)
    }

    /// What was logged since the last call.
    pub fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }

    /// Acts and records.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module (unless actions are random), or the error of an
    /// environment, connector or forward pass. Environments are reset by the next call then.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Rollout> {
        let started = Instant::now();
        let result = self.try_sample(amount, options);
        if result.is_err() || matches!(amount, Amount::Episodes(_)) {
            self.needs_reset = true;
        }
        let rollout = result?;
        self.metrics.log_time("sample", started.elapsed())?;
        Ok(rollout)
    }

    fn try_sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Rollout> {
        let mut timers = Timers::default();
        self.finished.clear();
        let whole_episodes = matches!(amount, Amount::Episodes(_));
        let resets = self.needs_reset || options.force_reset || whole_episodes;
        if resets {
            self.reset(&mut timers)?;
        }
        let (steps, mut quota) = amount.of_vector(self.config.num_envs);
        if resets {
            self.tell_starts(&quota, |_| true)?;
        }
        let at: Vec<_> = self.episodes.iter().map(|e| (e.id, e.t)).collect();
        let mut recorder = Recorder::new(
            self.env_to_module.output_space(),
            self.module_to_env.input_space(),
            steps,
            &at,
            self.memory.as_ref().filter(|_| !options.random_actions),
            self.module.as_ref().map_or(0, |module| module.weights_seq_no),
        )?;
        let mut step = 0;
        while if whole_episodes { quota.iter().any(|&q| q > 0) } else { step < steps } {
            self.act(options, &mut timers)?;
            recorder.push_actions(&self.observations, &self.sampler, self.memory.as_ref())?;
            if let Some(memory) = self.memory.as_mut().filter(|_| !options.random_actions) {
                memory.advance();
            }
            self.step_envs(&mut recorder, &mut quota, &mut timers)?;
            step += 1;
        }
        if !whole_episodes {
            recorder.cut(&self.observations, self.memory.as_ref())?;
        }
        let rollout = recorder.finish()?;
        rollout.segments.iter().for_each(|segment| self.restarts.delivered(segment.env));
        self.log(&rollout, &timers)?;
        Ok(rollout)
    }

    /// Starts a new episode everywhere. The first time environments are seeded; later resets go on
    /// with their own streams.
    fn reset(&mut self, timers: &mut Timers) -> Result<()> {
        let started = Instant::now();
        let seeds: Vec<_> = (0..self.config.num_envs)
            .map(|_| (!self.seeded).then(|| u64::from(self.seeds.next_u32())))
            .collect();
        let failures = match self.env.0.reset(&seeds, &mut self.step) {
            Ok(()) => Failures::default(),
            Err(error) => restartable(self.restarts_envs(), error)?,
        };
        self.seeded = true;
        for (env, failure) in failures.iter() {
            let reset = |seed| self.env.0.reset_one(env, Some(seed), &mut self.step);
            self.restarts.restart(env, failure, reset)?;
        }
        timers.reset += started.elapsed();
        for env in 0..self.config.num_envs {
            self.start_episode(env)?;
        }
        self.observe(None, timers)?;
        self.needs_reset = false;
        Ok(())
    }

    fn restarts_envs(&self) -> bool {
        self.config.fault_tolerance.restart_failed_sub_environments
    }

    fn start_episode(&mut self, env: usize) -> Result<()> {
        self.episodes[env] = EpisodeTracker::new(self.next_episode);
        self.began[env] = Instant::now();
        self.next_episode += 1;
        match &mut self.memory {
            Some(memory) => memory.reset(env),
            None => Ok(()),
        }
    }
}
