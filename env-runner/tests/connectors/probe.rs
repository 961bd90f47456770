//! Environments and modules made for one test each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::*;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{
    AgentSpec, BoxSpace, Buffer, Env, EnvConfig, EnvError, EnvSpec, MultiAgentActions,
    MultiAgentEnv, MultiAgentEnvSpec, MultiAgentStep, ResetOptions, Row, RowMut, Space, Step,
    register, register_multi_agent,
};
use rekindle_env_runner::connectors::{Connector, ConnectorContext};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, MultiAgentConfig, MultiAgentEnvRunner, Rollout, SampleOptions,
    SingleAgentEnvRunner,
};
use rekindle_rl_module::{AnyRLModule, ModuleContext, RLModule, RLModuleSpec, Result};

/// Writes the observation after `t` steps of environment `n` and says what the step led to; the
/// action is `None` at a reset.
pub(crate) type Play =
    fn(n: usize, t: usize, action: Option<Row<'_>>, RowMut<'_>) -> Result<Step, EnvError>;

struct Probe {
    observations: Space,
    actions: Space,
    play: Play,
    n: usize,
    t: usize,
}

impl Env for Probe {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, _: &ResetOptions, out: RowMut<'_>) -> Result<(), EnvError> {
        self.t = 0;
        (self.play)(self.n, 0, None, out).map(|_| ())
    }

    fn step(&mut self, action: Row<'_>, out: RowMut<'_>) -> Result<Step, EnvError> {
        self.t += 1;
        (self.play)(self.n, self.t, Some(action), out)
    }

    fn state(&self) -> Result<Option<serde_json::Value>, EnvError> {
        rekindle_env::save_state(&(self.n, self.t))
    }

    fn set_state(&mut self, state: &serde_json::Value) -> Result<(), EnvError> {
        (self.n, self.t) = rekindle_env::load_state("Probe", state)?;
        Ok(())
    }
}

/// Registers an environment; instances are numbered in the order in which they are made.
pub(crate) fn env(id: &'static str, observations: &Space, actions: &Space, play: Play) {
    let (observations, actions) = (observations.clone(), actions.clone());
    let made = AtomicUsize::new(0);
    let new = move |_: &EnvConfig| {
        let n = made.fetch_add(1, Ordering::Relaxed);
        Ok(Probe { observations: observations.clone(), actions: actions.clone(), play, n, t: 0 })
    };
    register(EnvSpec::new(id, new)).unwrap();
}

pub(crate) fn done(reward: f64, terminated: bool) -> Step {
    Step { reward, terminated, truncated: false }
}

/// Writes what all agents see and are paid after `t` steps.
pub(crate) type Game = fn(t: usize, &mut MultiAgentStep) -> Result<(), EnvError>;

struct ProbeGame {
    agents: Arc<[AgentSpec]>,
    game: Game,
    t: usize,
}

impl MultiAgentEnv for ProbeGame {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.t = 0;
        (self.game)(0, out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.t += 1;
        (self.game)(self.t, out)
    }
}

/// Registers a game of these agents.
pub(crate) fn game(id: &'static str, agents: &[AgentSpec], game: Game) {
    let agents: Arc<[AgentSpec]> = agents.into();
    let new = move |_: &EnvConfig| Ok(ProbeGame { agents: agents.clone(), game, t: 0 });
    register_multi_agent(MultiAgentEnvSpec::new(id, new)).unwrap();
}

pub(crate) fn numbers(n: usize) -> Space {
    Space::unbounded(&[n]).unwrap()
}

pub(crate) fn bytes(low: u8, high: u8, n: usize) -> Space {
    Space::Box(BoxSpace::bytes(low, high, &[n]).unwrap())
}

pub(crate) fn choice(n: usize) -> Space {
    Space::discrete(n).unwrap()
}

pub(crate) fn random() -> SampleOptions {
    SampleOptions::random()
}

pub(crate) fn open(config: EnvRunnerConfig) -> SingleAgentEnvRunner {
    SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap()
}

pub(crate) fn open_game(
    config: EnvRunnerConfig,
    multi_agent: MultiAgentConfig,
) -> MultiAgentEnvRunner {
    let config = config.multi_agent(multi_agent);
    MultiAgentEnvRunner::new(config, 0, &Device::flex()).unwrap()
}

pub(crate) fn build(spec: RLModuleSpec, observations: &Space, actions: &Space) -> AnyRLModule {
    let spec = spec.observation_space(observations.clone()).action_space(actions.clone());
    spec.build_seeded(&Device::flex(), Generator::from_seed(3)).unwrap()
}

/// A small network for what a runner's module sees and does.
pub(crate) fn network(runner: &SingleAgentEnvRunner) -> AnyRLModule {
    let spec = RLModuleSpec::default().model_config(serde_json::json!({"fcnet_hiddens": [4]}));
    build(spec, runner.observation_space(), runner.action_space())
}

pub(crate) fn sample(runner: &mut SingleAgentEnvRunner, steps: usize) -> Rollout {
    runner.sample(Amount::Timesteps(steps), SampleOptions::default()).unwrap()
}

/// Acts with its observation.
#[derive(Module, Debug)]
pub(crate) struct Echo {
    unused: usize,
}

impl RLModule for Echo {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: 0 })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        Ok(Batch::new().with(Columns::ACTIONS, batch.float::<2>(Columns::OBS)?))
    }
}

/// Chooses among the actions that its observation allows.
#[derive(Module, Debug)]
pub(crate) struct Masked {
    unused: usize,
}

impl RLModule for Masked {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: 0 })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let mask = batch.float::<2>(Columns::OBS)?;
        let logits = rekindle_catalog::mask_logits(mask.zeros_like(), mask);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// Chooses one more than it observes.
#[derive(Module, Debug)]
pub(crate) struct Shift {
    unused: usize,
}

impl RLModule for Shift {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: 0 })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        Ok(Batch::new().with(Columns::ACTIONS, batch.int::<2>(Columns::OBS)? + 1))
    }
}

/// Replaces numbers by NaN and choices by 7.
#[derive(Debug, Clone)]
pub(crate) struct Spoil;

impl Connector for Spoil {
    fn name(&self) -> &'static str {
        "Spoil"
    }

    fn transform(
        &mut self,
        _: &Buffer,
        output: &mut Buffer,
        _: ConnectorContext<'_>,
    ) -> rekindle_env_runner::Result<()> {
        if let Ok(floats) = output.as_f32_mut() {
            floats.fill(f32::NAN);
        } else {
            output.as_i64_mut()?.fill(7);
        }
        Ok(())
    }

    fn get_memory(&self) -> rekindle_env_runner::Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> rekindle_env_runner::Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}
