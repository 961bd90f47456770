//! The runner of single-agent environments.

mod act;
mod hooks;
mod recorder;
mod runner;
mod state;
mod step;

use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::DEFAULT_MODULE_ID;
use rekindle_env::{Buffer, Space, VectorEnv, VectorStep};
use rekindle_kernels::eager;
use rekindle_metrics::MetricsState;
use rekindle_rl_module::AnyRLModule;

use crate::callbacks::VectorEnvRef;
use crate::connectors::{ActionSampler, ConnectorPipeline, pipelines, states};
use crate::env_runner::acting::ActingModule;
use crate::env_runner::base::RunnerBase;
use crate::env_runner::checks::check_module;
use crate::env_runner::environments::make_vec;
use crate::env_runner::memory::Memory;
use crate::env_runner::tracking::{Deadline, Timers, Watch};
use crate::env_runner::{Amount, EnvRunnerConfig, PublishedAt, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::{EpisodeSummary, Rollout};
use crate::policy_bundle::{BundleConfig, PolicyBundle};
use recorder::Recorder;

/// Steps a vector of environments with a module and records what happens; RLlib's
/// `SingleAgentEnvRunner`.
///
/// Deterministic: results depend only on the configuration, the index and the weights (and on the
/// clock, if a call has a [time limit](SampleOptions::time_limit)).
#[derive(Debug)]
pub struct SingleAgentEnvRunner {
    base: RunnerBase,
    env: Box<dyn VectorEnv>,
    env_to_module: ConnectorPipeline,
    module_to_env: ConnectorPipeline,
    module: Option<ActingModule>,
    /// The version of its weights.
    weights_seq_no: u64,
    sampler: ActionSampler,
    /// The last results of the environments.
    step: VectorStep,
    /// The current observations after the connectors; unused if there are none.
    observations: Buffer,
    /// The states of a stateful module.
    memory: Option<Memory>,
    /// Which environments began an episode in the last step.
    starts: Vec<bool>,
    /// The rewards of the last step as losses see them.
    rewards: Vec<f64>,
}

/// The results of one call.
struct Collected {
    rollout: Rollout,
    env_steps: usize,
    episodes: Vec<EpisodeSummary>,
    timed_out: bool,
}

impl SingleAgentEnvRunner {
    /// Creates a runner with fresh environments. `index` keys its random streams; forward passes run
    /// on `device`.
    ///
    /// # Errors
    /// If the environment is unknown or has several agents ([`RunnerError::MultiAgentEnv`]), a
    /// setting is invalid, or a connector does not work on its space.
    pub fn new(config: EnvRunnerConfig, index: usize, device: &Device) -> Result<Self> {
        config.validate()?;
        config.check_connectors(&[DEFAULT_MODULE_ID])?;
        let env =
            make_vec(&config.env, config.num_envs, &config.env_config, config.video.as_ref())?;
        let (observations, actions) = (env.observation_space(), env.action_space());
        let (env_to_module, module_to_env) = pipelines(
            DEFAULT_MODULE_ID,
            observations,
            actions,
            [&config.env_to_module, &config.module_to_env],
            config.normalize_actions,
            config.clip_actions,
        )?;
        let n = config.num_envs;
        let mut base = RunnerBase::new(config, index, device, 1);
        base.exploration.set_slots(&(0..n).collect::<Vec<_>>());
        let mut runner = Self {
            step: VectorStep::new(observations, n),
            observations: Buffer::zeros(env_to_module.output_space(), n),
            sampler: ActionSampler::new(&module_to_env, n),
            memory: None,
            starts: vec![true; n],
            rewards: vec![0.0; n],
            env,
            env_to_module,
            module_to_env,
            module: None,
            weights_seq_no: 0,
            base,
        };
        runner.tell_environment_created()?;
        Ok(runner)
    }

    /// Returns the space of the observations as a module sees them.
    #[must_use]
    pub fn observation_space(&self) -> &Space {
        self.env_to_module.output_space()
    }

    /// Returns the space of the actions as a module samples them.
    #[must_use]
    pub fn action_space(&self) -> &Space {
        self.module_to_env.input_space()
    }

    /// Returns the number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.base.num_envs()
    }

    /// Returns the connectors between environments and module.
    #[must_use]
    pub fn env_to_module(&self) -> &ConnectorPipeline {
        &self.env_to_module
    }

    /// Returns the current observations as the module sees them.
    fn seen(&self) -> &Buffer {
        self.env_to_module.outputs_of(&self.step.observations, &self.observations)
    }

    /// Sets the weights that the runner acts with from now on. Nothing is copied.
    ///
    /// Parameters on another device are moved to the runner's. Running episodes keep their states
    /// if the states of the new module have the same shapes. Otherwise, they continue from its
    /// initial state.
    ///
    /// # Errors
    /// [`RunnerError::ModuleSpaces`] if the module was built for other spaces; otherwise if it
    /// fails to return its initial state. The runner then keeps its module.
    pub fn set_module(&mut self, module: &AnyRLModule, at: PublishedAt) -> Result<()> {
        let known = self.module.as_ref().map(|acting| acting.module.spec());
        if !known.is_some_and(|spec| std::ptr::eq(spec, module.spec())) {
            let spaces = [self.observation_space(), self.action_space()];
            check_module(&self.base.config.env, DEFAULT_MODULE_ID, module, spaces)?;
        }
        let acting = ActingModule::new(module, &self.base.device)?;
        let fresh = acting.module.initial_state()?;
        let fresh = fresh.map(|initial| Memory::new(initial, self.base.num_envs())).transpose()?;
        self.memory = match (self.memory.take(), fresh) {
            (Some(mut memory), Some(fresh)) if memory.fits(&fresh) => {
                memory.set_initial(fresh);
                // Episodes without a step have no state to keep.
                for env in (0..self.base.num_envs()).filter(|&env| self.base.episodes[env].t == 0) {
                    memory.reset(env)?;
                }
                Some(memory)
            }
            (_, fresh) => fresh,
        };
        (self.module, self.weights_seq_no) = (Some(acting), at.weights_seq_no);
        self.base.exploration.set_env_steps(at.env_steps);
        Ok(())
    }

    /// Returns the runner's policy as a bundle for deployment: the module, the connectors with
    /// their learned states, and the action transform.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module.
    pub fn policy_bundle(&self) -> Result<PolicyBundle> {
        let acting = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let [observations, actions] = [self.env.observation_space(), self.env.action_space()];
        let config =
            BundleConfig::of_runner(&self.base.config, DEFAULT_MODULE_ID, observations, actions);
        let env_steps = self.base.exploration.env_steps();
        let bundle = PolicyBundle::new(acting.module.clone(), config, &self.base.device)?;
        let mut bundle = bundle.with_env_steps(env_steps);
        bundle.set_connector_states(&states(&self.env_to_module, &self.module_to_env)?)?;
        Ok(bundle)
    }

    /// Returns the metrics logged since the last call.
    pub fn take_metrics(&mut self) -> MetricsState {
        self.base.take_metrics()
    }

    /// Steps the environments until `amount` is collected. The rollout has no rows if the call does
    /// [not record](SampleOptions::record).
    ///
    /// This is the short form of [`EnvRunner::collect`](crate::EnvRunner::collect), which also returns the
    /// episodes that ended and whether the time limit passed, and runs the callback `on_sample_end`.
    ///
    /// # Errors
    /// [`RunnerError::NoModule`] without a module (unless actions are random), or the error of an
    /// environment, connector, callback or forward pass. After an error the next call begins new
    /// episodes.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Rollout> {
        self.base.begin_call(false);
        let collected = self.try_call(amount, options);
        Ok(self.base.end_call(amount, collected)?.rollout)
    }

    fn try_call(&mut self, amount: Amount, options: SampleOptions) -> Result<Collected> {
        let started = Instant::now();
        let _eager = eager::scope(self.base.config.eager);
        self.base.timers = Timers::default();
        let deadline = Deadline::of(options);
        let n = self.base.num_envs();
        let resets = self.base.begins_with_reset(amount, options);
        if resets {
            self.reset()?;
        }
        let steps = match amount {
            Amount::Timesteps(steps) | Amount::AgentSteps(steps) => steps.div_ceil(n),
            Amount::Episodes(_) => 0,
        };
        let mut quota = amount.quota(n);
        if resets {
            self.tell_starts(&quota, |_| true)?;
        }
        let at: Vec<_> = self.base.episodes.iter().map(|e| (e.id, e.t)).collect();
        let mut recorder = Recorder::new(
            [self.env_to_module.output_space(), self.module_to_env.input_space()],
            self.env_to_module.stacked_frames(),
            // Reserve room for all steps, unless a time limit may leave most of it unused.
            if options.record && options.time_limit.is_none() { steps } else { 0 },
            &at,
            self.memory.as_ref(),
            self.weights_seq_no,
            options.record,
        )?;
        let mut episodes = Vec::new();
        let (mut step, mut timed_out, mut watch) = (0, false, Watch::new());
        while if amount.is_episodes() { quota.iter().any(|&q| q > 0) } else { step < steps } {
            if deadline.has_passed() {
                timed_out = true;
                break;
            }
            let inferred = self.act(options)?;
            let module = self.module.as_ref().map_or("", |module| module.module.spec().module());
            let memory = self.memory.as_ref();
            recorder.push_actions(self.seen(), &self.sampler, memory, module)?;
            if let Some(memory) = &mut self.memory {
                memory.advance();
            }
            self.step_envs(options, inferred, &mut recorder, &mut quota, &mut episodes)?;
            if amount.is_episodes() {
                watch.step(&self.base.config.env, episodes.len());
            }
            step += 1;
        }
        if !amount.is_episodes() {
            recorder.cut(self.seen(), self.memory.as_ref())?;
        }
        recorder.delivered().for_each(|env| self.base.restarts.delivered(env));
        let (rollout, env_steps) = recorder.finish()?;
        self.log(env_steps, rollout.weights_seq_no)?;
        self.base.metrics.log_time("sample", started.elapsed())?;
        Ok(Collected { rollout, env_steps, episodes, timed_out })
    }

    /// Begins a new episode in every environment.
    fn reset(&mut self) -> Result<()> {
        let started = Instant::now();
        let seeds = self.base.reset_seeds();
        let failures = self.base.failures(self.env.reset(&seeds, &mut self.step))?;
        self.base.seeded = true;
        for (env, failure) in failures.iter() {
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.base.restarts.restart(&self.base.config.env, env, failure, reset)?;
        }
        self.base.timers.reset += started.elapsed();
        for env in 0..self.base.num_envs() {
            self.start_episode(env)?;
        }
        self.observe(None)?;
        self.base.began_all();
        Ok(())
    }

    fn start_episode(&mut self, env: usize) -> Result<()> {
        self.base.start_episode(env);
        match &mut self.memory {
            Some(memory) => memory.reset(env),
            None => Ok(()),
        }
    }

    fn tell_environment_created(&mut self) -> Result<()> {
        self.base.tell_environment_created(VectorEnvRef::Single(&*self.env))
    }
}
