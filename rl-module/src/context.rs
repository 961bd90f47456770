//! What a module is built from.

use std::cell::Cell;

use burn::prelude::Device;
use rekindle_catalog::{Catalog, CatalogContext, DefaultModelConfig, Mlp, MlpConfig, ModelBuilder};
use rekindle_env::Space;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{ModuleError, Result};

/// Spaces, settings, device and random stream: everything [`RLModule::setup`] may read.
///
/// [`RLModule::setup`]: crate::RLModule::setup
#[derive(Debug)]
pub struct ModuleContext<'a> {
    pub(crate) module: &'a str,
    pub(crate) observation_space: &'a Space,
    pub(crate) action_space: &'a Space,
    pub(crate) model_config: &'a Value,
    pub(crate) inference_only: bool,
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) builder: &'a ModelBuilder,
    /// Whether `setup` asked for the model config: one that nobody reads is refused.
    pub(crate) config_read: Cell<bool>,
}

impl<'a> ModuleContext<'a> {
    /// The space of the observations as the module sees them.
    pub fn observation_space(&self) -> &'a Space {
        self.observation_space
    }

    /// The space of the actions.
    pub fn action_space(&self) -> &'a Space {
        self.action_space
    }

    /// Whether the module will only act: parts that serve training may be left out.
    pub fn inference_only(&self) -> bool {
        self.inference_only
    }

    /// Where the parameters are created.
    pub fn device(&self) -> &'a Device {
        self.builder.device()
    }

    /// The catalog that picks encoders, heads and distributions.
    pub fn catalog(&self) -> &'a dyn Catalog {
        self.catalog
    }

    /// Creates layers whose parameters are drawn from the module's own stream.
    pub fn builder(&self) -> &'a ModelBuilder {
        self.builder
    }

    /// The model config as a type of the module's own (`#[serde(deny_unknown_fields)]` is wise).
    ///
    /// # Errors
    /// [`ModuleError::ModelConfig`] if it does not have that form.
    pub fn model_config<T: DeserializeOwned>(&self) -> Result<T> {
        self.config_read.set(true);
        let config = match self.model_config {
            Value::Null => Value::Object(serde_json::Map::new()),
            config => config.clone(),
        };
        serde_json::from_value(config)
            .map_err(|source| ModuleError::ModelConfig { module: self.module.into(), source })
    }

    /// The model config as RLlib's `DefaultModelConfig`, checked.
    ///
    /// # Errors
    /// [`ModuleError::ModelConfig`] for unknown fields, a catalog error for values out of range.
    pub fn default_model_config(&self) -> Result<DefaultModelConfig> {
        let config: DefaultModelConfig = self.model_config()?;
        config.validate()?;
        Ok(config)
    }

    /// What the catalog's methods take.
    pub fn catalog_context<'b>(&'b self, config: &'b DefaultModelConfig) -> CatalogContext<'b> {
        CatalogContext { builder: self.builder, config }
    }

    /// A perceptron with `tanh` hidden layers and a linear output.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, output_dim]`.
    pub fn mlp(&self, input_dim: usize, hidden: &[usize], output_dim: usize) -> Mlp {
        self.builder.mlp(&MlpConfig::new(input_dim, hidden, Some(output_dim)))
    }
}
