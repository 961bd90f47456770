//! Starting environments of a vector again after they failed.

use rekindle_core::Generator;
use rekindle_core::rng::{Purpose, stream};
use rekindle_env::EnvError;
use rekindle_metrics::{MetricsLogger, Reducer};
use serde::{Deserialize, Serialize};

use crate::{Result, RunnerError};

/// How often a reset is tried: environments that crash in resets too come back, dead ones end.
const RESET_ATTEMPTS: usize = 10;

/// After so many restarts in a row of which nothing counted, an environment is taken for broken.
const MAX_RESTARTS_IN_VAIN: usize = 100;

/// What a runner knows about the restarts of its environments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restarts {
    /// A stream of seeds for each environment, so that the restarts of one change nothing for the
    /// others.
    seeds: Vec<Generator>,
    /// Restarts of each environment since something that it did was delivered.
    in_vain: Vec<usize>,
    /// Restarts that are not in the metrics yet.
    unlogged: u64,
}

impl Restarts {
    pub(crate) fn new(seed: u64, runner: usize, num_envs: usize) -> Self {
        let seeds = |env| stream(seed, runner as u64, env as u64, Purpose::EnvRestart);
        Self { seeds: (0..num_envs).map(seeds).collect(), in_vain: vec![0; num_envs], unlogged: 0 }
    }

    pub(crate) fn num_envs(&self) -> usize {
        self.seeds.len().min(self.in_vain.len())
    }

    /// Something that an environment did is delivered.
    pub(crate) fn delivered(&mut self, env: usize) {
        if let Some(restarts) = self.in_vain.get_mut(env) {
            *restarts = 0;
        }
    }

    /// Starts an environment again; `reset` does it on a seed.
    ///
    /// # Errors
    /// [`RunnerError::EnvKeepsFailing`] if it does not come back, or breaks down again and again.
    pub(crate) fn restart(
        &mut self,
        env: usize,
        failure: &EnvError,
        mut reset: impl FnMut(u64) -> rekindle_env::Result<()>,
    ) -> Result<()> {
        tracing::warn!(env, %failure, "an environment failed and is restarted");
        let Some(restarts) = self.in_vain.get_mut(env) else { return Ok(()) };
        *restarts += 1;
        let failures = *restarts;
        let mut last = None;
        if failures <= MAX_RESTARTS_IN_VAIN {
            for _ in 0..RESET_ATTEMPTS {
                match reset(u64::from(self.seeds[env].next_u32())) {
                    Ok(()) => {
                        self.unlogged += 1;
                        return Ok(());
                    }
                    Err(error) if error.is_recoverable() => last = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let failure = last.as_ref().unwrap_or(failure).to_string();
        Err(RunnerError::EnvKeepsFailing { env, failures, failure })
    }

    /// Logs the restarts since the last call.
    pub(crate) fn log(&mut self, metrics: &mut MetricsLogger) -> Result<()> {
        let restarts = std::mem::take(&mut self.unlogged) as f64;
        metrics.log_value("num_env_restarts", restarts, Reducer::Sum { window: None })?;
        Ok(metrics.log_value("num_env_restarts_lifetime", restarts, Reducer::LifetimeSum)?)
    }
}

/// The environments that an error of a vector is about, with what each failed with, if they may be
/// restarted.
///
/// # Errors
/// The error itself, if restarts are off, it is a mistake in a program, or one of the whole vector.
pub(crate) fn restartable(enabled: bool, error: EnvError) -> Result<Failures> {
    if enabled && error.is_recoverable() && error.failed_envs().next().is_some() {
        return Ok(Failures(Some(error)));
    }
    Err(error.into())
}

/// The environments that failed in a step; most often none.
#[derive(Debug, Default)]
pub(crate) struct Failures(Option<EnvError>);

impl Failures {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &EnvError)> {
        self.0.iter().flat_map(EnvError::failed_envs)
    }

    pub(crate) fn contains(&self, env: usize) -> bool {
        self.iter().any(|(failed, _)| failed == env)
    }
}
