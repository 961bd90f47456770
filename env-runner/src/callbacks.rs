//! Hooks into runners.

mod event;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rekindle_core::panics;

use crate::error::{Result, RunnerError};

pub use event::{AgentStep, EnvironmentEvent, EpisodeEvent, SampleEvent, VectorEnvRef};

/// The result of a hook. An error ends the call that triggered the hook, and so does a panic.
pub type CallbackResult = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Hooks into environment runners. Each does nothing by default.
///
/// Order of the calls:
///
/// 1. [`on_environment_created`](Self::on_environment_created) when environments are created;
/// 2. for each episode [`on_episode_created`](Self::on_episode_created),
///    [`on_episode_start`](Self::on_episode_start) with the first observation,
///    [`on_episode_step`](Self::on_episode_step) after every step including the last, and
///    [`on_episode_end`](Self::on_episode_end);
/// 3. [`on_sample_end`](Self::on_sample_end) at the end of a call.
///
/// An episode that continues in the next call begins only once. When a number of complete episodes
/// is requested, surplus episodes of faster environments are not reported. An episode whose
/// environment fails has no end: the next one begins.
///
/// All runners share the hooks, and may run on several threads. A hook keeps its state in atomics,
/// behind a mutex, or in the logger of the event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `RunnerCallbacks`",
    label = "this type does not implement `RunnerCallbacks`",
    note = "implement `RunnerCallbacks` for `{Self}`: every hook has a default, write those you need"
)]
pub trait RunnerCallbacks: Send + Sync {
    /// Called after environments are created, at the start or with new settings.
    ///
    /// # Errors
    /// Any. The call that creates the environments returns it.
    fn on_environment_created(&self, _event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called when an episode begins, before its first observation.
    ///
    /// # Errors
    /// Any. The call that collects returns it, and the next one begins new episodes.
    fn on_episode_created(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called with the first observation of an episode.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_start(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called after every step of an episode.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_step(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called after the last step of an episode has been reported.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_end(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called when a call of [`EnvRunner::collect`](crate::EnvRunner::collect) has collected the
    /// requested amount.
    ///
    /// # Errors
    /// Any. That call returns it.
    fn on_sample_end(&self, _event: &mut SampleEvent<'_>) -> CallbackResult {
        Ok(())
    }
}

/// Callbacks in a configuration.
///
/// Callbacks are code, so serialized configurations omit them and comparisons of configurations
/// ignore them.
#[derive(Clone, Default)]
pub struct SharedCallbacks(Option<Arc<dyn RunnerCallbacks>>);

/// The hooks about episodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpisodeHook {
    Created,
    Start,
    Step,
    End,
}

impl SharedCallbacks {
    /// Wraps callbacks.
    #[must_use]
    pub fn new(callbacks: impl RunnerCallbacks + 'static) -> Self {
        Self(Some(Arc::new(callbacks)))
    }

    /// Whether any callbacks are set.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn environment_created(&self, event: &mut EnvironmentEvent<'_>) -> Result<()> {
        self.tell("on_environment_created", |callbacks| callbacks.on_environment_created(event))
    }

    pub(crate) fn episode(&self, hook: EpisodeHook, event: &mut EpisodeEvent<'_>) -> Result<()> {
        match hook {
            EpisodeHook::Created => {
                self.tell("on_episode_created", |c| c.on_episode_created(event))
            }
            EpisodeHook::Start => self.tell("on_episode_start", |c| c.on_episode_start(event)),
            EpisodeHook::Step => self.tell("on_episode_step", |c| c.on_episode_step(event)),
            EpisodeHook::End => self.tell("on_episode_end", |c| c.on_episode_end(event)),
        }
    }

    pub(crate) fn sample_end(&self, event: &mut SampleEvent<'_>) -> Result<()> {
        self.tell("on_sample_end", |callbacks| callbacks.on_sample_end(event))
    }

    fn tell(
        &self,
        hook: &'static str,
        call: impl FnOnce(&dyn RunnerCallbacks) -> CallbackResult,
    ) -> Result<()> {
        let Some(callbacks) = &self.0 else { return Ok(()) };
        // A panic in a hook is a mistake in a program, which a new runner would only hide.
        let outcome = panics::as_error(|| call(&**callbacks));
        outcome.map_err(|source| RunnerError::Callback { hook, source })
    }
}

impl PartialEq for SharedCallbacks {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for SharedCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_some() { "callbacks" } else { "no callbacks" })
    }
}

/// Whether an episode of an environment counts. Without quotas, all episodes count.
pub(crate) fn counts(quota: &[usize], env: usize) -> bool {
    quota.get(env).is_none_or(|&left| left > 0)
}
