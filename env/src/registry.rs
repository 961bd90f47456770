//! Environments by id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::env::Env;
use crate::error::{EnvError, Result};
use crate::multi_agent::{self, MultiAgentEnvSpec};
use crate::options::EnvConfig;
use crate::vector::{CheckedVectorEnv, SyncVectorEnv, VectorEnv};
use crate::wrappers::{OrderEnforcing, TimeLimit};
use crate::{classic_control, diagnostic, games};

/// The specification of an environment: its id, its constructor, and the limits of its episodes.
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

/// Makes an environment whose episodes have at most `max_episode_steps` steps.
type Make = dyn Fn(&EnvConfig, Option<usize>) -> Result<Box<dyn Env>> + Send + Sync;
/// Makes a vector of `num_envs` environments whose episodes have at most `max_episode_steps` steps.
type MakeVec = dyn Fn(usize, &EnvConfig, Option<usize>) -> Result<Box<dyn VectorEnv>> + Send + Sync;

impl EnvSpec {
    /// Creates the specification of environment `id` (`[namespace/]name-vN`), made by
    /// `entry_point`.
    ///
    /// [`register`] checks the form of the id.
    #[must_use]
    pub fn new<E, F>(id: impl Into<Arc<str>>, entry_point: F) -> Self
    where
        E: Env + 'static,
        F: Fn(&EnvConfig) -> Result<E> + Send + Sync + 'static,
    {
        let id = id.into();
        let name = Arc::clone(&id);
        let entry_point = Arc::new(move |config: &EnvConfig| {
            entry_point(config).map_err(|error| error.with_env(&name))
        });
        let single = Arc::clone(&entry_point);
        let (name, vector_name) = (Arc::clone(&id), Arc::clone(&id));
        Self {
            id,
            max_episode_steps: None,
            reward_threshold: None,
            make: Arc::new(move |config, limit| {
                let env = single(config)?;
                Ok(match limit {
                    Some(steps) => Box::new(enforced(TimeLimit::new(env, steps)?, &name)),
                    None => Box::new(enforced(env, &name)),
                })
            }),
            make_vec: Arc::new(move |num_envs, config, limit| {
                let envs = (0..num_envs).map(|_| entry_point(config));
                Ok(match limit {
                    Some(steps) => {
                        let envs = envs.map(|env| {
                            TimeLimit::new(env?, steps).map(|env| enforced(env, &vector_name))
                        });
                        Box::new(SyncVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                    None => {
                        let envs = envs.map(|env| env.map(|env| enforced(env, &vector_name)));
                        Box::new(SyncVectorEnv::new(envs.collect::<Result<_>>()?)?)
                    }
                })
            }),
        }
    }

    /// Makes vectors with `entry_point` instead of stepping single environments one after the
    /// other: Gymnasium's `vector_entry_point`.
    ///
    /// The entry point gets the number of environments, their configuration, and the maximum length
    /// of an episode in steps, which the vector itself must enforce.
    #[must_use]
    pub fn with_vector_entry_point<V, F>(mut self, entry_point: F) -> Self
    where
        V: VectorEnv + 'static,
        F: Fn(usize, &EnvConfig, Option<usize>) -> Result<V> + Send + Sync + 'static,
    {
        let id = Arc::clone(&self.id);
        self.make_vec = Arc::new(move |num_envs, config, limit| {
            let env = entry_point(num_envs, config, limit).map_err(|error| error.with_env(&id))?;
            Ok(Box::new(CheckedVectorEnv::new(env, Arc::clone(&id))))
        });
        self
    }

    /// Sets the number of steps after which an episode is truncated; `None` is no limit.
    #[must_use]
    pub fn with_max_episode_steps(mut self, steps: impl Into<Option<usize>>) -> Self {
        self.max_episode_steps = steps.into();
        self
    }

    /// Sets the mean return from which the environment counts as solved.
    #[must_use]
    pub fn with_reward_threshold(mut self, threshold: impl Into<Option<f64>>) -> Self {
        self.reward_threshold = threshold.into();
        self
    }

    /// Returns the environment's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the number of steps after which an episode is truncated, if there is a limit.
    #[must_use]
    pub fn max_episode_steps(&self) -> Option<usize> {
        self.max_episode_steps
    }

    /// Returns the mean return from which the environment counts as solved, if there is one.
    #[must_use]
    pub fn reward_threshold(&self) -> Option<f64> {
        self.reward_threshold
    }

    /// Makes one environment, wrapped in [`TimeLimit`] and [`OrderEnforcing`].
    ///
    /// # Errors
    ///
    /// The errors of the environment's constructor, and [`EnvError::InvalidOption`] for a limit of
    /// 0 steps.
    pub fn make(&self, config: &EnvConfig) -> Result<Box<dyn Env>> {
        (self.make)(config, self.max_episode_steps)
    }

    /// Makes a vector of `num_envs` environments, each wrapped in [`TimeLimit`] and
    /// [`OrderEnforcing`].
    ///
    /// # Errors
    ///
    /// As for [`make`](Self::make), [`EnvError::ShapeMismatch`] for 0 environments, and
    /// [`EnvError::InvalidSpace`] if their spaces differ.
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

/// An environment that knows the id under which it is registered.
fn enforced<E: Env>(env: E, id: &Arc<str>) -> OrderEnforcing<E> {
    OrderEnforcing::new(env).with_name(Arc::clone(id))
}

type Registry = BTreeMap<String, Entry>;

/// An environment of either kind; all ids share one namespace.
#[derive(Clone)]
pub(crate) enum Entry {
    Single(EnvSpec),
    Multi(MultiAgentEnvSpec),
}

/// A function that makes the specification of an id with a scheme.
type Resolve = dyn Fn(&str) -> Result<Entry> + Send + Sync;

/// The ids that begin with the same word and a colon.
struct Scheme {
    /// The form of the ids, for error messages.
    form: String,
    resolve: Arc<Resolve>,
}

/// The schemes by name.
static SCHEMES: RwLock<BTreeMap<String, Scheme>> = RwLock::new(BTreeMap::new());

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(|| {
    let single = [classic_control::specs(), games::specs(), diagnostic::specs()];
    let single =
        single.into_iter().flatten().map(|spec| (spec.id().to_owned(), Entry::Single(spec)));
    let multi = multi_agent::specs().into_iter();
    let multi = multi.map(|spec| (spec.id().to_owned(), Entry::Multi(spec)));
    RwLock::new(single.chain(multi).collect())
});

/// Makes an environment available under its id in the whole program.
///
/// # Errors
///
/// [`EnvError::InvalidId`] if the id is not of the form `[namespace/]name-vN`,
/// [`EnvError::DuplicateId`] if it is already registered.
pub fn register(spec: EnvSpec) -> Result<()> {
    register_entry(spec.id().to_owned(), Entry::Single(spec))
}

pub(crate) fn register_entry(id: String, entry: Entry) -> Result<()> {
    if !is_valid_id(&id) {
        return Err(EnvError::InvalidId { id });
    }
    // A panic elsewhere cannot leave the map half changed, so a poisoned lock is usable.
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    if registry.contains_key(&id) {
        return Err(EnvError::DuplicateId { id });
    }
    registry.insert(id, entry);
    Ok(())
}

/// Makes all ids `scheme:rest` available in the whole program, for environments that other programs
/// provide. `resolve` gets the whole id and returns its specification, without starting anything.
///
/// `form` shows the form of such ids in error messages, as in `gymnasium:<id>`. An id registered with
/// [`register`] takes precedence. A second registration of a scheme is ignored.
///
/// ```
/// use rekindle_env::{EnvSpec, classic_control::CartPole, is_external, make, register_scheme};
///
/// register_scheme("lab", "lab:<name>", |id| Ok(EnvSpec::new(id, CartPole::new)));
/// assert_eq!(make("lab:Cart")?.name(), "lab:Cart");
/// assert!(is_external("lab:Cart") && !is_external("CartPole-v1"));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
pub fn register_scheme<F>(scheme: &str, form: &str, resolve: F)
where
    F: Fn(&str) -> Result<EnvSpec> + Send + Sync + 'static,
{
    add_scheme(scheme, form, Arc::new(move |id: &str| resolve(id).map(Entry::Single)));
}

/// Works like [`register_scheme`] for environments with several agents.
pub fn register_multi_agent_scheme<F>(scheme: &str, form: &str, resolve: F)
where
    F: Fn(&str) -> Result<MultiAgentEnvSpec> + Send + Sync + 'static,
{
    add_scheme(scheme, form, Arc::new(move |id: &str| resolve(id).map(Entry::Multi)));
}

fn add_scheme(scheme: &str, form: &str, resolve: Arc<Resolve>) {
    let mut schemes = SCHEMES.write().unwrap_or_else(PoisonError::into_inner);
    let new = || Scheme { form: form.to_owned(), resolve };
    schemes.entry(scheme.to_owned()).or_insert_with(new);
}

/// Returns whether the environment `id` comes from a [scheme](register_scheme), so that making it may
/// start another program.
#[must_use]
pub fn is_external(id: &str) -> bool {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    !registry.contains_key(id) && scheme_of(id).is_some()
}

/// Returns the function that resolves `id`, if its scheme is registered.
fn scheme_of(id: &str) -> Option<Arc<Resolve>> {
    let (scheme, _) = id.split_once(':')?;
    let schemes = SCHEMES.read().unwrap_or_else(PoisonError::into_inner);
    schemes.get(scheme).map(|scheme| Arc::clone(&scheme.resolve))
}

/// Returns the specification registered under `id`.
///
/// # Errors
///
/// [`EnvError::UnknownEnv`] with the closest ids, [`EnvError::WrongKindOfEnv`] for a multi-agent
/// environment, or the error of the id's [scheme](register_scheme).
pub fn spec(id: &str) -> Result<EnvSpec> {
    match entry(id)? {
        Entry::Single(spec) => Ok(spec),
        Entry::Multi(_) => Err(EnvError::WrongKindOfEnv {
            id: id.to_owned(),
            kind: "multi-agent",
            remedy: "to train in it, map its agents to policies with `.multi_agent(..)`; to step \
                     it yourself, make it with `make_multi_agent` or `make_multi_agent_vec`",
        }),
    }
}

pub(crate) fn entry(id: &str) -> Result<Entry> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = registry.get(id) {
        return Ok(entry.clone());
    }
    // The lock is not held, because `resolve` may look at the registry.
    drop(registry);
    if let Some(resolve) = scheme_of(id) {
        return resolve(id);
    }
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    let schemes = SCHEMES.read().unwrap_or_else(PoisonError::into_inner);
    let forms = schemes.values().map(|scheme| scheme.form.clone());
    Err(EnvError::UnknownEnv {
        id: id.to_owned(),
        known: registry.keys().cloned().chain(forms).collect(),
    })
}

/// Returns the ids of all registered single-agent environments, sorted.
#[must_use]
pub fn registered_ids() -> Vec<String> {
    ids(|entry| matches!(entry, Entry::Single(_)))
}

pub(crate) fn ids(kind: fn(&Entry) -> bool) -> Vec<String> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.iter().filter(|(_, entry)| kind(entry)).map(|(id, _)| id.clone()).collect()
}

/// Makes one environment by its id.
///
/// # Errors
///
/// As for [`spec`] and [`EnvSpec::make`].
pub fn make(id: &str) -> Result<Box<dyn Env>> {
    make_with(id, &EnvConfig::new())
}

/// Makes one environment by its id, with options for its constructor.
///
/// # Errors
///
/// As for [`spec`] and [`EnvSpec::make`].
pub fn make_with(id: &str, config: &EnvConfig) -> Result<Box<dyn Env>> {
    spec(id)?.make(config)
}

/// Makes a vector of `num_envs` environments by their id.
///
/// # Errors
///
/// As for [`spec`] and [`EnvSpec::make_vec`].
pub fn make_vec(id: &str, num_envs: usize) -> Result<Box<dyn VectorEnv>> {
    make_vec_with(id, num_envs, &EnvConfig::new())
}

/// Makes a vector of `num_envs` environments by their id, with options for their constructor.
///
/// # Errors
///
/// As for [`spec`] and [`EnvSpec::make_vec`].
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
