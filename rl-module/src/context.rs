//! The context of a module's construction.

use std::cell::{Cell, RefCell};

use burn::prelude::Device;
use rekindle_catalog::{
    Catalog, CatalogContext, CatalogError, DefaultModelConfig, Mlp, MlpConfig, ModelBuilder,
    UnusedSetting,
};
use rekindle_core::settings;
use rekindle_env::Space;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config_use::ConfigUse;
use crate::error::{ModuleError, Result};

/// Spaces, settings, device and random stream for [`RLModule::setup`](crate::RLModule::setup).
#[derive(Debug)]
pub struct ModuleContext<'a> {
    pub(crate) module: &'a str,
    pub(crate) observation_space: &'a Space,
    pub(crate) action_space: &'a Space,
    pub(crate) model_config: &'a Value,
    /// Whether the model config was filled in and is shared with other modules.
    pub(crate) is_config_filled: bool,
    pub(crate) inference_only: bool,
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) builder: &'a ModelBuilder,
    /// Whether `setup` read the model config. A config that is not read is rejected.
    pub(crate) config_read: Cell<bool>,
    /// Settings of a filled config that have no effect on this module.
    pub(crate) unused: RefCell<Vec<UnusedSetting>>,
}

impl<'a> ModuleContext<'a> {
    /// Returns the space of the module's observations, after all connectors.
    #[must_use]
    pub fn observation_space(&self) -> &'a Space {
        self.observation_space
    }

    /// Returns the space of the actions.
    #[must_use]
    pub fn action_space(&self) -> &'a Space {
        self.action_space
    }

    /// Whether the module will only act, so that parts for training may be omitted.
    #[must_use]
    pub fn inference_only(&self) -> bool {
        self.inference_only
    }

    /// Returns the device of the parameters.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        self.builder.device()
    }

    /// Returns the catalog that builds encoders and heads and chooses distributions.
    #[must_use]
    pub fn catalog(&self) -> &'a dyn Catalog {
        self.catalog
    }

    /// Returns the builder of layers, which draws parameters from the module's own stream.
    #[must_use]
    pub fn builder(&self) -> &'a ModelBuilder {
        self.builder
    }

    /// Reads the model config as a custom type. Add `#[serde(deny_unknown_fields)]` to the type, so
    /// that misspelled settings are errors.
    ///
    /// # Errors
    /// [`ModuleError::ModelConfig`] if the config does not have this form.
    pub fn model_config<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_config(settings::from_value)
    }

    /// Reads one setting of the model config. Returns `None` if the model config does not have it. Algorithms add the
    /// settings that the module names in [`RLModule::algorithm_settings`](crate::RLModule::algorithm_settings).
    ///
    /// # Errors
    /// [`ModuleError::ModelConfig`] if the setting is not a `T`.
    pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.read_config(|config| config.get(name).map(settings::from_value).transpose())
    }

    /// Reads the model config as a [`DefaultModelConfig`] and checks its values.
    ///
    /// # Errors
    /// [`ModuleError::ModelConfig`] for an unknown field or a value of the wrong type; a catalog
    /// error for a value out of range.
    pub fn default_model_config(&self) -> Result<DefaultModelConfig> {
        let config = self.read_config(DefaultModelConfig::from_value)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads the fields of `T` from the model config, and all others as a [`DefaultModelConfig`]: for modules
    /// with a few settings more than the default ones. Missing fields take their defaults.
    ///
    /// # Errors
    /// As [`default_model_config`](Self::default_model_config).
    pub fn extended_model_config<T>(&self) -> Result<(DefaultModelConfig, T)>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let (config, own) = self.read_config(|all| {
            let (mut rest, mut own) = (all.clone(), serde_json::to_value(T::default())?);
            if let (Some(rest), Some(own)) = (rest.as_object_mut(), own.as_object_mut()) {
                for (field, value) in own {
                    if let Some(given) = rest.remove(field) {
                        *value = given;
                    }
                }
            }
            Ok((DefaultModelConfig::from_value(&rest)?, settings::from_value(&own)?))
        })?;
        config.validate()?;
        Ok((config, own))
    }

    fn read_config<T>(&self, read: impl FnOnce(&Value) -> serde_json::Result<T>) -> Result<T> {
        self.config_read.set(true);
        let config = match self.model_config {
            Value::Null => &Value::Object(serde_json::Map::new()),
            config => config,
        };
        read(config)
            .map_err(|source| ModuleError::ModelConfig { module: self.module.into(), source })
    }

    /// Checks that each setting that differs from its default has an effect on the module
    /// ([`Catalog::unused_settings`]).
    ///
    /// A setting that an algorithm's configuration filled in may be unused for the spaces of this
    /// module, if another module uses it.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] that names the setting; the errors of
    /// [`Catalog::action_distribution`].
    pub fn check_model_config(&self, config: &DefaultModelConfig) -> Result<()> {
        self.check_model_config_for(config, self.observation_space)
    }

    /// As [`check_model_config`](Self::check_model_config), for encoders that see a part of the observations.
    pub(crate) fn check_model_config_for(
        &self,
        config: &DefaultModelConfig,
        seen: &Space,
    ) -> Result<()> {
        let unused = self.catalog.unused_settings(config, seen, self.action_space)?;
        for setting in unused {
            if !self.is_config_filled || !setting.depends_on_spaces {
                return Err(CatalogError::from(setting).into());
            }
            self.unused.borrow_mut().push(setting);
        }
        Ok(())
    }

    /// Returns the use of the model config if it was filled in.
    ///
    /// # Errors
    /// [`ModuleError::UnusedModelConfig`] if it was set explicitly and not read.
    pub(crate) fn config_use(&self, was_read: bool) -> Result<Option<ConfigUse>> {
        let module = self.module.to_owned();
        if self.is_config_filled {
            let unused = self.unused.borrow().clone();
            return Ok(Some(ConfigUse { module, was_read, unused }));
        }
        match self.model_config.is_null() || was_read {
            true => Ok(None),
            false => Err(ModuleError::UnusedModelConfig { module }),
        }
    }

    /// Returns the argument of the catalog's methods.
    #[must_use]
    pub fn catalog_context<'b>(&'b self, config: &'b DefaultModelConfig) -> CatalogContext<'b> {
        CatalogContext::new(self.builder, config)
    }

    /// Builds an MLP with `tanh` hidden layers and a linear output.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, output_dim]`.
    #[must_use]
    pub fn mlp(&self, input_dim: usize, hidden: &[usize], output_dim: usize) -> Mlp {
        MlpConfig::new(input_dim, hidden, Some(output_dim)).build(self.builder)
    }
}
