//! Hooks into training.

use std::fmt;
use std::sync::Arc;

use rekindle_core::panics;
use rekindle_env_runner::{
    CallbackResult, EnvironmentEvent, EpisodeEvent, RunnerCallbacks, SampleEvent,
};
use rekindle_metrics::Metrics;

use crate::{Algorithm, AlgorithmError, Result};

/// Hooks that an algorithm and its runners call; RLlib's `RLlibCallback`.
///
/// Every hook has a default that does nothing, so that it is enough to write one:
///
/// ```
/// use rekindle_algorithms::{Algorithm, CallbackResult, Callbacks, PpoConfig};
/// use rekindle_metrics::Metrics;
///
/// struct Report;
///
/// impl Callbacks for Report {
///     fn on_train_result(&self, algorithm: &mut Algorithm, _: &mut Metrics) -> CallbackResult {
///         println!("{} steps so far", algorithm.env_steps());
///         Ok(())
///     }
/// }
///
/// let config = PpoConfig::new().environment("CartPole-v1").callbacks(Report);
/// ```
///
/// # Hooks of runners
///
/// Runners call the hooks of environments, episodes and samples, in the order that [`RunnerCallbacks`]
/// documents. They may do so on several threads, and runners of evaluation call them too
/// (`in_evaluation` of the event). State that such hooks keep belongs in atomics, behind a mutex, or in
/// the logger of the event. Metrics in that logger are reported as `env_runners/<name>` and
/// `evaluation/env_runners/<name>`.
///
/// # Hooks of the algorithm
///
/// All other hooks get the whole algorithm. They may log ([`Algorithm::metrics_logger`]) and change it:
/// its modules, mapping and environments.
///
/// # Restoring
///
/// Checkpoints hold neither callbacks nor their fields. To keep a value across restores, such as the best
/// return so far, log it to the algorithm's metrics with a reducer that has a window, for example
/// `Reducer::max_over(1)`. Such a series lasts across iterations and is part of checkpoints.
///
/// # Errors
///
/// An error of a hook ends the call that triggered the hook, and so does a panic. The call returns the error as
/// [`AlgorithmError::Callback`] or
/// [`RunnerError::Callback`](rekindle_env_runner::RunnerError::Callback).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Callbacks`",
    label = "not an implementation of `Callbacks`",
    note = "implement `Callbacks` for `{Self}`: every hook has a default, write those you need"
)]
pub trait Callbacks: Send + Sync {
    /// Whether the hooks of runners are called: those of environments, episodes, steps and samples.
    /// Defaults to `true`.
    ///
    /// Return `false` if all your hooks are hooks of the algorithm, so that runners do not prepare the
    /// others. Runners with [`on_device`](crate::EnvRunnersConfig::on_device) have no such hooks and refuse
    /// callbacks that want them.
    fn watches_runners(&self) -> bool {
        true
    }

    /// Called when the algorithm has been built: environments, modules, learner.
    ///
    /// An algorithm that is built from a checkpoint has the modules of the checkpoint, and loads its state
    /// afterwards. Adding a module that it has already does nothing then.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_algorithm_init(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }

    /// Called when the environments of a runner have been created.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_environment_created(&self, _event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called when an episode begins, before its first observation.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_episode_created(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called after the first observation of an episode.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_episode_start(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called after every step of an episode.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_episode_step(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called when an episode has ended, after `on_episode_step` for its last step.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_episode_end(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called when a runner has collected the requested amount.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_sample_end(&self, _event: &mut SampleEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// Called before an evaluation, which sees the changes that the hook makes.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_evaluate_start(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }

    /// Called after an evaluation. The hook may change its metrics, which are reported under
    /// `evaluation/`.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_evaluate_end(
        &self,
        _algorithm: &mut Algorithm,
        _evaluation_metrics: &mut Metrics,
    ) -> CallbackResult {
        Ok(())
    }

    /// Called after an iteration. The hook may change its result. Metrics that it logs are part of the
    /// next result.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_train_result(&self, _algorithm: &mut Algorithm, _result: &mut Metrics) -> CallbackResult {
        Ok(())
    }

    /// Called when runners that failed have been recreated. `env_runner_indices` are their indices.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_env_runners_recreated(
        &self,
        _algorithm: &mut Algorithm,
        _env_runner_indices: &[usize],
        _is_evaluation: bool,
    ) -> CallbackResult {
        Ok(())
    }

    /// Called when the algorithm has been restored from a checkpoint. For an algorithm that was built
    /// from the checkpoint, this is after `on_algorithm_init`. Restoring a single component does not
    /// call it.
    ///
    /// # Errors
    /// Any error of the hook.
    fn on_checkpoint_loaded(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }
}

/// The callbacks of a configuration, in the order in which they are called.
///
/// Callbacks are code, so serialized configurations omit them and comparisons of configurations
/// ignore them.
#[derive(Clone, Default)]
pub struct CallbackList(Vec<Arc<dyn Callbacks>>);

impl CallbackList {
    /// Appends callbacks, which are called after the existing ones.
    pub fn push(&mut self, callbacks: impl Callbacks + 'static) {
        self.0.push(Arc::new(callbacks));
    }

    /// Returns the number of callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no callbacks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of the callbacks has hooks that runners call.
    pub(crate) fn watch_runners(&self) -> bool {
        self.0.iter().any(|callbacks| callbacks.watches_runners())
    }

    /// The callbacks whose hooks runners call.
    fn of_runners(&self) -> impl Iterator<Item = &Arc<dyn Callbacks>> {
        self.0.iter().filter(|callbacks| callbacks.watches_runners())
    }

    /// Calls one hook of all callbacks, until one fails.
    pub(crate) fn tell(
        &self,
        hook: &'static str,
        mut call: impl FnMut(&dyn Callbacks) -> CallbackResult,
    ) -> Result<()> {
        let failed = |source| AlgorithmError::Callback { hook, source };
        let mut told = self.0.iter();
        told.try_for_each(|callbacks| panics::as_error(|| call(&**callbacks))).map_err(failed)
    }
}

impl RunnerCallbacks for CallbackList {
    fn on_environment_created(&self, event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_environment_created(event))
    }

    fn on_episode_created(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_episode_created(event))
    }

    fn on_episode_start(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_episode_start(event))
    }

    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_episode_step(event))
    }

    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_episode_end(event))
    }

    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        self.of_runners().try_for_each(|callbacks| callbacks.on_sample_end(event))
    }
}

impl PartialEq for CallbackList {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for CallbackList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} callbacks", self.0.len())
    }
}
