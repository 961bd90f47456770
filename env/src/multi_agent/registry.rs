//! Multi-agent environments by id.

use std::fmt;
use std::sync::Arc;

use super::{
    AgentSpec, MultiAgentChecker, MultiAgentCopies, MultiAgentEnv, MultiAgentTimeLimit,
    MultiAgentVectorEnv, SyncMultiAgentVectorEnv,
};
use crate::error::{EnvError, Result};
use crate::games::{RockPaperScissors, TicTacToe};
use crate::options::EnvConfig;
use crate::registry::{Entry, EnvSpec, entry, ids, register_entry};
use crate::{classic_control, diagnostic};

/// The specification of a multi-agent environment: its id, its constructor, and the limit of its
/// episodes.
///
/// The counterpart of [`EnvSpec`]. Cloning is cheap.
///
/// ```
/// use rekindle_env::games::TicTacToe;
/// use rekindle_env::{EnvConfig, MultiAgentEnvSpec};
///
/// let spec = MultiAgentEnvSpec::new("Lab/TicTacToe-v0", TicTacToe::new).with_max_episode_steps(9);
/// let env = spec.make(&EnvConfig::new())?;
/// assert_eq!(env.possible_agents().len(), 2);
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone)]
pub struct MultiAgentEnvSpec {
    id: Arc<str>,
    max_episode_steps: Option<usize>,
    make: Arc<Make>,
    make_vec: Arc<MakeVec>,
}

/// Makes an environment whose episodes have at most `max_episode_steps` steps.
type Make = dyn Fn(&EnvConfig, Option<usize>) -> Result<Box<dyn MultiAgentEnv>> + Send + Sync;
/// Makes a vector of `num_envs` environments whose episodes have at most `max_episode_steps` steps.
type MakeVec =
    dyn Fn(usize, &EnvConfig, Option<usize>) -> Result<Box<dyn MultiAgentVectorEnv>> + Send + Sync;

impl MultiAgentEnvSpec {
    /// Creates the specification of environment `id` (`[namespace/]name-vN`), made by
    /// `entry_point`.
    ///
    /// [`register_multi_agent`] checks the form of the id. The ids of the agents are checked whenever an
    /// environment is made: each is unique, not empty, and without a slash.
    #[must_use]
    pub fn new<E, F>(id: impl Into<Arc<str>>, entry_point: F) -> Self
    where
        E: MultiAgentEnv + 'static,
        F: Fn(&EnvConfig) -> Result<E> + Send + Sync + 'static,
    {
        let id = id.into();
        let name = Arc::clone(&id);
        let entry_point = Arc::new(move |config: &EnvConfig| {
            let made = entry_point(config).and_then(|env| {
                check_agents(env.possible_agents())?;
                Ok(env)
            });
            made.map_err(|error| error.with_env(&name))
        });
        let single = Arc::clone(&entry_point);
        let (name, vector_name) = (Arc::clone(&id), Arc::clone(&id));
        Self {
            id,
            max_episode_steps: None,
            make: Arc::new(move |config, limit| {
                let env = single(config)?;
                Ok(match limit {
                    Some(steps) => Box::new(checked(MultiAgentTimeLimit::new(env, steps)?, &name)),
                    None => Box::new(checked(env, &name)),
                })
            }),
            make_vec: Arc::new(move |num_envs, config, limit| {
                let envs = (0..num_envs).map(|_| entry_point(config));
                Ok(match limit {
                    Some(steps) => {
                        let envs = envs.map(|env| {
                            let env = MultiAgentTimeLimit::new(env?, steps)?;
                            Ok(checked(env, &vector_name))
                        });
                        Box::new(SyncMultiAgentVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                    None => {
                        let envs = envs.map(|env| env.map(|env| checked(env, &vector_name)));
                        Box::new(SyncMultiAgentVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                })
            }),
        }
    }

    /// Creates the specification of environment `id`, in which every agent plays its own copy of
    /// `copied`: RLlib's `make_multi_agent`.
    ///
    /// The option `num_agents` (1) is the number of agents, which are called `0`, `1`, and so on.
    /// All other options go to the copies. See [`MultiAgentCopies`].
    ///
    /// ```
    /// use rekindle_env::{EnvConfig, MultiAgentEnvSpec, spec};
    ///
    /// let acrobats = MultiAgentEnvSpec::copies("Lab/Acrobats-v0", spec("Acrobot-v1")?);
    /// let env = acrobats.make(&EnvConfig::new().with("num_agents", 3))?;
    /// assert_eq!(env.possible_agents()[2].id, "2");
    /// # Ok::<(), rekindle_env::EnvError>(())
    /// ```
    #[must_use]
    pub fn copies(id: impl Into<Arc<str>>, copied: EnvSpec) -> Self {
        Self::new(id, move |config| MultiAgentCopies::make(&copied, config))
    }

    /// Sets the number of steps after which an episode is truncated for all agents; `None` is no
    /// limit.
    #[must_use]
    pub fn with_max_episode_steps(mut self, steps: impl Into<Option<usize>>) -> Self {
        self.max_episode_steps = steps.into();
        self
    }

    /// Returns the environment's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the number of steps after which an episode is truncated for all agents, if there is
    /// a limit.
    #[must_use]
    pub fn max_episode_steps(&self) -> Option<usize> {
        self.max_episode_steps
    }

    /// Makes one environment, wrapped in [`MultiAgentTimeLimit`] and [`MultiAgentChecker`].
    ///
    /// # Errors
    ///
    /// The errors of the environment's constructor, and [`EnvError::InvalidOption`] for a limit of
    /// 0 steps.
    pub fn make(&self, config: &EnvConfig) -> Result<Box<dyn MultiAgentEnv>> {
        (self.make)(config, self.max_episode_steps)
    }

    /// Makes a vector of `num_envs` environments, each wrapped in [`MultiAgentTimeLimit`] and
    /// [`MultiAgentChecker`].
    ///
    /// # Errors
    ///
    /// As for [`make`](Self::make), [`EnvError::ShapeMismatch`] for 0 environments, and
    /// [`EnvError::InvalidSpace`] if their agents differ.
    pub fn make_vec(
        &self,
        num_envs: usize,
        config: &EnvConfig,
    ) -> Result<Box<dyn MultiAgentVectorEnv>> {
        (self.make_vec)(num_envs, config, self.max_episode_steps)
    }
}

impl fmt::Debug for MultiAgentEnvSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiAgentEnvSpec")
            .field("id", &self.id)
            .field("max_episode_steps", &self.max_episode_steps)
            .finish_non_exhaustive()
    }
}

/// Checks that agents have ids of their own that metrics can name.
fn check_agents(agents: &[AgentSpec]) -> Result<()> {
    for (index, agent) in agents.iter().enumerate() {
        let reason = if agent.id.is_empty() {
            "an id of an agent must not be empty"
        } else if agent.id.contains(|c: char| c == '/' || c.is_control()) {
            "an id of an agent must not contain a slash or control characters, because metrics are named by it"
        } else if agents[..index].iter().any(|other| other.id == agent.id) {
            "two agents have this id, and each needs an id of its own"
        } else {
            continue;
        };
        return Err(EnvError::InvalidAgentId { id: agent.id.clone(), reason });
    }
    Ok(())
}

/// An environment that knows the id under which it is registered.
fn checked<E: MultiAgentEnv>(env: E, id: &Arc<str>) -> MultiAgentChecker<E> {
    MultiAgentChecker::new(env).with_name(Arc::clone(id))
}

/// The multi-agent environments of this crate.
pub(crate) fn specs() -> Vec<MultiAgentEnvSpec> {
    // Copies use the specifications of the single-agent environments.
    let single = classic_control::specs().into_iter().chain(diagnostic::specs());
    let copies = single.filter_map(|spec| {
        let id = match spec.id() {
            "CartPole-v1" => "MultiAgentCartPole-v1",
            "CrashingCartPole-v1" => "MultiAgentCrashingCartPole-v1",
            "Pendulum-v1" => "MultiAgentPendulum-v1",
            "StatelessCartPole-v1" => "MultiAgentStatelessCartPole-v1",
            _ => return None,
        };
        Some(MultiAgentEnvSpec::copies(id, spec))
    });
    let games = [
        MultiAgentEnvSpec::new("RockPaperScissors-v0", RockPaperScissors::new),
        MultiAgentEnvSpec::new("TicTacToe-v0", TicTacToe::new),
    ];
    copies.chain(games).collect()
}

/// Makes a multi-agent environment available under its id in the whole program.
///
/// # Errors
///
/// [`EnvError::InvalidId`] if the id is not of the form `[namespace/]name-vN`,
/// [`EnvError::DuplicateId`] if it is already registered.
pub fn register_multi_agent(spec: MultiAgentEnvSpec) -> Result<()> {
    register_entry(spec.id().to_owned(), Entry::Multi(spec))
}

/// Returns the specification of the multi-agent environment registered under `id`.
///
/// # Errors
///
/// [`EnvError::UnknownEnv`] with the closest ids, or [`EnvError::WrongKindOfEnv`] for a
/// single-agent environment.
pub fn multi_agent_spec(id: &str) -> Result<MultiAgentEnvSpec> {
    match entry(id)? {
        Entry::Multi(spec) => Ok(spec),
        Entry::Single(_) => Err(EnvError::WrongKindOfEnv {
            id: id.to_owned(),
            kind: "single-agent",
            remedy: "to train in it, leave out `.multi_agent(..)`; to step it yourself, make it \
                     with `make` or `make_vec`; for several agents in copies of it, register \
                     `MultiAgentEnvSpec::copies`",
        }),
    }
}

/// Returns the ids of all registered multi-agent environments, sorted.
#[must_use]
pub fn registered_multi_agent_ids() -> Vec<String> {
    ids(|entry| matches!(entry, Entry::Multi(_)))
}

/// Makes one multi-agent environment by its id.
///
/// # Errors
///
/// As for [`multi_agent_spec`] and [`MultiAgentEnvSpec::make`].
pub fn make_multi_agent(id: &str) -> Result<Box<dyn MultiAgentEnv>> {
    make_multi_agent_with(id, &EnvConfig::new())
}

/// Makes one multi-agent environment by its id, with options for its constructor.
///
/// # Errors
///
/// As for [`multi_agent_spec`] and [`MultiAgentEnvSpec::make`].
pub fn make_multi_agent_with(id: &str, config: &EnvConfig) -> Result<Box<dyn MultiAgentEnv>> {
    multi_agent_spec(id)?.make(config)
}

/// Makes a vector of `num_envs` multi-agent environments by their id.
///
/// # Errors
///
/// As for [`multi_agent_spec`] and [`MultiAgentEnvSpec::make_vec`].
pub fn make_multi_agent_vec(id: &str, num_envs: usize) -> Result<Box<dyn MultiAgentVectorEnv>> {
    make_multi_agent_vec_with(id, num_envs, &EnvConfig::new())
}

/// Makes a vector of `num_envs` multi-agent environments by their id, with options for their
/// constructor.
///
/// # Errors
///
/// As for [`multi_agent_spec`] and [`MultiAgentEnvSpec::make_vec`].
pub fn make_multi_agent_vec_with(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
) -> Result<Box<dyn MultiAgentVectorEnv>> {
    multi_agent_spec(id)?.make_vec(num_envs, config)
}
