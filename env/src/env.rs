//! The interface between an agent and its environment.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::options;
use crate::{EnvError, Result, Row, RowMut, Space};

/// An environment: the process that an agent observes and acts on.
///
/// The life of an environment is a sequence of episodes. [`reset`](Self::reset) starts one and
/// [`step`](Self::step) moves it on until a step is [`done`](Step::is_done). Observations are
/// written into a row of the caller's [`Buffer`](crate::Buffer) and actions are read from one, so
/// a step allocates nothing.
///
/// An environment need not check that it is reset before it is stepped, nor count its steps:
/// [`make`](crate::make) wraps it in [`OrderEnforcing`](crate::wrappers::OrderEnforcing) and
/// [`TimeLimit`](crate::wrappers::TimeLimit).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an environment",
    label = "this type does not implement `Env`",
    note = "implement `Env`: `observation_space`, `action_space`, `reset` and `step`",
    note = "`Box<dyn Env>` is an environment, too"
)]
pub trait Env: Send {
    /// The space of the observations.
    fn observation_space(&self) -> &Space;

    /// The space of the actions.
    fn action_space(&self) -> &Space;

    /// Starts an episode and writes its first observation.
    ///
    /// A seed restarts the environment's random stream; without one, the stream goes on, so that
    /// every episode differs from the one before.
    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()>;

    /// Performs one action and writes the observation that follows.
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step>;

    /// More about the last reset or step, for logs and debugging.
    fn info(&self) -> Info {
        Info::new()
    }

    /// Everything needed to go on exactly from here, or `None` where the environment cannot tell.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Goes on from a state that [`state`](Self::state) returned.
    fn set_state(&mut self, _state: &Json) -> Result<()> {
        Err(EnvError::Unsupported { env: self.name().to_owned(), what: "set_state".to_owned() })
    }

    /// The name used in error messages.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

impl fmt::Debug for dyn Env + '_ {
    /// Shows the name and the spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name())
            .field("observation_space", &format_args!("{}", self.observation_space()))
            .field("action_space", &format_args!("{}", self.action_space()))
            .finish_non_exhaustive()
    }
}

impl<E: Env + ?Sized> Env for Box<E> {
    fn observation_space(&self) -> &Space {
        (**self).observation_space()
    }

    fn action_space(&self) -> &Space {
        (**self).action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        (**self).reset(options, observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        (**self).step(action, observation)
    }

    fn info(&self) -> Info {
        (**self).info()
    }

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}

/// Saves what an environment holds, for its [`state`](Env::state).
///
/// ```
/// use rekindle_env::{load_state, save_state};
///
/// let saved = save_state(&(3_u32, 0.1_f64))?.unwrap_or_default();
/// let (steps, angle): (u32, f64) = load_state("Swing", &saved)?;
/// assert_eq!((steps, angle), (3, 0.1));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
pub fn save_state<T: Serialize>(state: &T) -> Result<Option<Json>> {
    serde_json::to_value(state).map(Some).map_err(EnvError::custom)
}

/// Reads what [`save_state`] saved, for the [`set_state`](Env::set_state) of the environment `env`.
pub fn load_state<T: DeserializeOwned>(env: &str, state: &Json) -> Result<T> {
    T::deserialize(state)
        .map_err(|error| EnvError::InvalidState { env: env.to_owned(), reason: error.to_string() })
}

/// The outcome of a step, besides the observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The reward for the action.
    pub reward: f64,
    /// Whether a terminal state was reached: nothing follows, and its value is zero.
    pub terminated: bool,
    /// Whether the episode was cut short in a state from which it would have gone on.
    pub truncated: bool,
}

impl Step {
    /// A step within an episode.
    #[must_use]
    pub fn running(reward: f64) -> Self {
        Self { reward, terminated: false, truncated: false }
    }

    /// Whether the episode is over.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// Named numbers about the last reset or step.
pub type Info = BTreeMap<String, f64>;

/// How an episode is to start.
///
/// ```
/// use rekindle_env::ResetOptions;
///
/// let seeded = ResetOptions::seed(123);
/// let wide = ResetOptions::seed(123).with("low", -0.1).with("high", 0.1);
/// assert_eq!(wide.options["low"], -0.1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResetOptions {
    /// Restarts the random stream of the environment.
    pub seed: Option<u64>,
    /// Options of the particular environment.
    pub options: Map<String, Json>,
}

impl ResetOptions {
    /// No seed and no options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A seed and no options.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self { seed: Some(seed), options: Map::new() }
    }

    /// Adds an option.
    #[must_use]
    pub fn with(mut self, option: impl Into<String>, value: impl Into<Json>) -> Self {
        self.options.insert(option.into(), value.into());
        self
    }

    /// The option as a number, if it was given.
    pub fn get_f64(&self, option: &str) -> Result<Option<f64>> {
        options::number(&self.options, option)
    }

    /// Fails if an option was given which is not among `known`.
    pub fn deny_unknown(&self, env: &str, known: &[&str]) -> Result<()> {
        options::deny_unknown(&self.options, env, known)
    }
}

/// The action of a `Discrete` space.
#[inline]
pub(crate) fn discrete_action(space: &Space, action: Row<'_>) -> Result<i64> {
    let number = action.discrete()?;
    match space {
        Space::Discrete(space) if space.contains(number) => Ok(number),
        _ => Err(invalid_action(space, action)),
    }
}

#[cold]
pub(crate) fn invalid_action(space: &Space, action: Row<'_>) -> EnvError {
    EnvError::InvalidAction { space: space.to_string(), action: format!("{action:?}") }
}

/// The state given to the `set_state` of `env` cannot be.
pub(crate) fn invalid_state(env: &str, reason: impl Into<String>) -> EnvError {
    EnvError::InvalidState { env: env.to_owned(), reason: reason.into() }
}
