//! Hooks into runners.

mod event;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{Result, RunnerError};

pub use event::{AgentStep, EnvironmentEvent, EpisodeEvent, SampleEvent, VectorEnvRef};

/// What a hook returns: any error ends the call that it was made from.
pub type CallbackResult = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// What happens in a runner, told while it happens; every hook does nothing unless it is written.
///
/// Order: `on_environment_created` when environments are made. Then for each episode
/// `on_episode_created`, `on_episode_start` with the first observation, `on_episode_step` after every
/// step (also the last) and `on_episode_end`; at the end of a call `on_sample_end`. Episodes that go
/// on in the next call begin only once. When a number of whole episodes is asked for, episodes beyond
/// that number are played while others end, and hooks are not told of them. An episode whose
/// environment fails has no end: the next one begins.
///
/// Hooks are shared by all runners, which may work on several threads: what a hook remembers stands
/// in atomics, behind a mutex, or in the logger of the event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not callbacks",
    label = "this type does not implement `RunnerCallbacks`",
    note = "implement `RunnerCallbacks` for `{Self}`: every hook has a default, write those you need"
)]
pub trait RunnerCallbacks: Send + Sync {
    /// Environments were made, at the start or with other settings.
    ///
    /// # Errors
    /// Any; it is returned from where the environments are made.
    fn on_environment_created(&self, _event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode begins; there is no observation yet.
    ///
    /// # Errors
    /// Any; it is returned by the call that collects, and episodes begin anew with the next one.
    fn on_episode_created(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// The first observation of an episode is there.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_start(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode made a step.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_step(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode ended with the step that was told last.
    ///
    /// # Errors
    /// As [`on_episode_created`](Self::on_episode_created).
    fn on_episode_end(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// A call collected what it was asked for ([`EnvRunner::collect`](crate::EnvRunner::collect)).
    ///
    /// # Errors
    /// Any; it is returned by that call.
    fn on_sample_end(&self, _event: &mut SampleEvent<'_>) -> CallbackResult {
        Ok(())
    }
}

/// Callbacks in a configuration. They are code: configurations as data leave them out, and they do
/// not count when configurations are compared.
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
    /// These callbacks.
    pub fn new(callbacks: impl RunnerCallbacks + 'static) -> Self {
        Self(Some(Arc::new(callbacks)))
    }

    /// Whether there is anybody to tell.
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
        match &self.0 {
            Some(callbacks) => {
                call(&**callbacks).map_err(|source| RunnerError::Callback { hook, source })
            }
            None => Ok(()),
        }
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

/// Whether an episode of an environment counts; without quotas all do.
pub(crate) fn counts(quota: &[usize], env: usize) -> bool {
    quota.get(env).is_none_or(|&left| left > 0)
}
