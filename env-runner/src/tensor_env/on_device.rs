//! The runner on the device as an [`EnvRunner`]: its module has the default id.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use burn::prelude::*;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{ConfigError, DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{EnvConfig, Space};
use rekindle_kernels::eager;
use rekindle_metrics::{MetricsLogger, MetricsState, Reducer};
use rekindle_rl_module::{AnyRLModule, MultiRLModule};
use serde_json::Value;

use super::check::check;
use super::episodes::Unread;
use super::state::saved_envs;
use super::{TensorEnv, TensorEnvRunner, registry};
use crate::connectors::{ConnectorPipeline, pipelines, set_states, states};
use crate::env_runner::checks::check_same_spaces;
use crate::env_runner::metrics::{DEFAULT_AGENT_ID, log_agent_steps, log_env_steps};
use crate::env_runner::{
    Amount, ConnectorDeltas, EnvRunner, EnvRunnerConfig, NewEpisodes, PublishedAt, SampleOptions,
    of_default_module,
};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::multi_agent::MultiAgentConfig;
use crate::policy_bundle::{BundleConfig, PolicyBundle};

/// Largest number of rollouts whose episodes wait to be read. More would fill the device's memory where
/// nobody asks for metrics.
const MAX_UNREAD: usize = 64;

/// A [`TensorEnvRunner`] of a registered environment, chosen by [`EnvRunnerConfig::on_device`].
#[derive(Debug)]
pub(crate) struct OnDeviceEnvRunner {
    config: EnvRunnerConfig,
    index: usize,
    device: Device,
    runner: TensorEnvRunner<Box<dyn TensorEnv>>,
    /// The pipelines of a runner on the host without connectors, for evaluation and bundles.
    connectors: (ConnectorPipeline, ConnectorPipeline),
    module: Option<(AnyRLModule, u64)>,
    /// Rollouts whose episodes have not been logged, at most [`MAX_UNREAD`].
    unread: VecDeque<Unread>,
    metrics: MetricsLogger,
}

impl OnDeviceEnvRunner {
    /// Creates a runner with environments in their initial states.
    ///
    /// # Errors
    /// [`RunnerError::UnknownTensorEnv`]; [`RunnerError::Config`] for a setting that does not apply on the
    /// device; otherwise if the environment cannot be made or returns wrong shapes.
    pub(crate) fn new(config: EnvRunnerConfig, index: usize, device: &Device) -> Result<Self> {
        config.validate()?;
        check_settings(&config)?;
        let device = device.clone().inner();
        let env = make(&config.env, &config.env_config, index, &device)?;
        if !config.normalize_actions && matches!(env.action_space(), Space::Box(_)) {
            return Err(refuse("normalize_actions", "false", "actions are scaled on the device"));
        }
        let spaces = [env.observation_space(), env.action_space()];
        let connectors = pipelines(
            DEFAULT_MODULE_ID,
            spaces[0],
            spaces[1],
            [&[], &[]],
            config.normalize_actions,
            config.clip_actions,
        )?;
        let runner =
            TensorEnvRunner::of_group(env, config.num_envs, [config.seed, index as u64], &device)?;
        let (unread, metrics) = (VecDeque::new(), MetricsLogger::new());
        Ok(Self { config, index, device, runner, connectors, module: None, unread, metrics })
    }

    fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let started = Instant::now();
        let _eager = eager::scope(self.config.eager);
        let steps = match amount {
            Amount::Timesteps(steps) | Amount::AgentSteps(steps) => steps,
            Amount::Episodes(count) => {
                let why = "complete episodes differ in length; collect steps (`truncate_episodes`)";
                return Err(refuse("episodes", count, why));
            }
        };
        for (field, found) in [
            ("explore", !options.explore),
            ("random_actions", options.random_actions),
            ("time_limit", options.time_limit.is_some()),
        ] {
            if found {
                let why = "a call draws a fixed number of actions from the policy";
                return Err(refuse(field, field != "explore", why));
            }
        }
        if options.force_reset {
            self.runner.reset();
        }
        if steps == 0 {
            return Ok(Experience::default());
        }
        let (module, weights_seq_no) = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let (module, weights_seq_no) = (module.clone(), *weights_seq_no);
        let rollout = self.runner.sample(&module, steps.div_ceil(self.config.num_envs))?;
        let env_steps = rollout.env_steps();
        log_agent_steps(&mut self.metrics, DEFAULT_AGENT_ID, DEFAULT_MODULE_ID, env_steps)?;
        log_env_steps(&mut self.metrics, env_steps)?;
        self.metrics.log_value("weights_seq_no", weights_seq_no as f64, Reducer::Item)?;
        self.metrics.log_time("sample", started.elapsed())?;
        if self.unread.len() >= MAX_UNREAD {
            self.read_oldest()?;
        }
        self.unread.push_back(Unread::of(&rollout));
        let mut experience = Experience { env_steps, ..Experience::default() };
        if options.record {
            experience.on_device.push(rollout);
        }
        Ok(experience)
    }

    /// Logs the episodes of the oldest rollout that was not read.
    fn read_oldest(&mut self) -> Result<()> {
        let window = self.config.metrics_num_episodes_for_smoothing;
        match self.unread.pop_front() {
            Some(unread) => unread.log(&self.config.env, &mut self.metrics, window),
            None => Ok(()),
        }
    }
}

fn make(id: &str, config: &EnvConfig, index: usize, device: &Device) -> Result<Box<dyn TensorEnv>> {
    let env = registry::make(id, config)?;
    check(id, &*env, index, device)?;
    Ok(env)
}

/// Checks that no setting is one that only runners on the host have.
fn check_settings(config: &EnvRunnerConfig) -> Result<()> {
    let connectors = "nothing passes the host, where connectors work; leave the connectors out";
    for (field, is_set, why) in [
        ("multi_agent", config.multi_agent.is_some(), "tensor environments have one agent"),
        ("env_to_module_connector", !config.env_to_module.is_empty(), connectors),
        ("module_to_env_connector", !config.module_to_env.is_empty(), connectors),
        (
            "callbacks",
            config.callbacks.is_some(),
            "hooks of runners see steps on the host; return `false` from `Callbacks::watches_runners` if yours has none of these hooks",
        ),
        (
            "restart_failed_sub_environments",
            config.fault_tolerance.restart_failed_sub_environments,
            "all copies are one tensor program and fail together",
        ),
        (
            "sample_timeout_s",
            config.fault_tolerance.sample_timeout_s.is_some(),
            "late experience would come from another rollout; leave it out",
        ),
    ] {
        if is_set {
            return Err(refuse(field, "set", why));
        }
    }
    Ok(())
}

fn refuse(field: &'static str, value: impl ToString, why: &str) -> RunnerError {
    let constraint = format!("with `env_runners.on_device`, {why}; or set `on_device` to false");
    ConfigError::new(field, value.to_string(), constraint).into()
}

impl EnvRunner for OnDeviceEnvRunner {
    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        let env = self.runner.env();
        of_default_module((env.observation_space().clone(), env.action_space().clone()))
    }

    fn set_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()> {
        let module = modules.module(DEFAULT_MODULE_ID)?;
        self.runner.check(&self.config.env, module)?;
        self.module = Some((module.clone(), at.weights_seq_no));
        self.runner.exploration.set_env_steps(at.env_steps);
        Ok(())
    }

    fn set_multi_agent(&mut self, _multi_agent: MultiAgentConfig) -> Result<()> {
        Err(RunnerError::SingleAgent(self.config.env.clone()))
    }

    fn check_multi_agent(&self, _: &MultiAgentConfig, _: &MultiRLModule) -> Result<()> {
        Err(RunnerError::SingleAgent(self.config.env.clone()))
    }

    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        let id = &self.config.env;
        let env = make(id, env_config, self.index, &self.device)?;
        let old = self.runner.env();
        let before = [old.observation_space(), old.action_space()];
        check_same_spaces(id, before, [env.observation_space(), env.action_space()])?;
        self.runner.replace_env(env);
        self.config.env_config = env_config.clone();
        Ok(())
    }

    fn reset_episodes(&mut self) {
        self.runner.reset();
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let experience = self.sample(amount, options);
        if experience.is_err() {
            self.runner.reset();
        }
        experience
    }

    fn read_device(&mut self) -> Result<()> {
        while !self.unread.is_empty() {
            self.read_oldest()?;
        }
        Ok(())
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        if module_id != DEFAULT_MODULE_ID {
            let (module, known) = (module_id.into(), DEFAULT_MODULE_ID.into());
            return Err(RunnerError::UnknownModule { module, known });
        }
        let (module, _) = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let (seen, done) =
            (self.runner.env().observation_space(), self.runner.env().action_space());
        let config = BundleConfig::of_runner(&self.config, DEFAULT_MODULE_ID, seen, done);
        let bundle = PolicyBundle::new(module.clone(), config, &self.device)?;
        Ok(bundle.with_env_steps(self.runner.exploration.env_steps()))
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }

    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas> {
        Ok(ConnectorDeltas::new())
    }

    fn merge_connector_deltas(&mut self, _deltas: &[ConnectorDeltas]) -> Result<()> {
        Ok(())
    }

    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        Ok(of_default_module(states(&self.connectors.0, &self.connectors.1)?))
    }

    fn restore(&mut self, state: &State) -> Result<Option<NewEpisodes>> {
        let saved = saved_envs(state)?;
        if saved == self.config.num_envs {
            self.runner.set_state(state)?;
            return Ok(None);
        }
        self.runner.restore_streams(state)?;
        Ok(Some(NewEpisodes::OtherEnvironments { saved }))
    }

    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        match states.get(DEFAULT_MODULE_ID) {
            Some(state) => set_states(&mut self.connectors.0, &mut self.connectors.1, state),
            None => Ok(()),
        }
    }
}

impl Checkpointable for OnDeviceEnvRunner {
    type Error = RunnerError;

    /// Returns everything that determines the next steps of the runner. Waits for the device.
    fn get_state(&self) -> Result<State> {
        self.runner.get_state()
    }

    /// Continues from a saved state, exactly if the number of environments is the same. Otherwise new
    /// episodes begin on the saved random streams. The episodes so far remain in the metrics, as on the host.
    fn set_state(&mut self, state: &State) -> Result<()> {
        if let Some(reason) = self.restore(state)? {
            reason.warn(&self.config);
        }
        Ok(())
    }
}
