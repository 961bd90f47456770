//! What callbacks of runners are told.

use rekindle_env::{AgentId, EnvConfig, Info, MultiAgentVectorEnv, Row, VectorEnv};
use rekindle_metrics::MetricsLogger;

use crate::Experience;

/// The environments of a runner.
#[derive(Debug, Clone, Copy)]
pub enum VectorEnvRef<'a> {
    /// With one agent each.
    Single(&'a dyn VectorEnv),
    /// With several agents each.
    MultiAgent(&'a dyn MultiAgentVectorEnv),
}

impl VectorEnvRef<'_> {
    /// The number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        match self {
            Self::Single(env) => env.num_envs(),
            Self::MultiAgent(env) => env.num_envs(),
        }
    }

    /// More about an environment, as it says itself.
    #[must_use]
    pub fn info(&self, index: usize) -> Info {
        match self {
            Self::Single(env) => env.info(index),
            Self::MultiAgent(env) => env.info(index),
        }
    }
}

/// Environments were made.
#[derive(Debug)]
pub struct EnvironmentEvent<'a> {
    /// The index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// The environments.
    pub env: VectorEnvRef<'a>,
    /// The settings they were made with.
    pub env_config: &'a EnvConfig,
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}

/// Something happened in an episode.
#[derive(Debug)]
pub struct EpisodeEvent<'a> {
    /// The index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// The environments of the runner. The step that ends an episode also begins the next one: after
    /// it they show that one.
    pub env: VectorEnvRef<'a>,
    /// Which of them plays the episode.
    pub env_index: usize,
    /// The number of the episode, counted over all environments of the runner.
    pub episode: u64,
    /// Steps so far.
    pub step: usize,
    /// The sum of the rewards of all agents so far.
    pub episode_return: f64,
    /// Whether the episode reached a terminal state.
    pub terminated: bool,
    /// Whether the episode was cut short.
    pub truncated: bool,
    /// What the agents did and saw: one entry for a single agent, none before the first observation;
    /// with several agents one for each that takes part, in the order of the environment.
    pub agents: &'a [AgentStep<'a>],
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}

/// One agent in a step, as the environment sees it: observations before connectors, actions after.
#[derive(Debug, Clone, Copy)]
pub struct AgentStep<'a> {
    /// Its name; `None` where there is one agent only.
    pub agent: Option<&'a AgentId>,
    /// The module that it plays with; `None` before its first action.
    pub module: Option<&'a str>,
    /// The action that the environment received, if the agent acted in this step.
    pub action: Option<Row<'a>>,
    /// What the environment showed it in this step, if anything.
    pub observation: Option<Row<'a>>,
    /// The reward of this step.
    pub reward: f64,
    /// The sum of its rewards so far, from its first action on.
    pub episode_return: f64,
}

impl<'a> EpisodeEvent<'a> {
    /// The observation of the only, or the first, agent.
    #[must_use]
    pub fn observation(&self) -> Option<Row<'a>> {
        self.agents.first()?.observation
    }

    /// The action of the only, or the first, agent; `None` before the first step.
    #[must_use]
    pub fn action(&self) -> Option<Row<'a>> {
        self.agents.first()?.action
    }

    /// The rewards of all agents in this step.
    #[must_use]
    pub fn reward(&self) -> f64 {
        self.agents.iter().map(|agent| agent.reward).sum()
    }

    /// The agents that play with a module.
    pub fn agents_of(&self, module: &str) -> impl Iterator<Item = &'a AgentStep<'a>> {
        self.agents.iter().filter(move |agent| agent.module == Some(module))
    }
}

/// A runner collected what it was asked for.
#[derive(Debug)]
pub struct SampleEvent<'a> {
    /// The index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// What it collected.
    pub experience: &'a Experience,
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}
