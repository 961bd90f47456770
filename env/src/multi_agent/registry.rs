//! Multi-agent environments by name.

use std::fmt;
use std::sync::Arc;

use super::{
    MultiAgentChecker, MultiAgentCopies, MultiAgentEnv, MultiAgentTimeLimit, MultiAgentVectorEnv,
    SyncMultiAgentVectorEnv,
};
use crate::games::{RockPaperScissors, TicTacToe};
use crate::registry::{Entry, entry, ids, register_entry};
use crate::{EnvConfig, EnvError, EnvSpec, Result, classic_control, diagnostic};

/// How to make a multi-agent environment, and what is known about it.
///
/// What [`EnvSpec`] is to an environment with one agent. Cloning is cheap.
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

/// Makes an environment whose episodes have at most so many steps.
type Make = dyn Fn(&EnvConfig, Option<usize>) -> Result<Box<dyn MultiAgentEnv>> + Send + Sync;
/// Makes a vector of so many environments whose episodes have at most so many steps.
type MakeVec =
    dyn Fn(usize, &EnvConfig, Option<usize>) -> Result<Box<dyn MultiAgentVectorEnv>> + Send + Sync;

impl MultiAgentEnvSpec {
    /// An environment called `id` (`[namespace/]name-vN`), made by `entry_point`.
    pub fn new<E, F>(id: impl Into<Arc<str>>, entry_point: F) -> Self
    where
        E: MultiAgentEnv + 'static,
        F: Fn(&EnvConfig) -> Result<E> + Send + Sync + 'static,
    {
        let entry_point = Arc::new(entry_point);
        let single = Arc::clone(&entry_point);
        Self {
            id: id.into(),
            max_episode_steps: None,
            make: Arc::new(move |config, limit| {
                let env = single(config)?;
                Ok(match limit {
                    Some(steps) => {
                        Box::new(MultiAgentChecker::new(MultiAgentTimeLimit::new(env, steps)?))
                    }
                    None => Box::new(MultiAgentChecker::new(env)),
                })
            }),
            make_vec: Arc::new(move |num_envs, config, limit| {
                let envs = (0..num_envs).map(|_| entry_point(config));
                Ok(match limit {
                    Some(steps) => {
                        let limited = |env: Result<E>| {
                            MultiAgentTimeLimit::new(env?, steps).map(MultiAgentChecker::new)
                        };
                        let envs = envs.map(limited).collect::<Result<_>>()?;
                        Box::new(SyncMultiAgentVectorEnv::new(envs)?)
                    }
                    None => {
                        let envs = envs.map(|env| env.map(MultiAgentChecker::new));
                        Box::new(SyncMultiAgentVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                })
            }),
        }
    }

    /// An environment called `id` in which every agent plays a copy of `copied` by itself: RLlib's
    /// `make_multi_agent`.
    ///
    /// The option `num_agents` (1) says how many there are, called `0`, `1`, ...; all other options
    /// go to the copies. See [`MultiAgentCopies`].
    ///
    /// ```
    /// use rekindle_env::{EnvConfig, MultiAgentEnvSpec, spec};
    ///
    /// let acrobats = MultiAgentEnvSpec::copies("Lab/Acrobats-v0", spec("Acrobot-v1")?);
    /// let env = acrobats.make(&EnvConfig::new().with("num_agents", 3))?;
    /// assert_eq!(env.possible_agents()[2].id, "2");
    /// # Ok::<(), rekindle_env::EnvError>(())
    /// ```
    pub fn copies(id: impl Into<Arc<str>>, copied: EnvSpec) -> Self {
        Self::new(id, move |config| MultiAgentCopies::make(&copied, config))
    }

    /// Truncates episodes for all agents after so many steps; `None` leaves them unlimited.
    #[must_use]
    pub fn with_max_episode_steps(mut self, steps: impl Into<Option<usize>>) -> Self {
        self.max_episode_steps = steps.into();
        self
    }

    /// The environment's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The longest episode in steps, if there is a limit for all agents.
    #[must_use]
    pub fn max_episode_steps(&self) -> Option<usize> {
        self.max_episode_steps
    }

    /// One environment, wrapped in [`MultiAgentTimeLimit`] and [`MultiAgentChecker`].
    pub fn make(&self, config: &EnvConfig) -> Result<Box<dyn MultiAgentEnv>> {
        (self.make)(config, self.max_episode_steps)
    }

    /// A vector of `num_envs` environments, each wrapped in [`MultiAgentTimeLimit`] and
    /// [`MultiAgentChecker`].
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

/// The multi-agent environments of this crate.
pub(crate) fn specs() -> Vec<MultiAgentEnvSpec> {
    // Copies of the very specifications that make the environments with one agent.
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

/// Makes a multi-agent environment available under its id, in the whole program.
pub fn register_multi_agent(spec: MultiAgentEnvSpec) -> Result<()> {
    register_entry(spec.id().to_owned(), Entry::Multi(spec))
}

/// The specification of the multi-agent environment registered under `id`.
pub fn multi_agent_spec(id: &str) -> Result<MultiAgentEnvSpec> {
    match entry(id)? {
        Entry::Multi(spec) => Ok(spec),
        Entry::Single(_) => Err(EnvError::WrongKindOfEnv {
            id: id.to_owned(),
            kind: "single-agent",
            remedy: "make it with `make` or `make_vec`, or let several agents play copies of it \
                     with `MultiAgentEnvSpec::copies`",
        }),
    }
}

/// The ids of all registered multi-agent environments, sorted.
#[must_use]
pub fn registered_multi_agent_ids() -> Vec<String> {
    ids(|entry| matches!(entry, Entry::Multi(_)))
}

/// One multi-agent environment by its id.
pub fn make_multi_agent(id: &str) -> Result<Box<dyn MultiAgentEnv>> {
    make_multi_agent_with(id, &EnvConfig::new())
}

/// One multi-agent environment by its id, with options for its constructor.
pub fn make_multi_agent_with(id: &str, config: &EnvConfig) -> Result<Box<dyn MultiAgentEnv>> {
    multi_agent_spec(id)?.make(config)
}

/// A vector of `num_envs` multi-agent environments by their id.
pub fn make_multi_agent_vec(id: &str, num_envs: usize) -> Result<Box<dyn MultiAgentVectorEnv>> {
    make_multi_agent_vec_with(id, num_envs, &EnvConfig::new())
}

/// A vector of `num_envs` multi-agent environments by their id, with options for their constructor.
pub fn make_multi_agent_vec_with(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
) -> Result<Box<dyn MultiAgentVectorEnv>> {
    multi_agent_spec(id)?.make_vec(num_envs, config)
}
