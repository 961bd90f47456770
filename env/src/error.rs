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
    /// Several environments of a vector failed in the same call.
    #[error("{}", each(failures))]
    SubEnvs {
        /// A [`SubEnv`](Self::SubEnv) for each of them, in the order of the vector.
        failures: Vec<Self>,
    },
    /// An environment broke down: its simulator died, its connection was lost, it gave up.
    ///
    /// Nobody misused it. A reset may bring it back; see [`is_recoverable`](Self::is_recoverable).
    #[error("`{env}` crashed: {reason}; call `reset` to start it again (`reset_one` of a vector)")]
    Crashed {
        /// The environment.
        env: String,
        /// What happened.
        reason: String,
    },
    /// `step` was called on an environment that had failed.
    #[error(
        "`{env}` was stepped after it had failed; call `reset` to start it again \
         (`reset_one` of a vector)"
    )]
    StepAfterFailure {
        /// The environment.
        env: String,
    },

    // ---- several agents ----
    /// An agent which the environment does not have.
    #[error("no agent `{agent}`; {}", did_you_mean(agent, known))]
    UnknownAgent {
        /// The name or index asked for.
        agent: String,
        /// The names of the agents there are.
        known: Vec<String>,
    },
    /// Something is wrong with what one agent did or saw.
    #[error("agent `{agent}`: {source}")]
    Agent {
        /// The agent.
        agent: String,
        /// What is wrong.
        source: Box<Self>,
    },
    /// An agent that must act was given no action.
    #[error(
        "`{env}` waits for an action of agent `{agent}`, which was observed in the last step; \
         write one into `actions.act(..)`"
    )]
    MissingAction {
        /// The environment.
        env: String,
        /// The agent.
        agent: String,
    },
    /// An agent that must not act was given an action.
    #[error(
        "agent `{agent}` of `{env}` has an action but must not act: {reason}; \
         give actions only to the agents for which `acts_next` holds"
    )]
    UnexpectedAction {
        /// The environment.
        env: String,
        /// The agent.
        agent: String,
        /// Why it must not act.
        reason: &'static str,
    },
    /// A multi-agent environment reported something that cannot be.
    #[error("`{env}` reports about agent `{agent}` {report}; {remedy}")]
    InvalidReport {
        /// The environment.
        env: String,
        /// The agent.
        agent: String,
        /// What it reported.
        report: &'static str,
        /// What it should do instead.
        remedy: &'static str,
    },
    /// A multi-agent environment goes on and on without any agent to act.
    #[error(
        "`{env}` observed no agent that could act for {steps} steps in a row; \
         observe an agent, or end the episode with `terminate_all` or `truncate_all`"
    )]
    NobodyActs {
        /// The environment.
        env: String,
        /// The number of steps nobody acted in.
        steps: usize,
    },
    /// The id belongs to the other kind of environment.
    #[error("`{id}` is a {kind} environment; {remedy}")]
    WrongKindOfEnv {
        /// The id asked for.
        id: String,
        /// `single-agent` or `multi-agent`.
        kind: &'static str,
        /// What to call instead.
        remedy: &'static str,
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

    /// Whether the environment broke down though it was used as it should be, so that resetting it
    /// may help: [`Crashed`](Self::Crashed), [`Custom`](Self::Custom), or
    /// [`StepAfterFailure`](Self::StepAfterFailure).
    ///
    /// Everything else is a mistake in a program, which a reset would only hide. Errors of a vector
    /// and of agents are what they contain; several are recoverable if every one is.
    ///
    /// ```
    /// use rekindle_env::EnvError;
    ///
    /// assert!(EnvError::custom("the simulator hung up").is_recoverable());
    /// let mistake = EnvError::StepBeforeReset { env: "CartPole".to_owned() };
    /// assert!(!mistake.is_recoverable());
    /// ```
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Crashed { .. } | Self::Custom(_) | Self::StepAfterFailure { .. } => true,
            Self::SubEnv { source, .. } | Self::Agent { source, .. } => source.is_recoverable(),
            Self::SubEnvs { failures } => failures.iter().all(Self::is_recoverable),
            _ => false,
        }
    }

    /// The environments of a vector that failed, with what each failed with; none if the error is
    /// about the vector as a whole, which then has not been stepped.
    pub fn failed_envs(&self) -> impl Iterator<Item = (usize, &Self)> {
        let failures = match self {
            Self::SubEnvs { failures } => failures.as_slice(),
            error => std::slice::from_ref(error),
        };
        failures.iter().filter_map(|failure| match failure {
            Self::SubEnv { index, source } => Some((*index, &**source)),
            _ => None,
        })
    }

    /// Adds to an error which environment of a vector it came from.
    pub(crate) fn at(index: usize) -> impl FnOnce(Self) -> Self {
        move |source| Self::SubEnv { index, source: Box::new(source) }
    }

    /// One error for what failed in a vector, if anything did.
    pub(crate) fn check_failures(mut failures: Vec<Self>) -> Result<()> {
        match failures.len() {
            0 => Ok(()),
            1 => failures.pop().map_or(Ok(()), Err),
            _ => Err(Self::SubEnvs { failures }),
        }
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

/// Several messages in one line.
fn each(failures: &[EnvError]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
