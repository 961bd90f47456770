//! Environments by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::multi_agent::{self, MultiAgentEnvSpec};
use crate::wrappers::{OrderEnforcing, TimeLimit};
use crate::{
    Env, EnvConfig, EnvError, Result, SyncVectorEnv, VectorEnv, classic_control, diagnostic, games,
};

/// How to make an environment, and what is known about it.
///
/// The entry point returns a concrete type, so that a vector of the environment is compiled for
/// that type. Cloning is cheap.
///
/// ```
/// use rekindle_env::{EnvConfig, EnvSpec, classic_control::CartPole};
///
/// let spec = EnvSpec::new("Lab/LongCartPole-v0", CartPole::new)
///     .with_max_episode_steps(10_000)
///     .with_reward_threshold(9_500.0);
/// let env = spec.make(&EnvConfig::new())?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone)]
pub struct EnvSpec {
    id: Arc<str>,
    max_episode_steps: Option<usize>,
    reward_threshold: Option<f64>,
    make: Arc<Make>,
    make_vec: Arc<MakeVec>,
}

/// Makes an environment whose episodes have at most so many steps.
type Make = dyn Fn(&EnvConfig, Option<usize>) -> Result<Box<dyn Env>> + Send + Sync;
/// Makes a vector of so many environments whose episodes have at most so many steps.
type MakeVec = dyn Fn(usize, &EnvConfig, Option<usize>) -> Result<Box<dyn VectorEnv>> + Send + Sync;

impl EnvSpec {
    /// An environment called `id` (`[namespace/]name-vN`), made by `entry_point`.
    pub fn new<E, F>(id: impl Into<Arc<str>>, entry_point: F) -> Self
    where
        E: Env + 'static,
        F: Fn(&EnvConfig) -> Result<E> + Send + Sync + 'static,
    {
        let entry_point = Arc::new(entry_point);
        let single = Arc::clone(&entry_point);
        Self {
            id: id.into(),
            max_episode_steps: None,
            reward_threshold: None,
            make: Arc::new(move |config, limit| {
                let env = single(config)?;
                Ok(match limit {
                    Some(steps) => Box::new(OrderEnforcing::new(TimeLimit::new(env, steps)?)),
                    None => Box::new(OrderEnforcing::new(env)),
                })
            }),
            make_vec: Arc::new(move |num_envs, config, limit| {
                let envs = (0..num_envs).map(|_| entry_point(config));
                Ok(match limit {
                    Some(steps) => {
                        let limited =
                            |env: Result<E>| TimeLimit::new(env?, steps).map(OrderEnforcing::new);
                        Box::new(SyncVectorEnv::new(envs.map(limited).collect::<Result<_>>()?)?)
                    }
                    None => {
                        let envs = envs.map(|env| env.map(OrderEnforcing::new));
                        Box::new(SyncVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                })
            }),
        }
    }

    /// Builds vectors by `entry_point` instead of stepping single environments one after the other;
    /// Gymnasium's `vector_entry_point`.
    ///
    /// It gets the number of environments, their settings, and the longest episode in steps, which
    /// the vector itself has to heed.
    #[must_use]
    pub fn with_vector_entry_point<V, F>(mut self, entry_point: F) -> Self
    where
        V: VectorEnv + 'static,
        F: Fn(usize, &EnvConfig, Option<usize>) -> Result<V> + Send + Sync + 'static,
    {
        self.make_vec = Arc::new(move |num_envs, config, limit| {
            Ok(Box::new(entry_point(num_envs, config, limit)?))
        });
        self
    }

    /// Truncates episodes after so many steps; `None` leaves them unlimited.
    #[must_use]
    pub fn with_max_episode_steps(mut self, steps: impl Into<Option<usize>>) -> Self {
        self.max_episode_steps = steps.into();
        self
    }

    /// The mean return from which the environment counts as solved.
    #[must_use]
    pub fn with_reward_threshold(mut self, threshold: impl Into<Option<f64>>) -> Self {
        self.reward_threshold = threshold.into();
        self
    }

    /// The environment's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The longest episode in steps, if there is a limit.
    #[must_use]
    pub fn max_episode_steps(&self) -> Option<usize> {
        self.max_episode_steps
    }

    /// The mean return from which the environment counts as solved, if there is one.
    #[must_use]
    pub fn reward_threshold(&self) -> Option<f64> {
        self.reward_threshold
    }

    /// One environment, wrapped in [`TimeLimit`] and [`OrderEnforcing`].
    pub fn make(&self, config: &EnvConfig) -> Result<Box<dyn Env>> {
        (self.make)(config, self.max_episode_steps)
    }

    /// A vector of `num_envs` environments, each wrapped in [`TimeLimit`] and [`OrderEnforcing`].
    pub fn make_vec(&self, num_envs: usize, config: &EnvConfig) -> Result<Box<dyn VectorEnv>> {
        (self.make_vec)(num_envs, config, self.max_episode_steps)
    }
}

impl fmt::Debug for EnvSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvSpec")
            .field("id", &self.id)
            .field("max_episode_steps", &self.max_episode_steps)
            .field("reward_threshold", &self.reward_threshold)
            .finish_non_exhaustive()
    }
}

type Registry = BTreeMap<String, Entry>;

/// An environment of either kind; all ids share one namespace.
#[derive(Clone)]
pub(crate) enum Entry {
    Single(EnvSpec),
    Multi(MultiAgentEnvSpec),
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(|| {
    let single = [classic_control::specs(), games::specs(), diagnostic::specs()];
    let single =
        single.into_iter().flatten().map(|spec| (spec.id().to_owned(), Entry::Single(spec)));
    let multi = multi_agent::specs().into_iter();
    let multi = multi.map(|spec| (spec.id().to_owned(), Entry::Multi(spec)));
    RwLock::new(single.chain(multi).collect())
});

/// Makes an environment available under its id, in the whole program.
pub fn register(spec: EnvSpec) -> Result<()> {
    register_entry(spec.id().to_owned(), Entry::Single(spec))
}

pub(crate) fn register_entry(id: String, entry: Entry) -> Result<()> {
    if !is_valid_id(&id) {
        return Err(EnvError::InvalidId { id });
    }
    // A panic elsewhere cannot have left the map half changed, so poisoning means nothing here.
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    if registry.contains_key(&id) {
        return Err(EnvError::DuplicateId { id });
    }
    registry.insert(id, entry);
    Ok(())
}

/// The specification registered under `id`.
pub fn spec(id: &str) -> Result<EnvSpec> {
    match entry(id)? {
        Entry::Single(spec) => Ok(spec),
        Entry::Multi(_) => Err(EnvError::WrongKindOfEnv {
            id: id.to_owned(),
            kind: "multi-agent",
            remedy: "make it with `make_multi_agent`, or a vector of it with \
                     `make_multi_agent_vec`",
        }),
    }
}

pub(crate) fn entry(id: &str) -> Result<Entry> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.get(id).cloned().ok_or_else(|| EnvError::UnknownEnv {
        id: id.to_owned(),
        known: registry.keys().cloned().collect(),
    })
}

/// The ids of all registered environments with one agent, sorted.
#[must_use]
pub fn registered_ids() -> Vec<String> {
    ids(|entry| matches!(entry, Entry::Single(_)))
}

pub(crate) fn ids(kind: fn(&Entry) -> bool) -> Vec<String> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.iter().filter(|(_, entry)| kind(entry)).map(|(id, _)| id.clone()).collect()
}

/// One environment by its id.
pub fn make(id: &str) -> Result<Box<dyn Env>> {
    make_with(id, &EnvConfig::new())
}

/// One environment by its id, with options for its constructor.
pub fn make_with(id: &str, config: &EnvConfig) -> Result<Box<dyn Env>> {
    spec(id)?.make(config)
}

/// A vector of `num_envs` environments by their id.
pub fn make_vec(id: &str, num_envs: usize) -> Result<Box<dyn VectorEnv>> {
    make_vec_with(id, num_envs, &EnvConfig::new())
}

/// A vector of `num_envs` environments by their id, with options for their constructor.
pub fn make_vec_with(id: &str, num_envs: usize, config: &EnvConfig) -> Result<Box<dyn VectorEnv>> {
    spec(id)?.make_vec(num_envs, config)
}

/// Whether `id` is `[namespace/]name-vN`.
fn is_valid_id(id: &str) -> bool {
    let word = |text: &str, also: &str| {
        let allowed = |c: char| c.is_alphanumeric() || c == '_' || also.contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    let (namespace, rest) = id.split_once('/').map_or((None, id), |(n, rest)| (Some(n), rest));
    let Some((name, version)) = rest.rsplit_once("-v") else { return false };
    namespace.is_none_or(|namespace| word(namespace, ":-"))
        && word(name, ":.-")
        && !version.is_empty()
        && version.chars().all(|c| c.is_ascii_digit())
}
