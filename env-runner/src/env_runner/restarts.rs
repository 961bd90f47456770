//! Restarting environments of a vector after they failed.

use rekindle_core::Generator;
use rekindle_core::rng::{Purpose, stream};
use rekindle_env::EnvError;
use rekindle_metrics::{MetricsLogger, Reducer};
use serde::{Deserialize, Serialize};

use super::checks::of_env;
use crate::error::{Result, RunnerError};

/// Number of resets that one restart attempts. Environments that sometimes crash in resets recover;
/// dead ones do not.
const RESET_ATTEMPTS: usize = 10;

/// The same for environments that never began an episode, which are usually mistaken.
const FIRST_RESET_ATTEMPTS: usize = 3;

/// Consecutive restarts without a usable step after which an environment is considered broken.
const MAX_RESTARTS_IN_VAIN: usize = 100;

/// The restarts of a runner's environments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restarts {
    /// A stream of seeds for each environment, so that the restarts of one do not affect the others.
    seeds: Vec<Generator>,
    /// Restarts of each environment since it last delivered a step.
    in_vain: Vec<usize>,
    /// Restarts that are not in the metrics yet.
    unlogged: u64,
    /// Whether all environments ever began an episode.
    #[serde(skip)]
    have_begun: bool,
}

impl Restarts {
    pub(crate) fn new(seed: u64, runner: usize, num_envs: usize) -> Self {
        let seeds = |env| stream(seed, runner as u64, env as u64, Purpose::EnvRestart);
        Self {
            seeds: (0..num_envs).map(seeds).collect(),
            in_vain: vec![0; num_envs],
            unlogged: 0,
            have_begun: false,
        }
    }

    /// Records that all environments began episodes.
    pub(crate) fn environments_have_begun(&mut self) {
        self.have_begun = true;
    }

    /// Replaces the state of the environments that `saved` has.
    pub(crate) fn restore(&mut self, saved: Self) {
        self.seeds.iter_mut().zip(saved.seeds).for_each(|(own, saved)| *own = saved);
        self.in_vain.iter_mut().zip(saved.in_vain).for_each(|(own, saved)| *own = saved);
        self.unlogged = saved.unlogged;
    }

    /// Records that an environment delivered a step.
    pub(crate) fn delivered(&mut self, env: usize) {
        if let Some(restarts) = self.in_vain.get_mut(env) {
            *restarts = 0;
        }
    }

    /// Restarts environment `index` of the registered environment `env`; `reset` resets it with a
    /// seed.
    ///
    /// # Errors
    /// [`RunnerError::EnvKeepsFailing`] if the environment cannot be reset, or keeps failing.
    pub(crate) fn restart(
        &mut self,
        env: &str,
        index: usize,
        failure: &EnvError,
        mut reset: impl FnMut(u64) -> rekindle_env::Result<()>,
    ) -> Result<()> {
        let Some(restarts) = self.in_vain.get_mut(index) else { return Ok(()) };
        *restarts += 1;
        let failures = *restarts;
        tracing::warn!(
            env,
            index,
            failures,
            failure = reason(failure),
            "an environment failed and is restarted"
        );
        let mut last = None;
        if failures <= MAX_RESTARTS_IN_VAIN {
            let attempts = if self.have_begun { RESET_ATTEMPTS } else { FIRST_RESET_ATTEMPTS };
            for _ in 0..attempts {
                match reset(u64::from(self.seeds[index].next_u32())) {
                    Ok(()) => {
                        self.unlogged += 1;
                        return Ok(());
                    }
                    Err(error) if error.is_recoverable() => last = Some(error),
                    Err(error) => return Err(of_env(env)(error)),
                }
            }
        }
        let failure = reason(last.as_ref().unwrap_or(failure));
        Err(RunnerError::EnvKeepsFailing { env: env.into(), index, failures, failure })
    }

    /// Logs the restarts since the last call.
    pub(crate) fn log(&mut self, metrics: &mut MetricsLogger) -> Result<()> {
        let restarts = std::mem::take(&mut self.unlogged) as f64;
        metrics.log_value("num_env_restarts", restarts, Reducer::Sum { window: None })?;
        Ok(metrics.log_value("num_env_restarts_lifetime", restarts, Reducer::LifetimeSum)?)
    }
}

/// Returns the message of a failure, without the environment and remedy that its reader adds.
pub(crate) fn reason(failure: &EnvError) -> String {
    match failure {
        EnvError::Crashed { reason, .. } => reason.clone(),
        EnvError::SubEnv { source, .. } => reason(source),
        other => other.to_string(),
    }
}

/// The environments that failed in one call of a vector. Usually none.
#[derive(Debug, Default)]
pub(crate) struct Failures(Option<EnvError>);

impl Failures {
    /// Returns the environments of the vector `env` that failed and may be restarted.
    ///
    /// # Errors
    /// The error itself, if restarts are off, or it is a mistake in a program or concerns the whole
    /// vector.
    pub(crate) fn of(env: &str, restarts: bool, result: rekindle_env::Result<()>) -> Result<Self> {
        let Err(error) = result else { return Ok(Self::default()) };
        if restarts && error.is_recoverable() && error.failed_envs().next().is_some() {
            return Ok(Self(Some(error)));
        }
        Err(of_env(env)(error))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &EnvError)> {
        self.0.iter().flat_map(EnvError::failed_envs)
    }

    pub(crate) fn contains(&self, env: usize) -> bool {
        self.iter().any(|(failed, _)| failed == env)
    }
}
