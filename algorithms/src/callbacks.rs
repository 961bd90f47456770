//! Hooks into training.

use std::fmt;
use std::sync::Arc;

use rekindle_env_runner::{
    CallbackResult, EnvironmentEvent, EpisodeEvent, RunnerCallbacks, SampleEvent,
};
use rekindle_metrics::Metrics;

use crate::{Algorithm, AlgorithmError, Result};

/// What happens in an algorithm and its runners, told while it happens; RLlib's `RLlibCallback`.
///
/// Every hook does nothing unless it is written, so one is enough:
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
/// Hooks of episodes and samples are called by the runners, which may work on several threads, those
/// of evaluation too (the events say which): what they remember stands in atomics, behind a mutex, or
/// in the logger of the event, whose metrics reach the results as `env_runners/<name>` and
/// `evaluation/env_runners/<name>`. [`RunnerCallbacks`] says their order. The others get the whole
/// algorithm, to log ([`Algorithm::metrics_logger`]) and to change: modules, mapping, environments.
///
/// An error ends what was under way and is returned from there, as
/// [`AlgorithmError::Callback`] or
/// [`RunnerError::Callback`](rekindle_env_runner::RunnerError::Callback).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not callbacks",
    label = "this type does not implement `Callbacks`",
    note = "implement `Callbacks` for `{Self}`: every hook has a default, write those you need"
)]
pub trait Callbacks: Send + Sync {
    /// The algorithm is built: environments, modules, learner.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_algorithm_init(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }

    /// Environments of a runner were made.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_environment_created(&self, _event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode begins; there is no observation yet.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_episode_created(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// The first observation of an episode is there.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_episode_start(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode made a step.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_episode_step(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An episode ended with the step that was told last.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_episode_end(&self, _event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// A runner collected what it was asked for.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_sample_end(&self, _event: &mut SampleEvent<'_>) -> CallbackResult {
        Ok(())
    }

    /// An evaluation begins; what is changed here counts in it.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_evaluate_start(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }

    /// An evaluation ended. Its metrics may be changed, and are reported under `evaluation/`.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_evaluate_end(
        &self,
        _algorithm: &mut Algorithm,
        _evaluation_metrics: &mut Metrics,
    ) -> CallbackResult {
        Ok(())
    }

    /// An iteration ended. Its result may be changed; what is logged now is in the next one.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_train_result(&self, _algorithm: &mut Algorithm, _result: &mut Metrics) -> CallbackResult {
        Ok(())
    }

    /// Runners that failed were replaced by new ones, these by index.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_env_runners_recreated(
        &self,
        _algorithm: &mut Algorithm,
        _env_runner_indices: &[usize],
        _is_evaluation: bool,
    ) -> CallbackResult {
        Ok(())
    }

    /// The algorithm goes on from a checkpoint; for one that was built for it, this comes after
    /// `on_algorithm_init`. Parts that are restored alone are not told.
    ///
    /// # Errors
    /// Any, as in all hooks.
    fn on_checkpoint_loaded(&self, _algorithm: &mut Algorithm) -> CallbackResult {
        Ok(())
    }
}

/// The callbacks of a configuration, called in this order. They are code: configurations as data
/// leave them out, and they do not count when configurations are compared.
#[derive(Clone, Default)]
pub struct CallbackList(Vec<Arc<dyn Callbacks>>);

impl CallbackList {
    /// Adds callbacks after those that are there.
    pub fn push(&mut self, callbacks: impl Callbacks + 'static) {
        self.0.push(Arc::new(callbacks));
    }

    /// The number of callbacks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls one hook of all.
    pub(crate) fn tell(
        &self,
        hook: &'static str,
        mut call: impl FnMut(&dyn Callbacks) -> CallbackResult,
    ) -> Result<()> {
        let failed = |source| AlgorithmError::Callback { hook, source };
        self.0.iter().try_for_each(|callbacks| call(&**callbacks)).map_err(failed)
    }
}

impl RunnerCallbacks for CallbackList {
    fn on_environment_created(&self, event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_environment_created(event))
    }

    fn on_episode_created(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_episode_created(event))
    }

    fn on_episode_start(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_episode_start(event))
    }

    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_episode_step(event))
    }

    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_episode_end(event))
    }

    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        self.0.iter().try_for_each(|callbacks| callbacks.on_sample_end(event))
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
