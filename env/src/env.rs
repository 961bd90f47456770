//! The interface between an agent and its environment.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::buffer::{Row, RowMut};
use crate::error::{EnvError, Result};
use crate::options;
use crate::render::Frame;
use crate::spaces::Space;

/// An environment: the process that an agent observes and acts on.
///
/// An environment runs one episode after another. [`reset`](Self::reset) starts an episode, and
/// [`step`](Self::step) advances it until a step is [done](Step::is_done). Observations are written
/// into a row of the caller's [`Buffer`](crate::Buffer) and actions are read from one, so that a
/// step allocates nothing.
///
/// An environment need not check that it is reset before it is stepped, nor count its steps:
/// [`make`](crate::make) wraps it in [`OrderEnforcing`](crate::wrappers::OrderEnforcing) and
/// [`TimeLimit`](crate::wrappers::TimeLimit).
///
/// Call [`check_env`](crate::check_env) on a new environment in a test: it also finds values outside
/// the bounds of a Box, which steps do not check.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an environment",
    label = "this type does not implement `Env`",
    note = "implement `Env`: `observation_space`, `action_space`, `reset` and `step`",
    note = "`Box<dyn Env>` is an environment, too"
)]
pub trait Env: Send {
    /// Returns the space of the observations. It never changes.
    fn observation_space(&self) -> &Space;

    /// Returns the space of the actions. It never changes.
    fn action_space(&self) -> &Space;

    /// Starts an episode and writes its first observation.
    ///
    /// A seed restarts the environment's random stream. Without a seed the stream continues, so
    /// that each episode differs from the previous one.
    ///
    /// # Errors
    ///
    /// Any error of the environment, for example [`EnvError::UnknownOption`] for a reset option
    /// that it does not have, or [`EnvError::Crashed`].
    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()>;

    /// Performs one action and writes the next observation.
    ///
    /// # Errors
    ///
    /// Any error of the environment, for example [`EnvError::InvalidAction`] or
    /// [`EnvError::Crashed`].
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step>;

    /// Returns additional numbers about the last reset or step, for logs and callbacks.
    fn info(&self) -> Info {
        Info::new()
    }

    /// Returns a picture of the current state. It is meant for people, and need not be fast.
    ///
    /// # Errors
    ///
    /// [`EnvError::CannotRender`] if the environment draws nothing.
    fn render(&mut self) -> Result<Frame> {
        Err(EnvError::cannot_render(self.name()))
    }

    /// Returns everything needed to continue exactly from here, including random streams, or `None` if
    /// the environment does not support that.
    ///
    /// With `None`, the default, a run that is restored from a checkpoint begins new episodes, with a
    /// warning, instead of continuing exactly.
    ///
    /// Use [`save_state`]: other conversions to JSON turn NaN and infinities into `null`.
    ///
    /// # Errors
    ///
    /// Any error of the environment, if its state cannot be saved now.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Continues from a state that [`state`](Self::state) returned.
    ///
    /// # Errors
    ///
    /// [`EnvError::Unsupported`] if the environment does not save its state,
    /// [`EnvError::InvalidState`] if the state is not one of this environment.
    fn set_state(&mut self, _state: &Json) -> Result<()> {
        Err(EnvError::Unsupported { env: self.name().to_owned(), what: "set_state".to_owned() })
    }

    /// Returns the name used in error messages: the type's, unless [`make`](crate::make) made the
    /// environment by its id.
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

    fn render(&mut self) -> Result<Frame> {
        (**self).render()
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

/// Converts the fields of an environment to JSON, for its [`state`](Env::state).
///
/// NaN and infinities are kept; see [`rekindle_checkpoint::to_value`].
///
/// ```
/// use rekindle_env::{load_state, save_state};
///
/// let saved = save_state(&(3_u32, f64::NEG_INFINITY))?.unwrap_or_default();
/// let (steps, best): (u32, f64) = load_state("Swing", &saved)?;
/// assert_eq!((steps, best), (3, f64::NEG_INFINITY));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// # Errors
///
/// [`EnvError::Custom`] if the data has no form in JSON, such as a map whose keys are structs.
pub fn save_state<T: Serialize>(state: &T) -> Result<Option<Json>> {
    rekindle_checkpoint::to_value(state).map(Some).map_err(EnvError::custom)
}

/// Reads data that [`save_state`] converted, for the [`set_state`](Env::set_state) of the
/// environment `env`.
///
/// # Errors
///
/// [`EnvError::InvalidState`] if the JSON does not have the form of a `T`.
pub fn load_state<T: DeserializeOwned>(env: &str, state: &Json) -> Result<T> {
    rekindle_checkpoint::from_value(state)
        .map_err(|error| EnvError::InvalidState { env: env.to_owned(), reason: error.to_string() })
}

/// The outcome of a step, apart from the observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The reward for the action.
    pub reward: f64,
    /// Whether the episode reached a terminal state. The value of a terminal state is zero.
    pub terminated: bool,
    /// Whether the episode was truncated in a state that is not terminal.
    pub truncated: bool,
}

impl Step {
    /// Creates a step that does not end its episode.
    #[must_use]
    pub fn running(reward: f64) -> Self {
        Self { reward, terminated: false, truncated: false }
    }

    /// Returns whether the episode is over.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// Named numbers about a reset or a step.
pub type Info = BTreeMap<String, f64>;

/// The seed and the options of a reset.
///
/// ```
/// use rekindle_env::ResetOptions;
///
/// let seeded = ResetOptions::seed(123);
/// let wide = ResetOptions::seed(123).with("low", -0.1).with("high", 0.1);
/// assert_eq!(wide.options["low"], -0.1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ResetOptions {
    /// The seed that restarts the environment's random stream; `None` continues the stream.
    pub seed: Option<u64>,
    /// Options of the particular environment.
    pub options: Map<String, Json>,
}

impl ResetOptions {
    /// Creates options without a seed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates options with a seed only.
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

    /// Returns the option as a number, if it is set.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is not a number.
    pub fn get_f64(&self, option: &str) -> Result<Option<f64>> {
        options::number(&self.options, option)
    }

    /// Checks that all options that are set are among `known`.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownOption`] with the name of the environment `env`.
    pub fn deny_unknown(&self, env: &str, known: &[&str]) -> Result<()> {
        options::deny_unknown(&self.options, env, known)
    }
}

/// Returns the action if it is an element of the `Discrete` space.
#[inline]
pub(crate) fn discrete_action(space: &Space, action: Row<'_>) -> Result<i64> {
    let number = action.as_discrete()?;
    match space {
        Space::Discrete(space) if space.contains(number) => Ok(number),
        _ => Err(invalid_action(space, action)),
    }
}

#[cold]
pub(crate) fn invalid_action(space: &Space, action: Row<'_>) -> EnvError {
    EnvError::InvalidAction { space: space.to_string(), action: format!("{action:?}") }
}

/// The error for an invalid state passed to the `set_state` of `env`.
pub(crate) fn invalid_state(env: &str, reason: impl Into<String>) -> EnvError {
    EnvError::InvalidState { env: env.to_owned(), reason: reason.into() }
}
