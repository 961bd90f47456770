//! Several agents, each in its own copy of an environment.

use serde_json::Value as Json;

#[cfg(doc)]
use super::MultiAgentChecker;
use super::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::env::{Env, Info, ResetOptions, load_state};
use crate::error::{EnvError, Result};
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::registry::EnvSpec;
use crate::render::Frame;
use crate::vector::check_len;

/// Copies of an environment, one per agent: RLlib's `make_multi_agent`.
///
/// The agents are called `0`, `1`, ... and do not interact. All start in a reset. Each is done when
/// its environment is, and the episode ends when all are ([`MultiAgentChecker`] ends it). The seed
/// of a reset determines a different seed for each agent; reset options go to every copy. Keys of
/// the [`info`](MultiAgentEnv::info) start with the agent's name, as in `0.episode.r`.
#[derive(Debug)]
pub struct MultiAgentCopies<E = Box<dyn Env>> {
    envs: Vec<E>,
    agents: Vec<AgentSpec>,
    name: String,
}

impl MultiAgentCopies {
    /// Makes copies of `spec`. The option `num_agents` (1) is their number; the other options go to
    /// each copy.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if `num_agents` is not a number of at least 1, and the errors of
    /// [`EnvSpec::make`].
    pub fn make(spec: &EnvSpec, config: &EnvConfig) -> Result<Self> {
        let num_agents = config.get_i64("num_agents")?.unwrap_or(1);
        let count = usize::try_from(num_agents).ok().filter(|&count| count > 0);
        let count = count.ok_or_else(|| EnvError::InvalidOption {
            option: "num_agents".to_owned(),
            expected: "at least 1".to_owned(),
            found: num_agents.to_string(),
        })?;
        let config = config.without(&["num_agents"]);
        Self::new((0..count).map(|_| spec.make(&config)).collect::<Result<_>>()?)
    }
}

impl<E: Env> MultiAgentCopies<E> {
    /// Creates one agent for each of `envs`, whose spaces may differ.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] without environments.
    pub fn new(envs: Vec<E>) -> Result<Self> {
        let Some(first) = envs.first() else {
            return Err(EnvError::length("environments for agents", 1, 0));
        };
        let name = format!("MultiAgent{}", first.name());
        let spaces = envs.iter().map(|env| (env.observation_space(), env.action_space()));
        let agents = spaces.enumerate().map(|(i, (observations, actions))| {
            AgentSpec::new(i.to_string(), observations.clone(), actions.clone())
        });
        Ok(Self { agents: agents.collect(), name, envs })
    }

    /// Returns the environments in the order of their agents.
    #[must_use]
    pub fn envs(&self) -> &[E] {
        &self.envs
    }

    /// Wraps an error with the name of its agent.
    fn of(agent: usize) -> impl FnOnce(EnvError) -> EnvError {
        move |source| EnvError::Agent { agent: agent.to_string(), source: Box::new(source) }
    }
}

impl<E: Env> MultiAgentEnv for MultiAgentCopies<E> {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        let mut options = options.clone();
        let seed = options.seed;
        for (agent, env) in self.envs.iter_mut().enumerate() {
            // `seed + agent` would repeat seeds: the next environment of a vector has `seed + 1`.
            options.seed = seed.map(|seed| Generator::from_key(&[seed, agent as u64]).next_u64());
            env.reset(&options, out.observe(agent)?).map_err(Self::of(agent))?;
        }
        Ok(())
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        for (agent, env) in self.envs.iter_mut().enumerate() {
            let Some(action) = actions.action(agent) else { continue };
            let step = env.step(action, out.observe(agent)?).map_err(Self::of(agent))?;
            out.add_reward(agent, step.reward)?;
            if step.terminated {
                out.terminate(agent)?;
            }
            if step.truncated {
                out.truncate(agent)?;
            }
        }
        Ok(())
    }

    fn info(&self) -> Info {
        let infos = self.envs.iter().map(Env::info).zip(&self.agents);
        infos
            .flat_map(|(info, agent)| {
                info.into_iter().map(move |(key, number)| (format!("{}.{key}", agent.id), number))
            })
            .collect()
    }

    /// Returns the pictures of all agents, next to each other.
    fn render(&mut self) -> Result<Frame> {
        let frames = self.envs.iter_mut().enumerate();
        let frames = frames.map(|(agent, env)| env.render().map_err(Self::of(agent)));
        Frame::beside(&frames.collect::<Result<Vec<_>>>()?)
    }

    fn state(&self) -> Result<Option<Json>> {
        let states = self.envs.iter().map(|env| env.state().transpose());
        Ok(states.collect::<Option<Result<_>>>().transpose()?.map(Json::Array))
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let states: Vec<Json> = load_state(&self.name, state)?;
        check_len("states of agents", self.envs.len(), states.len())?;
        for (agent, (env, state)) in self.envs.iter_mut().zip(&states).enumerate() {
            env.set_state(state).map_err(Self::of(agent))?;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}
