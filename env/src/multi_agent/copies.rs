//! Several agents, each in an environment of its own.

use serde_json::Value as Json;

#[cfg(doc)]
use super::MultiAgentChecker;
use super::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::np_random::Generator;
use crate::vector::check_len;
use crate::{Env, EnvConfig, EnvError, EnvSpec, Info, ResetOptions, Result, load_state};

/// Copies of an environment, each played by an agent of its own: RLlib's `make_multi_agent`.
///
/// The agents are called `0`, `1`, ... and know nothing of each other. All begin in a reset; each
/// ends when its environment does, and the episode when all have ([`MultiAgentChecker`] sees to it). The seed of a reset gives every
/// agent a seed of its own; reset options go to every copy. The [`info`](MultiAgentEnv::info) of the
/// copies carries the agent's name in front, as in `0.episode.r`.
#[derive(Debug)]
pub struct MultiAgentCopies<E = Box<dyn Env>> {
    envs: Vec<E>,
    agents: Vec<AgentSpec>,
    name: String,
}

impl MultiAgentCopies {
    /// As many copies of `spec` as the option `num_agents` (1) says, with the other options for each.
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
    /// An agent for each of `envs`, of which there must be at least one. Their spaces may differ.
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

    /// The environments, in the order of their agents.
    #[must_use]
    pub fn envs(&self) -> &[E] {
        &self.envs
    }

    /// Adds to an error which agent it is about.
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
            // Not `seed + agent`: the next environment of a vector has `seed + 1`.
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
