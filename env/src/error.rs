//! The error type of this crate.

use std::io;
use std::path::PathBuf;

use crate::buffer::Row;
use crate::spaces::Space;
use crate::suggest::did_you_mean;

/// The number of characters of an observation that a message shows.
const MAX_SHOWN: usize = 200;

/// A result whose error is an [`EnvError`].
pub type Result<T, E = EnvError> = std::result::Result<T, E>;

/// An error of an environment, of its use, or of the data between it and its agents.
///
/// Messages name the values involved and, if there is one, the remedy. Environments are named by
/// the id under which they are registered, or else by [`Env::name`](crate::Env::name).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    // ---- registry and configuration ----
    /// No environment is registered under this id.
    #[error(
        "no environment is registered as `{id}`; {}; register your own with `register` first",
        did_you_mean(id, known)
    )]
    UnknownEnv {
        /// The requested id.
        id: String,
        /// Every registered id.
        known: Vec<String>,
    },
    /// The id is already registered.
    #[error(
        "an environment is already registered as `{id}`; choose another id or raise its version"
    )]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// The id is not of the form `[namespace/]name-vN`.
    #[error(
        "malformed environment id `{id}`: expected `[namespace/]name-vN`, such as `CartPole-v1`"
    )]
    InvalidId {
        /// The invalid id.
        id: String,
    },
    /// A configuration or reset option that the environment does not have.
    #[error("`{env}` has no option `{option}`; {}", did_you_mean(option, known))]
    UnknownOption {
        /// The environment.
        env: String,
        /// The unknown option.
        option: String,
        /// The options of the environment.
        known: Vec<String>,
    },
    /// An option whose value has the wrong type or is outside its range.
    #[error("option `{option}` must be {expected}, got {found}")]
    InvalidOption {
        /// The option's name.
        option: String,
        /// The values that are accepted.
        expected: String,
        /// The value given.
        found: String,
    },
    /// An id that an agent cannot have.
    #[error("invalid agent id `{id}`: {reason}")]
    InvalidAgentId {
        /// The id.
        id: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A space with invalid bounds, sizes or names.
    #[error("invalid space: {reason}")]
    InvalidSpace {
        /// What is invalid, and what is required.
        reason: String,
    },

    // ---- interaction ----
    /// `step` was called before the first `reset`.
    #[error("`{env}` was stepped before its first reset; call `reset` first")]
    StepBeforeReset {
        /// The environment.
        env: String,
    },
    /// `step` was called after the end of an episode.
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
    /// An action that is not in the environment's action space.
    #[error("action {action} is not in the action space {space}")]
    InvalidAction {
        /// The action space.
        space: String,
        /// The action.
        action: String,
    },
    /// An observation that is not in the environment's observation space.
    #[error(
        "`{env}` observed {observation}, which is not in its observation space {space}; \
         correct the environment or its space"
    )]
    InvalidObservation {
        /// The environment.
        env: String,
        /// The observation space.
        space: String,
        /// The observation.
        observation: String,
    },
    /// A rule that [`check_env`](crate::check_env) found broken.
    #[error("`{env}` fails its check: {problem}; {remedy}")]
    CheckFailed {
        /// The environment.
        env: String,
        /// What the environment did.
        problem: String,
        /// What it should do instead.
        remedy: &'static str,
    },
    /// A value that is not in a space.
    #[error("{value} is not an element of {space}")]
    NotInSpace {
        /// The space.
        space: String,
        /// The value.
        value: String,
    },
    /// An environment of a vector failed.
    #[error("environment {index}: {source}")]
    SubEnv {
        /// Its position in the vector.
        index: usize,
        /// The error of the environment.
        source: Box<Self>,
    },
    /// Several environments of a vector failed in the same call.
    #[error("{}", each(failures))]
    SubEnvs {
        /// One [`SubEnv`](Self::SubEnv) per failed environment, in the order of the vector.
        failures: Vec<Self>,
    },
    /// An environment broke down although it was used correctly, for example because its simulator
    /// died or its connection was lost.
    ///
    /// A reset may restart it; see [`is_recoverable`](Self::is_recoverable).
    #[error(
        "`{env}` crashed: {reason}; reset it to start it again \
         (in an algorithm: set `restart_failed_sub_environments` of `fault_tolerance`)"
    )]
    Crashed {
        /// The environment.
        env: String,
        /// What happened.
        reason: String,
    },
    /// `step` was called on an environment after it had failed.
    #[error(
        "`{env}` was stepped after it had failed; reset it to start it again \
         (in an algorithm: set `restart_failed_sub_environments` of `fault_tolerance`)"
    )]
    StepAfterFailure {
        /// The environment.
        env: String,
    },

    // ---- several agents ----
    /// An agent that the environment does not have.
    #[error("no agent `{agent}`; {}", did_you_mean(agent, known))]
    UnknownAgent {
        /// The requested name or index.
        agent: String,
        /// The names or indices of all agents.
        known: Vec<String>,
    },
    /// An error about what one agent did or observed.
    #[error("agent `{agent}`: {source}")]
    Agent {
        /// The agent.
        agent: String,
        /// The error.
        source: Box<Self>,
    },
    /// An agent that must act has no action.
    #[error(
        "`{env}` needs an action of agent `{agent}`, which was observed in the last step; \
         write one into `actions.act(..)`"
    )]
    MissingAction {
        /// The environment.
        env: String,
        /// The agent.
        agent: String,
    },
    /// An agent that must not act has an action.
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
    /// A multi-agent environment broke a rule in its report about an agent.
    #[error("agent `{agent}` of `{env}`: {report}; {remedy}")]
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
    /// A multi-agent environment continues without an agent that acts.
    #[error(
        "`{env}` observed no agent that could act for {steps} steps in a row; \
         observe an agent, or end the episode with `terminate_all` or `truncate_all`"
    )]
    NobodyActs {
        /// The environment.
        env: String,
        /// The number of steps in which no agent acted.
        steps: usize,
    },
    /// The id belongs to the other kind of environment.
    #[error("`{id}` is a {kind} environment; {remedy}")]
    WrongKindOfEnv {
        /// The requested id.
        id: String,
        /// `single-agent` or `multi-agent`.
        kind: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A state passed to `set_state` that this environment did not save.
    #[error("`{env}` cannot continue from this state: {reason}")]
    InvalidState {
        /// The environment.
        env: String,
        /// What is invalid in the state.
        reason: String,
    },
    /// An operation that the environment does not support.
    #[error("`{env}` does not support {what}")]
    Unsupported {
        /// The environment.
        env: String,
        /// The operation.
        what: String,
    },
    /// An environment that cannot be drawn.
    #[error("`{env}` cannot be rendered: {reason}")]
    CannotRender {
        /// The environment.
        env: String,
        /// The reason, with what to do.
        reason: String,
    },
    /// A video that cannot be written.
    #[error("cannot write the video `{}`: {source}", path.display())]
    Video {
        /// The file.
        path: PathBuf,
        /// The error of the operating system or of the encoder.
        source: io::Error,
    },
    /// A program that is needed and cannot be started.
    #[error("cannot start the program `{program}` ({source}); {remedy}")]
    MissingProgram {
        /// The program.
        program: String,
        /// What to do.
        remedy: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },

    // ---- data ----
    /// Data of one kind that was read or written as another kind.
    #[error("expected {expected}, found {found}")]
    WrongKind {
        /// The requested kind.
        expected: String,
        /// The actual kind.
        found: String,
    },
    /// A `Dict` without this key, or a `Tuple` without this position.
    #[error("no entry `{key}` in this Dict or Tuple; {}", did_you_mean(key, available))]
    MissingKey {
        /// The requested key or position.
        key: String,
        /// All keys or positions.
        available: Vec<String>,
    },
    /// Data of the right kind with the wrong shape or length.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    ShapeMismatch {
        /// What has the shape or length.
        what: &'static str,
        /// The required shape or length.
        expected: Vec<usize>,
        /// The actual shape or length.
        found: Vec<usize>,
    },
    /// A row beyond the end of a buffer.
    #[error(
        "row {row} is out of range for a buffer of {rows} rows{}",
        rows.checked_sub(1).map(|last| format!("; valid rows are 0 to {last}")).unwrap_or_default()
    )]
    RowOutOfRange {
        /// The requested row.
        row: usize,
        /// The number of rows.
        rows: usize,
    },

    /// An error of a user's environment.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl EnvError {
    /// Wraps an error of a user's environment, or a plain message.
    ///
    /// ```
    /// use rekindle_env::EnvError;
    ///
    /// assert_eq!(EnvError::custom("the simulator hung up").to_string(), "the simulator hung up");
    /// ```
    #[must_use]
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }

    /// Returns whether the environment failed although it was used correctly, so that a reset may
    /// restart it: [`Crashed`](Self::Crashed), [`Custom`](Self::Custom), or
    /// [`StepAfterFailure`](Self::StepAfterFailure).
    ///
    /// All other errors are mistakes in a program, which a reset would only hide. An error of a
    /// vector or an agent is recoverable if every error it contains is.
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

    /// Iterates over the failed environments of a vector, with their indices and errors.
    ///
    /// The iterator is empty if the error is about the vector as a whole. The vector has then not
    /// been stepped.
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

    /// Wraps an error with the index of its environment in a vector.
    pub(crate) fn at(index: usize) -> impl FnOnce(Self) -> Self {
        move |source| Self::SubEnv { index, source: Box::new(source) }
    }

    /// Turns the failures within a vector, each a [`SubEnv`](Self::SubEnv), into one error. Returns `Ok`
    /// if there are no failures.
    ///
    /// # Errors
    ///
    /// The failure itself if there is one, and [`SubEnvs`](Self::SubEnvs) if there are several.
    pub fn check_failures(mut failures: Vec<Self>) -> Result<()> {
        match failures.len() {
            0 => Ok(()),
            1 => failures.pop().map_or(Ok(()), Err),
            _ => Err(Self::SubEnvs { failures }),
        }
    }

    /// Names the environment by the id under which it is registered: environments and wrappers only
    /// know the names of their types.
    #[cold]
    pub(crate) fn with_env(mut self, id: &str) -> Self {
        self.rename_env(id);
        self
    }

    fn rename_env(&mut self, id: &str) {
        match self {
            Self::UnknownOption { env, .. }
            | Self::StepBeforeReset { env }
            | Self::StepAfterDone { env, .. }
            | Self::InvalidObservation { env, .. }
            | Self::Crashed { env, .. }
            | Self::StepAfterFailure { env }
            | Self::MissingAction { env, .. }
            | Self::UnexpectedAction { env, .. }
            | Self::InvalidReport { env, .. }
            | Self::NobodyActs { env, .. }
            | Self::InvalidState { env, .. }
            | Self::CannotRender { env, .. }
            | Self::Unsupported { env, .. } => id.clone_into(env),
            Self::SubEnv { source, .. } | Self::Agent { source, .. } => source.rename_env(id),
            Self::SubEnvs { failures } => failures.iter_mut().for_each(|e| e.rename_env(id)),
            _ => {}
        }
    }

    /// The error of an environment that draws nothing.
    #[cold]
    pub(crate) fn cannot_render(env: &str) -> Self {
        let reason = "it draws nothing; implement `render`".to_owned();
        Self::CannotRender { env: env.to_owned(), reason }
    }

    #[cold]
    pub(crate) fn invalid_observation(env: &str, space: &Space, row: Row<'_>) -> Self {
        let (space, mut observation) = (space.to_string(), format!("{row:?}"));
        // An image has thousands of numbers.
        if let Some((end, _)) = observation.char_indices().nth(MAX_SHOWN) {
            observation.truncate(end);
            observation.push_str("..");
        }
        Self::InvalidObservation { env: env.to_owned(), space, observation }
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

    /// `what` has `found` elements instead of `expected`.
    pub(crate) fn length(what: &'static str, expected: usize, found: usize) -> Self {
        Self::ShapeMismatch { what, expected: vec![expected], found: vec![found] }
    }
}

/// Several messages in one line.
fn each(failures: &[EnvError]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
