//! Environments on the device by id.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use burn::prelude::Tensor;
use rekindle_env::{EnvConfig, EnvError, Space};

use super::{TensorCartPole, TensorEnv, TensorPendulum, TensorStep};
use crate::error::{Result, RunnerError};

type Make = dyn Fn(&EnvConfig) -> Result<Box<dyn TensorEnv>, EnvError> + Send + Sync;
type Registry = BTreeMap<String, Arc<Make>>;

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(|| {
    let cart_pole: Arc<Make> = Arc::new(|config| {
        config.deny_unknown("CartPole-v1 on the device", &[])?;
        Ok(Box::new(TensorCartPole::new()?))
    });
    let pendulum: Arc<Make> = Arc::new(|config| {
        config.deny_unknown("Pendulum-v1 on the device", &[])?;
        Ok(Box::new(TensorPendulum::new()?))
    });
    let built_in = [("CartPole-v1", cart_pole), ("Pendulum-v1", pendulum)];
    RwLock::new(built_in.into_iter().map(|(id, make)| (id.to_owned(), make)).collect())
});

/// Makes a tensor environment available under an id in the whole program, for runners with
/// [`on_device`](crate::EnvRunnerConfig::on_device).
///
/// Evaluation and deployed policies step the environment that [`rekindle_env::register`] knows under the
/// same id, so register the same dynamics there too. Training alone does not need it.
///
/// ```no_run
/// use rekindle_env_runner::TensorCartPole;
/// use rekindle_env_runner::tensor_env::register_tensor_env;
///
/// register_tensor_env("Lab/CartPole-v0", |config| {
///     config.deny_unknown("Lab/CartPole-v0", &[])?;
///     TensorCartPole::new()
/// })?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// # Errors
/// [`EnvError::DuplicateId`] if a tensor environment is registered under the id.
pub fn register_tensor_env<E, F>(id: impl Into<String>, entry_point: F) -> Result<(), EnvError>
where
    E: TensorEnv + 'static,
    F: Fn(&EnvConfig) -> Result<E, EnvError> + Send + Sync + 'static,
{
    let id = id.into();
    // A panic elsewhere cannot leave the map half changed, so a poisoned lock is usable.
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    if registry.contains_key(&id) {
        return Err(EnvError::DuplicateId { id });
    }
    registry.insert(id, Arc::new(move |config| Ok(Box::new(entry_point(config)?))));
    Ok(())
}

/// Makes the tensor environment registered under `id`.
///
/// # Errors
/// [`RunnerError::UnknownTensorEnv`], or the error of its constructor.
pub(super) fn make(id: &str, config: &EnvConfig) -> Result<Box<dyn TensorEnv>> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    let Some(entry_point) = registry.get(id).cloned() else {
        let known = registry.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(RunnerError::UnknownTensorEnv { env: id.into(), known });
    };
    drop(registry);
    entry_point(config).map_err(|source| RunnerError::Environment { env: id.into(), source })
}

impl TensorEnv for Box<dyn TensorEnv> {
    fn observation_space(&self) -> &Space {
        (**self).observation_space()
    }

    fn action_space(&self) -> &Space {
        (**self).action_space()
    }

    fn max_episode_steps(&self) -> usize {
        (**self).max_episode_steps()
    }

    fn reset_draws(&self) -> usize {
        (**self).reset_draws()
    }

    fn reset(&self, uniform: Tensor<2>) -> Tensor<2> {
        (**self).reset(uniform)
    }

    fn observe(&self, state: Tensor<2>) -> Tensor<2> {
        (**self).observe(state)
    }

    fn step(&self, state: Tensor<2>, actions: Tensor<2>) -> TensorStep {
        (**self).step(state, actions)
    }
}
