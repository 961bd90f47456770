//! Environments whose steps a test writes itself, and functions to run them.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::Device;
use rekindle_core::Generator;
use rekindle_env::{
    AgentSpec, Env, EnvConfig, EnvSpec, Info, MultiAgentActions, MultiAgentEnv, MultiAgentEnvSpec,
    MultiAgentStep, ResetOptions, Result, Row, RowMut, Space, Step, load_state, register,
    register_multi_agent, save_state,
};
use rekindle_env_runner::{
    EnvRunner, EnvRunnerConfig, MultiAgentConfig, MultiAgentEnvRunner, PolicyMapping, PublishedAt,
    SampleOptions, SingleAgentEnvRunner,
};
use rekindle_metrics::{Metrics, MetricsLogger, MetricsState};
use rekindle_rl_module::{MultiRLModule, RLModuleSpec};
use serde_json::Value;

/// One reset (`t` is 0, no action) or step of copy `n`.
pub(crate) type Play = fn(n: usize, t: usize, Option<Row<'_>>, &mut RowMut<'_>) -> Result<Step>;

struct Scripted {
    observations: Space,
    actions: Space,
    play: Play,
    n: usize,
    t: usize,
}

impl Env for Scripted {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, _: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        self.t = 0;
        (self.play)(self.n, 0, None, &mut observation).map(|_| ())
    }

    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        self.t += 1;
        (self.play)(self.n, self.t, Some(action), &mut observation)
    }

    fn info(&self) -> Info {
        Info::from([("t".into(), self.t as f64)])
    }

    fn state(&self) -> Result<Option<Value>> {
        save_state(&self.t)
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        self.t = load_state("Scripted", state)?;
        Ok(())
    }
}

/// Registers an environment with one agent that sees one number.
pub(crate) fn env(id: &'static str, actions: Space, play: Play) -> EnvRunnerConfig {
    let n = AtomicUsize::new(0);
    let make = move |_: &EnvConfig| {
        let n = n.fetch_add(1, Ordering::Relaxed);
        Ok(Scripted { observations: one(), actions: actions.clone(), play, n, t: 0 })
    };
    register(EnvSpec::new(id, make)).unwrap();
    EnvRunnerConfig::new(id)
}

/// One reset (`t` is 0) or step of copy `n` of a game.
pub(crate) type Turn =
    fn(n: usize, t: usize, &MultiAgentActions, &mut MultiAgentStep) -> Result<()>;

struct Game {
    agents: Vec<AgentSpec>,
    none: MultiAgentActions,
    turn: Turn,
    n: usize,
    t: usize,
}

impl MultiAgentEnv for Game {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        self.t = 0;
        (self.turn)(self.n, 0, &self.none, out)
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        self.t += 1;
        (self.turn)(self.n, self.t, actions, out)
    }

    fn info(&self) -> Info {
        Info::from([("t".into(), self.t as f64)])
    }

    fn state(&self) -> Result<Option<Value>> {
        save_state(&self.t)
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        self.t = load_state("Game", state)?;
        Ok(())
    }
}

/// Registers an environment with these agents. Each agent sees one number.
pub(crate) fn game(
    id: &'static str,
    agents: &[&str],
    actions: Space,
    mapping: PolicyMapping,
    turn: Turn,
) -> EnvRunnerConfig {
    let n = AtomicUsize::new(0);
    let agents: Vec<_> =
        agents.iter().map(|id| AgentSpec::new(*id, one(), actions.clone())).collect();
    let make = move |_: &EnvConfig| {
        let (n, none) = (n.fetch_add(1, Ordering::Relaxed), MultiAgentActions::new(&agents));
        Ok(Game { agents: agents.clone(), none, turn, n, t: 0 })
    };
    register_multi_agent(MultiAgentEnvSpec::new(id, make)).unwrap();
    let multi_agent = MultiAgentConfig::default().policy_mapping(mapping);
    EnvRunnerConfig::new(id).multi_agent(multi_agent)
}

pub(crate) fn all(module: &str) -> PolicyMapping {
    PolicyMapping::All(module.into())
}

pub(crate) fn one() -> Space {
    Space::unbounded(&[1]).unwrap()
}

pub(crate) fn bin() -> Space {
    Space::discrete(2).unwrap()
}

pub(crate) fn percent() -> Space {
    Space::boxed(0.0, 100.0, &[1]).unwrap()
}

pub(crate) fn ended(reward: f64) -> Step {
    Step { reward, terminated: true, truncated: false }
}

pub(crate) fn random() -> SampleOptions {
    SampleOptions::random()
}

/// A runner of either kind, as the configuration says.
pub(crate) fn open(config: EnvRunnerConfig) -> Box<dyn EnvRunner> {
    match config.multi_agent {
        Some(_) => Box::new(MultiAgentEnvRunner::new(config, 0, &Device::flex()).unwrap()),
        None => Box::new(SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap()),
    }
}

/// Returns a module of this spec for each id.
pub(crate) fn modules(runner: &dyn EnvRunner, spec: &RLModuleSpec) -> MultiRLModule {
    let mut multi = MultiRLModule::new();
    for (index, (id, (observations, actions))) in runner.module_spaces().into_iter().enumerate() {
        let spec = spec.clone().observation_space(observations).action_space(actions);
        let rng = Generator::from_seed(index as u64);
        multi.add_module(id, spec.build_seeded(&Device::flex(), rng).unwrap(), false).unwrap();
    }
    multi
}

pub(crate) fn set_modules(runner: &mut dyn EnvRunner, spec: &RLModuleSpec) -> MultiRLModule {
    let modules = modules(runner, spec);
    runner.set_modules(&modules, PublishedAt::default()).unwrap();
    modules
}

pub(crate) fn mlp() -> RLModuleSpec {
    RLModuleSpec::default().model_config(serde_json::json!({"fcnet_hiddens": [4]}))
}

pub(crate) fn reduced(states: impl IntoIterator<Item = MetricsState>) -> Metrics {
    let mut logger = MetricsLogger::new();
    logger.aggregate("env_runners", states).unwrap();
    logger.reduce()
}
