//! `reset` before `step`, and again after the end of an episode.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{load_nested, save_nested};
use crate::{Env, EnvError, Info, ResetOptions, Result, Row, RowMut, Space, Step};

/// Refuses steps before the first reset, after the end of an episode and after a breakdown.
///
/// What an environment does on such a step is undefined, so it is an error here, not a warning.
#[derive(Clone, Debug)]
pub struct OrderEnforcing<E> {
    env: E,
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
    /// Watches over `env`.
    pub fn new(env: E) -> Self {
        Self { env, phase: Phase::New }
    }

    /// A refused action changed nothing; after a breakdown, the state is anyone's guess.
    #[cold]
    fn fail(&mut self, error: EnvError) -> EnvError {
        if error.is_recoverable() {
            self.phase = Phase::Failed;
        }
        error
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

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        let reset = self.env.reset(options, observation);
        self.phase = if reset.is_ok() { Phase::Running } else { Phase::Failed };
        reset
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        if self.phase != Phase::Running {
            return Err(self.refuse());
        }
        let step = match self.env.step(action, observation) {
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

    fn state(&self) -> Result<Option<Json>> {
        save_nested(&self.phase, &self.env)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.phase = load_nested(&mut self.env, state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
