//! The one error type of this crate.

use crate::suggest::did_you_mean;

/// A result whose error is an [`EnvError`].
pub type Result<T, E = EnvError> = std::result::Result<T, E>;

/// What can go wrong between an agent and its environment.
///
/// Every message names the values at hand and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    // ---- registry and configuration ----
    /// No environment is registered under this id.
    #[error("no environment is registered as `{id}`; {}", did_you_mean(id, known))]
    UnknownEnv {
        /// The id asked for.
        id: String,
        /// Every registered id.
        known: Vec<String>,
    },
    /// The id is already taken.
    #[error(
        "an environment is already registered as `{id}`; choose another id or raise its version"
    )]
    DuplicateId {
        /// The id registered twice.
        id: String,
    },
    /// The id is not of the form `[namespace/]name-vN`.
    #[error(
        "malformed environment id `{id}`: expected `[namespace/]name-vN`, such as `CartPole-v1`"
    )]
    InvalidId {
        /// The id refused.
        id: String,
    },
    /// A configuration or reset option which the environment does not have.
    #[error("`{env}` has no option `{option}`; {}", did_you_mean(option, known))]
    UnknownOption {
        /// The environment refusing the option.
        env: String,
        /// The option it was given.
        option: String,
        /// The options it has.
        known: Vec<String>,
    },
    /// An option with a value of the wrong type or outside its range.
    #[error("option `{option}` must be {expected}, got {found}")]
    InvalidOption {
        /// The option's name.
        option: String,
        /// What would have been accepted.
        expected: String,
        /// The value given.
        found: String,
    },
    /// A space that cannot exist.
    #[error("invalid space: {reason}")]
    InvalidSpace {
        /// What is wrong with it, and what would be right.
        reason: String,
    },

    // ---- interaction ----
    /// `step` was called on an environment that was never reset.
    #[error("`{env}` was stepped before its first reset; call `reset` first")]
    StepBeforeReset {
        /// The environment.
        env: String,
    },
    /// `step` was called on a finished episode.
    #[error(
        "`{env}` was stepped after its episode ended \
         (terminated: {terminated}, truncated: {truncated}); call `reset` to start the next one"
    )]
    StepAfterDone {
        /// The environment.
        env: String,
        /// Whether the episode ended in a terminal state.
        terminated: bool,
        /// Whether the episode was cut short.
        truncated: bool,
    },
    /// An action that the environment's action space does not contain.
    #[error("action {action} is not in the action space {space}")]
    InvalidAction {
        /// The action space.
        space: String,
        /// The action given.
        action: String,
    },
    /// A value that a space does not contain.
    #[error("{value} is not an element of {space}")]
    NotInSpace {
        /// The space.
        space: String,
        /// The value given.
        value: String,
    },
    /// An environment of a vector failed.
    #[error("environment {index}: {source}")]
    SubEnv {
        /// Its place in the vector.
        index: usize,
        /// What it failed with.
        source: Box<Self>,
    },
    /// The state given to `set_state` was not saved by this environment.
    #[error("`{env}` cannot continue from this state: {reason}")]
    InvalidState {
        /// The environment.
        env: String,
        /// What is wrong with the state.
        reason: String,
    },
    /// Something the environment does not offer.
    #[error("`{env}` does not support {what}")]
    Unsupported {
        /// The environment.
        env: String,
        /// What was asked of it.
        what: String,
    },

    // ---- data ----
    /// Data of one kind was read or written as another.
    #[error("expected {expected}, found {found}")]
    WrongKind {
        /// The kind asked for.
        expected: String,
        /// The kind at hand.
        found: String,
    },
    /// A `Dict` without this key, or a `Tuple` without this position.
    #[error("no entry `{key}`; {}", did_you_mean(key, available))]
    MissingKey {
        /// The key or position asked for.
        key: String,
        /// The keys or positions there are.
        available: Vec<String>,
    },
    /// Data of the right kind and the wrong shape or length.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    ShapeMismatch {
        /// What was being measured.
        what: &'static str,
        /// The shape or length required.
        expected: Vec<usize>,
        /// The shape or length at hand.
        found: Vec<usize>,
    },
    /// A row beyond the end of a buffer.
    #[error("row {row} is out of range for a buffer of {rows} rows")]
    RowOutOfRange {
        /// The row asked for.
        row: usize,
        /// The rows there are.
        rows: usize,
    },

    /// An error of a user's environment.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl EnvError {
    /// Wraps the error of a user's environment, or a plain message.
    ///
    /// ```
    /// use rekindle_env::EnvError;
    ///
    /// assert_eq!(EnvError::custom("the simulator hung up").to_string(), "the simulator hung up");
    /// ```
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }

    pub(crate) fn wrong_kind(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::WrongKind { expected: expected.into(), found: found.into() }
    }

    pub(crate) fn missing_key<'a>(key: &str, available: impl Iterator<Item = &'a String>) -> Self {
        Self::MissingKey { key: key.to_owned(), available: available.cloned().collect() }
    }

    pub(crate) fn missing_part(position: usize, parts: usize) -> Self {
        let available = (0..parts).map(|position| position.to_string()).collect();
        Self::MissingKey { key: position.to_string(), available }
    }

    pub(crate) fn invalid_space(reason: impl Into<String>) -> Self {
        Self::InvalidSpace { reason: reason.into() }
    }

    /// `what` has `found` elements where `expected` are required.
    pub(crate) fn length(what: &'static str, expected: usize, found: usize) -> Self {
        Self::ShapeMismatch { what, expected: vec![expected], found: vec![found] }
    }
}
