//! The order of resets and steps, and observations within their space.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{load_nested, save_nested};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, Info, ResetOptions, Step};
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;

/// Rejects steps before the first reset, after the end of an episode and after a failure, and
/// observations with a choice that does not exist.
///
/// Gymnasium warns or leaves such cases undefined; here they are errors. The choices of `Discrete`,
/// `MultiDiscrete` and `MultiBinary` spaces are checked in every reset and step, because networks
/// look them up. Numbers of a `Box` are not checked; [`check_env`](crate::check_env) does that in a
/// test.
#[derive(Clone, Debug)]
pub struct OrderEnforcing<E> {
    env: E,
    name: Option<Arc<str>>,
    /// Whether the observation space has choices to check.
    has_choices: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    New,
    Running,
    Done { terminated: bool, truncated: bool },
    Failed,
}

impl<E: Env> OrderEnforcing<E> {
    /// Wraps `env`.
    #[must_use]
    pub fn new(env: E) -> Self {
        let has_choices = env.observation_space().has_choices();
        Self { env, name: None, has_choices, phase: Phase::New }
    }

    /// Sets the name of the environment in error messages: the id under which it is registered.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A rejected action leaves the episode unchanged. After any other failure, its state is
    /// unknown.
    #[cold]
    fn fail(&mut self, error: EnvError) -> EnvError {
        if error.is_recoverable() || matches!(error, EnvError::InvalidObservation { .. }) {
            self.phase = Phase::Failed;
        }
        self.named(error)
    }

    fn named(&self, error: EnvError) -> EnvError {
        match &self.name {
            Some(name) => error.with_env(name),
            None => error,
        }
    }

    #[inline]
    fn check(&self, observation: Row<'_>) -> Result<()> {
        let space = self.env.observation_space();
        if !self.has_choices || space.contains_choices(observation) {
            return Ok(());
        }
        Err(EnvError::invalid_observation(self.name(), space, observation))
    }

    #[cold]
    fn refuse(&self) -> EnvError {
        let env = self.name().to_owned();
        match self.phase {
            Phase::Done { terminated, truncated } => {
                EnvError::StepAfterDone { env, terminated, truncated }
            }
            Phase::Failed => EnvError::StepAfterFailure { env },
            Phase::New | Phase::Running => EnvError::StepBeforeReset { env },
        }
    }
}

impl<E: Env> Env for OrderEnforcing<E> {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        let reset = self.env.reset(options, observation.reborrow());
        let reset = reset.and_then(|()| self.check(observation.as_row()));
        self.phase = if reset.is_ok() { Phase::Running } else { Phase::Failed };
        reset.map_err(|error| self.named(error))
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        if self.phase != Phase::Running {
            return Err(self.refuse());
        }
        let step = self.env.step(action, observation.reborrow());
        let step = match step.and_then(|step| self.check(observation.as_row()).map(|()| step)) {
            Ok(step) => step,
            Err(error) => return Err(self.fail(error)),
        };
        if step.is_done() {
            self.phase = Phase::Done { terminated: step.terminated, truncated: step.truncated };
        }
        Ok(step)
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        let rendered = self.env.render();
        rendered.map_err(|error| self.named(error))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_nested(&self.phase, &self.env).map_err(|error| self.named(error))
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let phase = load_nested(&mut self.env, state).map_err(|error| self.named(error))?;
        self.phase = phase;
        Ok(())
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.env.name())
    }
}
