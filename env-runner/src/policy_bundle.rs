//! A policy with everything that shapes its inputs and its actions, in one folder.
//!
//! A module alone is not the policy that was trained: without the statistics of its observation
//! filter it sees other inputs, without the action transform its actions mean something else. A
//! bundle holds them all, needs no learner to run, and proves on loading that it acts as it did
//! when it was saved.

use std::path::Path;

use burn::prelude::Device;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::{Batch, Columns, Generator, host_batch};
use rekindle_env::{Buffer, Space};
use rekindle_rl_module::AnyRLModule;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connectors::{
    ActionSampler, ConnectorConfig, ConnectorContext, ConnectorPipeline, LastStep, pipelines,
};
use crate::env_runner::memory::Memory;
use crate::{Result, RunnerError};

/// What surrounds the module of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleConfig {
    /// The space of the environment's observations.
    pub observation_space: Space,
    /// The space of the environment's actions.
    pub action_space: Space,
    /// Connectors between the observations and the module.
    pub env_to_module: Vec<ConnectorConfig>,
    /// Connectors between the sampled actions and those of the environment.
    #[serde(default)]
    pub module_to_env: Vec<ConnectorConfig>,
    /// Whether bounded continuous actions are scaled from [−1, 1].
    pub normalize_actions: bool,
    /// Whether continuous actions are clipped to their bounds.
    pub clip_actions: bool,
}

/// A deployable policy: module, connectors with what they have learnt, action transform.
///
/// Acts greedily: its actions are those of an evaluation. A policy with memory (recurrent layers,
/// previous actions as input) is told where episodes begin by [`reset`](Self::reset) and
/// [`reset_row`](Self::reset_row).
///
/// ```
/// use burn::prelude::Device;
/// use rekindle_core::Generator;
/// use rekindle_env::{Buffer, Space};
/// use rekindle_env_runner::{BundleConfig, PolicyBundle};
/// use rekindle_rl_module::RLModuleSpec;
///
/// let (observations, actions) = (Space::boxed(-1.0, 1.0, &[3])?, Space::discrete(2)?);
/// let module = RLModuleSpec::default()
///     .observation_space(observations.clone())
///     .action_space(actions.clone())
///     .build(&Device::flex())?;
/// let config = BundleConfig {
///     observation_space: observations.clone(),
///     action_space: actions,
///     env_to_module: Vec::new(),
///     module_to_env: Vec::new(),
///     normalize_actions: true,
///     clip_actions: false,
/// };
/// let mut policy = PolicyBundle::new(module, config, &Device::flex())?;
/// let actions = policy.act(&Buffer::zeros(&observations, 5))?;
/// assert_eq!(actions.as_i64()?.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PolicyBundle {
    config: BundleConfig,
    module: AnyRLModule,
    device: Device,
    env_to_module: ConnectorPipeline,
    module_to_env: ConnectorPipeline,
    sampler: ActionSampler,
    /// What a stateful module remembers.
    memory: Option<Memory>,
    /// Which rows begin an episode with the next observation; empty if all do.
    starts: Vec<bool>,
    /// The rewards for the last actions.
    rewards: Vec<f64>,
}

/// The plain part of a saved bundle; the module is a component.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleState {
    config: BundleConfig,
    connectors: Value,
    /// Observations, and the actions that the policy answered with when it was saved.
    test_observations: Buffer,
    test_actions: Buffer,
}

/// The component that holds the module.
const MODULE: &str = "rl_module";
/// Rows of the recorded test vector.
const TEST_ROWS: usize = 16;
/// How far continuous actions may be off on another device.
const TOLERANCE: f32 = 1e-4;

impl PolicyBundle {
    /// A bundle whose connectors have learnt nothing.
    ///
    /// # Errors
    /// If a connector cannot work on the observation space.
    pub fn new(module: AnyRLModule, config: BundleConfig, device: &Device) -> Result<Self> {
        let (env_to_module, module_to_env) = pipelines(
            &config.observation_space,
            &config.action_space,
            [&config.env_to_module, &config.module_to_env],
            config.normalize_actions,
            config.clip_actions,
        )?;
        Ok(Self {
            sampler: ActionSampler::new(Buffer::zeros(&config.action_space, 0)),
            env_to_module,
            module_to_env,
            device: device.clone(),
            module,
            config,
            memory: None,
            starts: Vec::new(),
            rewards: Vec::new(),
        })
    }

    pub(crate) fn set_connector_state(&mut self, state: &Value) -> Result<()> {
        self.env_to_module.set_state(state)
    }

    /// What surrounds the module.
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// The module.
    pub fn module(&self) -> &AnyRLModule {
        &self.module
    }

    /// Greedy actions for the environments, a row per observation.
    ///
    /// The episode of each row goes on from the last call; with another number of rows than then,
    /// all begin anew.
    ///
    /// # Errors
    /// If the observations are not of the observation space, or the forward pass fails.
    pub fn act(&mut self, observations: &Buffer) -> Result<&Buffer> {
        let rows = observations.rows();
        if self.starts.len() != rows {
            self.reset();
        }
        let all_start = self.starts.is_empty();
        if all_start {
            let initial = self.module.initial_state()?;
            self.memory = initial.map(|initial| Memory::new(initial, rows)).transpose()?;
            self.starts = vec![false; rows];
            self.rewards = vec![0.0; rows];
        }
        let step = LastStep {
            actions: &self.sampler.actions,
            rewards: &self.rewards,
            starts: &self.starts,
            is_final: false,
            slots: None,
        };
        let cx = ConnectorContext { update: false, step: (!all_start).then_some(step) };
        let seen = self.env_to_module.transform(observations, cx)?;
        let mut batch = Batch::new().with(Columns::OBS, host_batch::upload(seen, &self.device)?);
        if let Some(memory) = &mut self.memory {
            let starting = (0..rows).filter(|&row| self.starts[row]);
            starting.into_iter().try_for_each(|row| memory.reset(row))?;
            batch.insert(Columns::STATE_IN, host_batch::upload(&memory.state, &self.device)?);
        }
        let outputs = self.module.forward_inference(&batch)?;
        if let Some(memory) = &mut self.memory {
            host_batch::download_into(outputs.column(Columns::STATE_OUT)?, &mut memory.next)?;
            memory.advance();
        }
        self.starts.fill(false);
        self.sampler.actions.clear();
        self.sampler.actions.extend_zeros(rows);
        self.sampler.sample(&self.module, &outputs, None)?;
        self.module_to_env.transform(&self.sampler.actions, ConnectorContext::rows(false))
    }

    /// Forgets all episodes: the next observations are first ones.
    pub fn reset(&mut self) {
        self.starts.clear();
    }

    /// Forgets the episode of a row: its next observation is a first one.
    pub fn reset_row(&mut self, row: usize) {
        if let Some(start) = self.starts.get_mut(row) {
            *start = true;
        }
    }

    /// Says the rewards for the last actions, for policies that read previous rewards.
    pub fn set_rewards(&mut self, rewards: &[f64]) {
        for (kept, reward) in self.rewards.iter_mut().zip(rewards) {
            *kept = *reward;
        }
    }

    /// Saves the bundle with a recorded test vector.
    ///
    /// # Errors
    /// If the policy cannot act, or the folder cannot be written.
    pub fn save_to_path(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let space = &self.config.observation_space;
        let mut test_observations = Buffer::zeros(space, TEST_ROWS);
        let mut rng = Generator::from_seed(0);
        for row in 0..TEST_ROWS {
            space.sample_into(&mut rng, test_observations.row_mut(row))?;
        }
        self.reset();
        let test_actions = self.act(&test_observations)?.clone();
        self.reset();
        let state = State::from_data(&BundleState {
            config: self.config.clone(),
            connectors: self.env_to_module.get_state()?,
            test_observations,
            test_actions,
        })?
        .with_component(MODULE, self.module.get_state()?);
        Ok(checkpoint::write(path, &state)?)
    }

    /// Loads a bundle and checks it against its recorded test vector.
    ///
    /// # Errors
    /// [`RunnerError::TestVector`] if the policy acts differently here; otherwise if the folder is
    /// damaged or the module's type is not registered.
    pub fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let state = checkpoint::read(path)?;
        let saved: BundleState = state.data_as()?;
        let module = AnyRLModule::from_state(state.component(MODULE)?, device)?;
        let mut bundle = Self::new(module, saved.config, device)?;
        bundle.set_connector_state(&saved.connectors)?;
        let difference = difference(bundle.act(&saved.test_observations)?, &saved.test_actions);
        bundle.reset();
        if difference <= TOLERANCE {
            return Ok(bundle);
        }
        Err(RunnerError::TestVector { difference })
    }
}

/// The largest difference between two columns of actions; infinite if anything discrete differs.
fn difference(found: &Buffer, expected: &Buffer) -> f32 {
    let (found, expected) = (found.leaves(), expected.leaves());
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let leaves = found.into_iter().zip(expected).map(|((_, found), (_, expected))| {
        match (found.as_f32(), expected.as_f32()) {
            (Ok(found), Ok(expected)) if found.len() == expected.len() => {
                found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max)
            }
            _ if found == expected => 0.0,
            _ => f32::INFINITY,
        }
    });
    leaves.fold(0.0, f32::max)
}
