//! Algorithms by name, built from plain data.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use burn::prelude::Device;
use rekindle_checkpoint as checkpoint;
use serde_json::{Value, json};

use crate::config::toml::{difference, from_value, merge, to_value};
use crate::{
    A2cConfig, Algorithm, AlgorithmConfig, AlgorithmError, AppoConfig, BcConfig, CqlConfig,
    DdpgConfig, DqnConfig, ImpalaConfig, IqlConfig, LearnOnBatchConfig, MarwilConfig, PpoConfig,
    PqnConfig, Result, SacConfig, Td3BcConfig, Td3Config, TqcConfig, TrainingConfig, VpgConfig,
};

/// A registered algorithm. It takes its settings as plain data.
#[derive(Clone)]
pub struct AlgorithmSpec {
    name: Arc<str>,
    config: Arc<dyn AnyConfig>,
    allow_external_environments: bool,
}

impl AlgorithmSpec {
    fn new<T: TrainingConfig>(config: AlgorithmConfig<T>) -> Self {
        let name = config.code.name.clone().unwrap_or_else(|| T::NAME.into());
        Self { name: name.into(), config: Arc::new(config), allow_external_environments: false }
    }

    /// Returns the name of the algorithm.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns all settings with their defaults, as plain data.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] if a user-defined default cannot be written.
    pub fn defaults(&self) -> Result<Value> {
        self.config.complete(&json!({}))
    }

    /// Returns `settings` with defaults for the settings that are missing.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] for unknown settings and values of a wrong type.
    pub fn complete(&self, settings: &Value) -> Result<Value> {
        self.config.complete(settings)
    }

    /// Checks `settings` as [`AlgorithmConfig::validate`] does.
    ///
    /// # Errors
    /// The first setting that is unknown or invalid.
    pub fn validate(&self, settings: &Value) -> Result<()> {
        self.config.validate(settings)
    }

    /// Builds the algorithm with `settings`. Omitted settings take their defaults.
    ///
    /// # Errors
    /// As [`AlgorithmConfig::build`], and for unknown settings.
    pub fn build(&self, settings: &Value, device: &Device) -> Result<Algorithm> {
        self.config.build(settings, device)
    }

    /// Sets whether [`restore`](Self::restore) may make environments that start another program, such as those of
    /// Gymnasium. The checkpoint chooses the program. Defaults to `false`.
    #[must_use]
    pub fn allow_external_environments(mut self, allow: bool) -> Self {
        self.allow_external_environments = allow;
        self
    }

    /// Builds the algorithm of a checkpoint, with `changes` to its saved settings, and continues where it was saved;
    /// see [`Algorithm::from_checkpoint_with`].
    ///
    /// # Errors
    /// As [`Algorithm::from_checkpoint_with`], and for unknown settings.
    pub fn restore(
        &self,
        path: impl AsRef<Path>,
        changes: &Value,
        device: &Device,
    ) -> Result<Algorithm> {
        self.config.restore(path.as_ref(), changes, self.allow_external_environments, device)
    }
}

impl fmt::Debug for AlgorithmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AlgorithmSpec").field(&self.name).finish()
    }
}

/// A configuration of any algorithm.
trait AnyConfig: Send + Sync {
    fn complete(&self, settings: &Value) -> Result<Value>;
    fn validate(&self, settings: &Value) -> Result<()>;
    fn build(&self, settings: &Value, device: &Device) -> Result<Algorithm>;
    fn restore(
        &self,
        path: &Path,
        changes: &Value,
        allow_external_environments: bool,
        device: &Device,
    ) -> Result<Algorithm>;
}

impl<T: TrainingConfig> AnyConfig for AlgorithmConfig<T> {
    fn complete(&self, settings: &Value) -> Result<Value> {
        to_value(&with_settings(self, settings)?)
    }

    fn validate(&self, settings: &Value) -> Result<()> {
        with_settings(self, settings)?.validate()
    }

    fn build(&self, settings: &Value, device: &Device) -> Result<Algorithm> {
        with_settings(self, settings)?.build(device)
    }

    fn restore(
        &self,
        path: &Path,
        changes: &Value,
        allow_external_environments: bool,
        device: &Device,
    ) -> Result<Algorithm> {
        Algorithm::from_checkpoint_changed::<T>(path, device, |saved| {
            let mut data = to_value(&saved)?;
            merge(&mut data, changes);
            let config = with_code(from_value(&data)?, self);
            Ok(config.allow_external_environments(allow_external_environments))
        })
    }
}

/// Returns the configuration with `settings` added.
fn with_settings<T: TrainingConfig>(
    config: &AlgorithmConfig<T>,
    settings: &Value,
) -> Result<AlgorithmConfig<T>> {
    // Merge over the differences from the defaults only: fields of a default `{"type": …}` would be unknown in another
    // type.
    let mut data = difference(&to_value(config)?, &to_value(&AlgorithmConfig::<T>::default())?);
    merge(&mut data, settings);
    Ok(with_code(from_value(&data)?, config))
}

/// Adds the code of `of`, such as losses and callbacks, which settings as data do not hold.
fn with_code<T: TrainingConfig>(
    mut config: AlgorithmConfig<T>,
    of: &AlgorithmConfig<T>,
) -> AlgorithmConfig<T> {
    config.code = of.code.clone();
    config.callbacks = of.callbacks.clone();
    let evaluation = &mut config.evaluation;
    evaluation.custom_evaluation_function = of.evaluation.custom_evaluation_function.clone();
    config
}

/// The algorithms by their names in lower case.
static ALGORITHMS: LazyLock<RwLock<BTreeMap<String, AlgorithmSpec>>> = LazyLock::new(|| {
    let specs = [
        AlgorithmSpec::new(A2cConfig::new()),
        AlgorithmSpec::new(AppoConfig::new()),
        AlgorithmSpec::new(BcConfig::new()),
        AlgorithmSpec::new(CqlConfig::new()),
        AlgorithmSpec::new(DdpgConfig::new()),
        AlgorithmSpec::new(DqnConfig::new()),
        AlgorithmSpec::new(ImpalaConfig::new()),
        AlgorithmSpec::new(IqlConfig::new()),
        AlgorithmSpec::new(LearnOnBatchConfig::new()),
        AlgorithmSpec::new(MarwilConfig::new()),
        AlgorithmSpec::new(PpoConfig::new()),
        AlgorithmSpec::new(PqnConfig::new()),
        AlgorithmSpec::new(SacConfig::new()),
        AlgorithmSpec::new(Td3BcConfig::new()),
        AlgorithmSpec::new(Td3Config::new()),
        AlgorithmSpec::new(TqcConfig::new()),
        AlgorithmSpec::new(VpgConfig::new()),
    ];
    RwLock::new(specs.into_iter().map(|spec| (spec.name().to_lowercase(), spec)).collect())
});

/// Makes an algorithm available under its name ([`AlgorithmConfig::with_name`]), with its settings as defaults and
/// its code: losses, callbacks, an execution plan. A registered algorithm of the same name is replaced.
///
/// Settings files can then name the algorithm, and its checkpoints are restored with its code.
///
/// ```
/// use rekindle_algorithms::{PpoConfig, algorithm, register_algorithm};
/// use serde_json::json;
///
/// register_algorithm(PpoConfig::new().with_name("SmallPPO").model("fcnet_hiddens", vec![16]));
/// let spec = algorithm("smallppo")?;
/// assert_eq!(spec.defaults()?["model_config"], json!({"fcnet_hiddens": [16]}));
/// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
/// ```
pub fn register_algorithm<T: TrainingConfig>(config: AlgorithmConfig<T>) {
    let spec = AlgorithmSpec::new(config);
    let mut table = ALGORITHMS.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(spec.name().to_lowercase(), spec);
}

/// Returns the algorithm with a name. Upper and lower case are equal.
///
/// # Errors
/// [`AlgorithmError::UnknownAlgorithm`], with the names of all algorithms.
pub fn algorithm(name: &str) -> Result<AlgorithmSpec> {
    let table = ALGORITHMS.read().unwrap_or_else(PoisonError::into_inner);
    table.get(&name.to_lowercase()).cloned().ok_or_else(|| AlgorithmError::UnknownAlgorithm {
        name: name.into(),
        known: table.values().map(|spec| spec.name().to_owned()).collect(),
    })
}

/// Returns the names of all algorithms in alphabetical order.
#[must_use]
pub fn registered_algorithms() -> Vec<String> {
    let table = ALGORITHMS.read().unwrap_or_else(PoisonError::into_inner);
    table.values().map(|spec| spec.name().to_owned()).collect()
}

impl Algorithm {
    /// Builds the algorithm of any checkpoint, and continues where it was saved. The name in the checkpoint selects the
    /// algorithm among the built-in and [registered](register_algorithm) ones.
    ///
    /// # Errors
    /// [`AlgorithmError::UnknownAlgorithm`]; otherwise as [`from_checkpoint`](Self::from_checkpoint).
    pub fn restore(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        saved_algorithm(path)?.restore(path, &json!({}), device)
    }
}

/// Returns the algorithm of a checkpoint, without reading its weights.
///
/// # Errors
/// [`AlgorithmError::NotAnAlgorithm`] for a checkpoint of something else, and
/// [`AlgorithmError::UnknownAlgorithm`].
pub fn saved_algorithm(path: impl AsRef<Path>) -> Result<AlgorithmSpec> {
    let data = checkpoint::read_data(path)?;
    // A variant is registered under its own name.
    let name = data["code"]["name"].as_str().or_else(|| data["algorithm"].as_str());
    algorithm(name.ok_or(AlgorithmError::NotAnAlgorithm)?)
}
