//! A policy with everything that shapes its inputs and its actions, in one directory.
//!
//! A module alone is not the policy that was trained: without the statistics of its observation
//! filter it sees other inputs, and without the action transform its actions mean something else. A
//! bundle holds them all, needs no learner to run, and verifies on loading that it acts as it did
//! when it was saved.

mod onnx;
mod test_vector;

use std::path::Path;

use burn::prelude::Device;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Batch, Columns, ConfigError, DEFAULT_MODULE_ID, Generator};
use rekindle_env::{Buffer, EnvError, Space};
use rekindle_rl_module::{AnyRLModule, ExplorationContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connectors::{
    ActionSampler, ConnectorConfig, ConnectorContext, ConnectorPipeline, LastStep, RewardContext,
    connect_actions, pipelines, set_states, states,
};
use crate::env_runner::EnvRunnerConfig;
use crate::env_runner::acting::ActingModule;
use crate::env_runner::checks::{ACTION_CONNECTOR, check_module, check_reward, check_rows};
use crate::env_runner::memory::Memory;
use crate::{Result, RunnerError};

/// Spaces, connectors and action transform around a bundle's module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BundleConfig {
    /// The space of the environment's observations.
    pub observation_space: Space,
    /// The space of the environment's actions.
    pub action_space: Space,
    /// Connectors between the observations and the module.
    pub env_to_module: Vec<ConnectorConfig>,
    /// Connectors between the sampled actions and the environment's actions.
    #[serde(default)]
    pub module_to_env: Vec<ConnectorConfig>,
    /// Whether bounded continuous actions are scaled from [−1, 1].
    pub normalize_actions: bool,
    /// Whether continuous actions are clipped to their bounds.
    pub clip_actions: bool,
}

impl BundleConfig {
    /// Creates a configuration without connectors and with RLlib's defaults: actions are normalized,
    /// not clipped.
    #[must_use]
    pub fn new(observation_space: Space, action_space: Space) -> Self {
        Self {
            observation_space,
            action_space,
            env_to_module: Vec::new(),
            module_to_env: Vec::new(),
            normalize_actions: true,
            clip_actions: false,
        }
    }

    /// Returns the configuration of a module that acts in a runner.
    pub(crate) fn of_runner(
        config: &EnvRunnerConfig,
        module_id: &str,
        observations: &Space,
        actions: &Space,
    ) -> Self {
        let of_module = |configs: &[ConnectorConfig]| {
            configs.iter().filter_map(|config| config.of_module(module_id).cloned()).collect()
        };
        Self {
            env_to_module: of_module(&config.env_to_module),
            module_to_env: of_module(&config.module_to_env),
            normalize_actions: config.normalize_actions,
            clip_actions: config.clip_actions,
            ..Self::new(observations.clone(), actions.clone())
        }
    }

    /// Sets the connectors between the observations and the module.
    #[must_use]
    pub fn env_to_module(mut self, connectors: impl Into<Vec<ConnectorConfig>>) -> Self {
        self.env_to_module = connectors.into();
        self
    }

    /// Sets the connectors between the sampled actions and the environment's actions.
    #[must_use]
    pub fn module_to_env(mut self, connectors: impl Into<Vec<ConnectorConfig>>) -> Self {
        self.module_to_env = connectors.into();
        self
    }

    /// Sets whether bounded continuous actions are scaled from [−1, 1].
    #[must_use]
    pub fn normalize_actions(mut self, normalize_actions: bool) -> Self {
        self.normalize_actions = normalize_actions;
        self
    }

    /// Sets whether continuous actions are clipped to their bounds.
    #[must_use]
    pub fn clip_actions(mut self, clip_actions: bool) -> Self {
        self.clip_actions = clip_actions;
        self
    }
}

/// A deployable policy: a module, connectors with their learned states, and the action transform.
///
/// Acts greedily, as an evaluation does, or explores with its own random streams. A policy with
/// state (recurrent layers, previous actions as input) follows one episode per row;
/// [`reset`](Self::reset) and [`reset_row`](Self::reset_row) begin new ones. A clone has the same
/// weights and continues the same episodes and streams.
///
/// ```
/// use burn::prelude::Device;
/// use rekindle_env::{Buffer, Space};
/// use rekindle_env_runner::{BundleConfig, PolicyBundle};
/// use rekindle_rl_module::RLModuleSpec;
///
/// let (observations, actions) = (Space::boxed(-1.0, 1.0, &[3])?, Space::discrete(2)?);
/// let module = RLModuleSpec::default()
///     .observation_space(observations.clone())
///     .action_space(actions.clone())
///     .build(&Device::flex())?;
/// let config = BundleConfig::new(observations.clone(), actions);
/// let mut policy = PolicyBundle::new(module, config, &Device::flex())?;
///
/// let seen = Buffer::zeros(&observations, 5);
/// let greedy = policy.compute_actions(&seen, false)?;
/// assert_eq!(greedy.as_i64()?.len(), 5);
///
/// let drawn = policy.compute_actions(&seen, true)?.clone();
/// let logp = policy.action_logp().to_vec();
/// assert_eq!(policy.compute_log_likelihoods(&seen, &drawn)?, logp);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PolicyBundle {
    config: BundleConfig,
    acting: ActingModule,
    env_to_module: ConnectorPipeline,
    module_to_env: ConnectorPipeline,
    sampler: ActionSampler,
    /// The state of a stateful module.
    memory: Option<Memory>,
    /// Whether the next observation of each row is the first of an episode; empty if all are.
    starts: Vec<bool>,
    /// The rewards for the last actions.
    rewards: Vec<f64>,
    seed: u64,
    /// The exploration stream of each row, created when first needed.
    rngs: Vec<Generator>,
    /// The context of exploration passes, with streams of the same seed.
    exploration: ExplorationContext,
}

/// The plain part of a saved bundle; the module is a component.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleState {
    config: BundleConfig,
    /// Learned states of the observation connectors.
    connectors: Value,
    /// Learned states of the action connectors.
    #[serde(default)]
    action_connectors: Value,
    /// Observations of the test vector.
    test_observations: Buffer,
    /// The greedy actions for them when the bundle was saved.
    test_actions: Buffer,
    /// The environment steps that the exploration pass sees.
    #[serde(default)]
    env_steps: u64,
}

/// The component that holds the module.
const MODULE: &str = "rl_module";

impl PolicyBundle {
    /// Creates a bundle whose connectors have no learned state.
    ///
    /// # Errors
    /// If a connector cannot work on its space, a setting is invalid, or the module was built for
    /// other spaces ([`RunnerError::ModuleSpaces`]).
    pub fn new(module: AnyRLModule, config: BundleConfig, device: &Device) -> Result<Self> {
        let mut connectors = config.env_to_module.iter().chain(&config.module_to_env);
        connectors.try_for_each(|connector| connector.check_modules(&[DEFAULT_MODULE_ID]))?;
        let (env_to_module, module_to_env) = pipelines(
            DEFAULT_MODULE_ID,
            &config.observation_space,
            &config.action_space,
            [&config.env_to_module, &config.module_to_env],
            config.normalize_actions,
            config.clip_actions,
        )?;
        let spaces = [env_to_module.output_space(), module_to_env.input_space()];
        check_module("BundleConfig", DEFAULT_MODULE_ID, &module, spaces)?;
        Ok(Self {
            sampler: ActionSampler::new(&module_to_env, 0),
            env_to_module,
            module_to_env,
            acting: ActingModule::new(&module, device)?,
            config,
            memory: None,
            starts: Vec::new(),
            rewards: Vec::new(),
            seed: 0,
            rngs: Vec::new(),
            exploration: ExplorationContext::default(),
        })
    }

    /// Sets the environment steps that the module's exploration pass sees
    /// ([`ExplorationContext::env_steps`]). Bundles of runners have those of the last publication of
    /// weights, others 0.
    #[must_use]
    pub fn with_env_steps(mut self, env_steps: u64) -> Self {
        self.exploration.set_env_steps(env_steps);
        self
    }

    /// Returns the environment steps that the module's exploration pass sees.
    #[must_use]
    pub fn env_steps(&self) -> u64 {
        self.exploration.env_steps()
    }

    /// Sets the [learned states](Self::connector_state) of the connectors.
    pub(crate) fn set_connector_states(&mut self, state: &Value) -> Result<()> {
        set_states(&mut self.env_to_module, &mut self.module_to_env, state)
    }

    /// Returns the learned states of the connectors, by name. Those between the module and the
    /// environments, if there are any, are under `module_to_env`.
    ///
    /// # Errors
    /// If the state of a connector does not serialize.
    pub fn connector_state(&self) -> Result<Value> {
        states(&self.env_to_module, &self.module_to_env)
    }

    /// Returns the spaces, connectors and action transform around the module.
    #[must_use]
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// Returns the module.
    #[must_use]
    pub fn module(&self) -> &AnyRLModule {
        &self.acting.module
    }

    /// Returns actions for the environments, one row per observation; RLlib's
    /// `Policy.compute_actions`.
    ///
    /// With `explore` the actions are sampled from the exploration pass, row `i` by stream `i` of
    /// the [seed](Self::set_seed), and [`action_logp`](Self::action_logp) has their
    /// log-probabilities. Without, they come from the deterministic twin of the inference pass.
    ///
    /// Each row continues its episode from the previous call. All episodes start over when the
    /// number of rows changes, and after an error. There are no actions for no observations.
    ///
    /// # Shapes
    /// `observations`: `[rows, …]` of the observation space; the result: `[rows, …]` of the
    /// environment's action space.
    ///
    /// # Errors
    /// If the observations are not of the observation space, the forward pass fails, or an action
    /// is not finite ([`RunnerError::NonFiniteAction`]) or a choice that does not exist
    /// ([`RunnerError::ActionOutsideSpace`]).
    pub fn compute_actions(&mut self, observations: &Buffer, explore: bool) -> Result<&Buffer> {
        if observations.rows() == 0 {
            self.reset();
            self.sampler.set_rows(0);
            self.module_to_env.transform(&self.sampler.actions, ConnectorContext::rows(false))?;
        } else if let Err(error) = self.act(observations, explore) {
            self.reset();
            return Err(error);
        }
        Ok(self.module_to_env.last_output(&self.sampler.actions))
    }

    fn act(&mut self, observations: &Buffer, explore: bool) -> Result<()> {
        let outputs = self.forward(observations, explore)?;
        let rows = observations.rows();
        self.sampler.set_rows(rows);
        while self.rngs.len() < rows {
            self.rngs.push(stream(self.seed, 0, self.rngs.len() as u64, Purpose::Action));
        }
        let rngs = explore.then_some(&mut self.rngs[..rows]);
        let space = self.module_to_env.input_space();
        let invalid =
            self.sampler.sample_checked(&self.acting.module, outputs.as_ref(), rngs, space)?;
        if let Some(invalid) = invalid {
            let origin = format!("module `{}`", self.acting.module.spec().module());
            return Err(invalid.error_of_row(origin));
        }
        match connect_actions(&mut self.module_to_env, &self.sampler.actions, false)? {
            None => Ok(()),
            Some((_, value)) => {
                Err(RunnerError::NonFiniteAction { origin: ACTION_CONNECTOR.into(), value })
            }
        }
    }

    /// Runs a forward pass and advances the episodes.
    ///
    /// # Errors
    /// [`RunnerError::WrongObservations`] if the pass fails and the observations are not of the
    /// observation space; otherwise the error of the pass.
    fn forward(&mut self, observations: &Buffer, explore: bool) -> Result<Option<Batch>> {
        self.pass(observations, explore).map_err(|error| {
            let space = &self.config.observation_space;
            let mut row = Buffer::zeros(space, 1);
            match (0..observations.rows().min(1)).try_for_each(|_| row.copy_row(0, observations, 0))
            {
                Err(source) => {
                    let (space, source) = (space.to_string(), Box::new(source));
                    RunnerError::WrongObservations { space, source }
                }
                Ok(()) => error,
            }
        })
    }

    fn pass(&mut self, observations: &Buffer, explore: bool) -> Result<Option<Batch>> {
        check_rows(&self.config.observation_space, observations)?;
        let rows = observations.rows();
        if self.starts.len() != rows {
            self.reset();
        }
        let all_start = self.starts.is_empty();
        if all_start {
            let initial = self.acting.module.initial_state()?;
            self.memory = initial.map(|initial| Memory::new(initial, rows)).transpose()?;
            self.starts = vec![false; rows];
            self.rewards = vec![0.0; rows];
        }
        for (row, reward) in self.rewards.iter().enumerate() {
            check_reward("PolicyBundle", row, None, *reward)?;
        }
        let cx = RewardContext { update: false, starts: &self.starts, slots: None };
        self.env_to_module.transform_rewards(&mut self.rewards, cx)?;
        let step = LastStep {
            actions: &self.sampler.actions,
            rewards: &self.rewards,
            starts: &self.starts,
            is_final: false,
            slots: None,
        };
        let cx = ConnectorContext { update: false, step: (!all_start).then_some(step) };
        let seen = self.env_to_module.transform(observations, cx)?;
        if let Some(memory) = &mut self.memory {
            let mut starting = (0..rows).filter(|&row| self.starts[row]);
            starting.try_for_each(|row| memory.reset(row))?;
        }
        let states = self.memory.as_mut().map(|memory| (&memory.state, &mut memory.next));
        let exploration = explore.then_some(&mut self.exploration);
        let outputs = self.acting.forward(seen, states, exploration, &mut self.sampler)?;
        if let Some(memory) = &mut self.memory {
            memory.advance();
        }
        self.starts.fill(false);
        self.rewards.fill(0.0);
        Ok(outputs)
    }

    /// Returns the log-probabilities (or log-densities) of the last actions, if they were explored
    /// and the module has them; empty otherwise.
    ///
    /// # Shapes
    /// `[rows]`.
    #[must_use]
    pub fn action_logp(&self) -> &[f32] {
        &self.sampler.logp
    }

    /// Returns the log-probabilities (or log-densities) of given actions under the exploration
    /// policy, if they were taken at these observations; RLlib's `Policy.compute_log_likelihoods`.
    ///
    /// Actions are in the environment's units. As in losses, a density refers to the action before
    /// scaling, so scaling is inverted first. A clipped or rounded action has the density of its
    /// clipped or rounded value.
    ///
    /// The observations continue the running episodes (or start new ones, as in
    /// [`compute_actions`](Self::compute_actions)), and do not advance them.
    ///
    /// # Shapes
    /// `observations`: `[rows, …]`; `actions`: `[rows, …]`; the result: `[rows]`.
    ///
    /// # Errors
    /// [`RunnerError::NoDistribution`] if the module returns actions without a distribution,
    /// [`RunnerError::NotInvertible`] if a connector of actions has no inverse, or if observations
    /// and actions do not fit the spaces or each other.
    pub fn compute_log_likelihoods(
        &self,
        observations: &Buffer,
        actions: &Buffer,
    ) -> Result<Vec<f32>> {
        let rows = observations.rows();
        if actions.rows() != rows {
            let (what, expected, found) = ("rows of actions", vec![rows], vec![actions.rows()]);
            return Err(EnvError::ShapeMismatch { what, expected, found }.into());
        }
        check_rows(&self.config.action_space, actions)?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let mut probe = self.clone();
        let distribution = &**self.acting.module.distribution();
        if let Some(outputs) = probe.forward(observations, true)? {
            let Some(inputs) = outputs.get(Columns::ACTION_DIST_INPUTS)? else {
                return Err(RunnerError::NoDistribution {
                    module: self.acting.module.spec().module().into(),
                    found: outputs.names().collect::<Vec<_>>().join(", "),
                });
            };
            probe.sampler.inputs = inputs.tensor()?.to_f32()?;
        }
        let inputs = &probe.sampler.inputs;
        let width = distribution.required_input_dim();
        if inputs.len() != rows * width {
            return Err(RunnerError::ColumnSize {
                module: self.acting.module.spec().module().into(),
                column: Columns::ACTION_DIST_INPUTS,
                expected: rows * width,
                found: inputs.len(),
            });
        }
        let mut units = Buffer::zeros(probe.module_to_env.input_space(), 0);
        probe.module_to_env.invert(actions, &mut units)?;
        let rows = inputs.chunks_exact(width.max(1)).enumerate();
        rows.map(|(row, inputs)| Ok(distribution.row_logp(inputs, units.row(row))?)).collect()
    }

    /// Ends all episodes: the next observations start new ones.
    pub fn reset(&mut self) {
        self.starts.clear();
    }

    /// Ends the episode of a row: its next observation starts a new one.
    pub fn reset_row(&mut self, row: usize) {
        if let Some(start) = self.starts.get_mut(row) {
            *start = true;
        }
    }

    /// Sets the rewards for the last actions, for policies that read previous rewards. They are 0
    /// unless set.
    pub fn set_rewards(&mut self, rewards: &[f64]) {
        for (kept, reward) in self.rewards.iter_mut().zip(rewards) {
            *kept = *reward;
        }
    }

    /// Restarts the exploration streams from a seed. New and loaded bundles have seed 0.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        self.rngs.clear();
        self.exploration = ExplorationContext::from_seed(seed).with_env_steps(self.env_steps());
    }

    /// Saves the bundle with observations drawn from the observation space, and the greedy actions
    /// for them. Running episodes and exploration streams are not saved.
    ///
    /// Observations that the policy cannot act on, such as masks of all actions, are redrawn.
    ///
    /// # Errors
    /// [`RunnerError::NoTestObservations`] if the policy can act on none of them, or an error if
    /// the directory cannot be written.
    pub fn save_to_path(&self, path: impl AsRef<Path>) -> Result<()> {
        let observations = test_vector::draw(self)?;
        self.save_with_test_observations(path, &observations)
    }

    /// Saves the bundle with the given observations, each the first of an episode, and the greedy
    /// actions for them. Running episodes and exploration streams are not saved.
    ///
    /// # Errors
    /// If the policy cannot act on them, or the directory cannot be written.
    pub fn save_with_test_observations(
        &self,
        path: impl AsRef<Path>,
        observations: &Buffer,
    ) -> Result<()> {
        if observations.rows() == 0 {
            let constraint = "a bundle is verified by the actions for at least one observation";
            return Err(ConfigError::new("observations", "0 rows", constraint).into());
        }
        let mut probe = self.clone();
        probe.reset();
        let test_actions = probe.compute_actions(observations, false)?.clone();
        let state = State::from_data(&BundleState {
            config: self.config.clone(),
            connectors: self.env_to_module.get_state()?,
            action_connectors: self.module_to_env.get_state()?,
            test_observations: observations.clone(),
            test_actions,
            env_steps: self.env_steps(),
        })?
        .with_component(MODULE, self.acting.module.get_state()?);
        Ok(checkpoint::write(path, &state)?)
    }

    /// Loads a bundle and verifies that it repeats its recorded actions: choices exactly, numbers
    /// to 1e-4 of half the width of their bounds.
    ///
    /// # Errors
    /// [`RunnerError::TestVector`] if the policy acts differently here,
    /// [`RunnerError::NotABundle`] for the directory of something else, or an error if the directory is
    /// damaged or the module's type is not registered.
    pub fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let state = checkpoint::read(path)?;
        if state.data.get("test_observations").is_none() {
            return Err(RunnerError::NotABundle);
        }
        let saved: BundleState = state.data_as()?;
        let module = AnyRLModule::from_state(state.component(MODULE)?, device)?;
        let mut bundle = Self::new(module, saved.config, device)?.with_env_steps(saved.env_steps);
        bundle.env_to_module.set_state(&saved.connectors)?;
        bundle.module_to_env.set_state(&saved.action_connectors)?;
        let mut probe = bundle.clone();
        let found = probe.compute_actions(&saved.test_observations, false)?;
        test_vector::check(&bundle.config.action_space, found, &saved.test_actions)?;
        Ok(bundle)
    }
}
