//! Events that runners pass to hooks.

use rekindle_env::{AgentId, EnvConfig, Info, MultiAgentVectorEnv, Row, VectorEnv};
use rekindle_metrics::MetricsLogger;

use crate::experience::Experience;

/// The environments of a runner.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum VectorEnvRef<'a> {
    /// Environments with a single agent.
    Single(&'a dyn VectorEnv),
    /// Environments with several agents.
    MultiAgent(&'a dyn MultiAgentVectorEnv),
}

impl VectorEnvRef<'_> {
    /// Returns the number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        match self {
            Self::Single(env) => env.num_envs(),
            Self::MultiAgent(env) => env.num_envs(),
        }
    }

    /// Returns the info of the last reset or step of an environment.
    ///
    /// A step that ends an episode also begins the next one. The info then describes the new
    /// episode, and [`final_info`](Self::final_info) the ended one.
    #[must_use]
    pub fn info(&self, index: usize) -> Info {
        match self {
            Self::Single(env) => env.info(index),
            Self::MultiAgent(env) => env.info(index),
        }
    }

    /// Returns the info of the step that ended the last episode of an environment.
    #[must_use]
    pub fn final_info(&self, index: usize) -> Info {
        match self {
            Self::Single(env) => env.final_info(index),
            Self::MultiAgent(env) => env.final_info(index),
        }
    }
}

/// The event of environments that were created, for `on_environment_created`.
#[derive(Debug)]
#[non_exhaustive]
pub struct EnvironmentEvent<'a> {
    /// Index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// The environments.
    pub env: VectorEnvRef<'a>,
    /// The settings they were created with.
    pub env_config: &'a EnvConfig,
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}

/// An event of an episode: its start, a step, or its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct EpisodeEvent<'a> {
    /// Index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// The environments of the runner.
    pub env: VectorEnvRef<'a>,
    /// Index of the environment that the episode is in.
    pub env_index: usize,
    /// Number of the episode, counted over all environments of the runner.
    pub episode: u64,
    /// Number of steps so far.
    pub step: usize,
    /// Sum of the rewards of all agents so far.
    pub episode_return: f64,
    /// Whether the episode reached a terminal state.
    pub terminated: bool,
    /// Whether the episode was truncated.
    pub truncated: bool,
    /// Actions, observations and rewards of the agents; empty before the first observation. A
    /// single agent has one entry. With several agents, each agent that takes part has one, in the
    /// order of the environment.
    pub agents: &'a [AgentStep<'a>],
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}

/// One agent in a step, as the environment sees it: observations before connectors, actions after
/// them.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AgentStep<'a> {
    /// The name of the agent; `None` in single-agent environments.
    pub agent: Option<&'a AgentId>,
    /// The module that it acts with; `None` before its first action.
    pub module: Option<&'a str>,
    /// The action that the environment received; `None` if the agent did not act in this step.
    pub action: Option<Row<'a>>,
    /// The observation of this step; `None` if the agent was not observed.
    pub observation: Option<Row<'a>>,
    /// The reward of this step.
    pub reward: f64,
    /// Sum of its rewards so far, from its first action on.
    pub episode_return: f64,
}

impl<'a> EpisodeEvent<'a> {
    /// Returns the info of the environment after this step, such as `is_success`. After the last step
    /// of an episode it still describes that episode.
    #[must_use]
    pub fn info(&self) -> Info {
        match self.terminated || self.truncated {
            true => self.env.final_info(self.env_index),
            false => self.env.info(self.env_index),
        }
    }

    /// Returns the observation of the first or only agent.
    #[must_use]
    pub fn observation(&self) -> Option<Row<'a>> {
        self.agents.first()?.observation
    }

    /// Returns the action of the first or only agent; `None` before the first step.
    #[must_use]
    pub fn action(&self) -> Option<Row<'a>> {
        self.agents.first()?.action
    }

    /// Returns the sum of the rewards of all agents in this step.
    #[must_use]
    pub fn reward(&self) -> f64 {
        self.agents.iter().map(|agent| agent.reward).sum()
    }

    /// Returns the agents that act with a module.
    pub fn agents_of(&self, module: &str) -> impl Iterator<Item = &'a AgentStep<'a>> {
        self.agents.iter().filter(move |agent| agent.module == Some(module))
    }
}

/// A runner has collected the amount that a call requested.
#[derive(Debug)]
#[non_exhaustive]
pub struct SampleEvent<'a> {
    /// Index of the runner.
    pub runner: usize,
    /// Whether the runner evaluates.
    pub in_evaluation: bool,
    /// The experience that the runner collected.
    pub experience: &'a Experience,
    /// Custom metrics: a key `k` is reported as `env_runners/k`.
    pub metrics: &'a mut MetricsLogger,
}
