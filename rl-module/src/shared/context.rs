//! The context of the construction of modules that share parameters.

use std::collections::BTreeMap;

use burn::prelude::Device;
use rekindle_catalog::ModelBuilder;
use rekindle_core::ModuleId;

use crate::config_use::ConfigUse;
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};

/// The contexts of several modules, with one device and one random stream.
#[derive(Debug)]
pub struct SharedContext<'a> {
    pub(super) modules: BTreeMap<ModuleId, ModuleContext<'a>>,
    pub(super) builder: &'a ModelBuilder,
}

impl<'a> SharedContext<'a> {
    /// Returns the context of each module, sorted by id.
    #[must_use]
    pub fn modules(&self) -> &BTreeMap<ModuleId, ModuleContext<'a>> {
        &self.modules
    }

    /// Returns the context of one module.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] that lists the ids.
    pub fn module(&self, id: &str) -> Result<&ModuleContext<'a>> {
        self.modules.get(id).ok_or_else(|| ModuleError::unknown(id, self.modules.keys()))
    }

    /// Returns the context of the first module. Read the settings of the shared parts from it if
    /// they are equal for all modules.
    ///
    /// # Errors
    /// [`ModuleError::Mismatch`] if there are no modules.
    pub fn first(&self) -> Result<&ModuleContext<'a>> {
        let none = || ModuleError::Mismatch("a shared module needs at least one spec".into());
        self.modules.values().next().ok_or_else(none)
    }

    /// Whether all modules will only act, so that parts for training may be omitted.
    #[must_use]
    pub fn inference_only(&self) -> bool {
        self.modules.values().all(ModuleContext::inference_only)
    }

    /// Returns the device of the parameters.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        self.builder.device()
    }

    /// Returns the builder of layers, which draws parameters from the common stream.
    #[must_use]
    pub fn builder(&self) -> &'a ModelBuilder {
        self.builder
    }

    /// Returns the use of each model config that was filled in, by module.
    ///
    /// A config counts as read if `setup` read an equal one, because settings of shared parts are
    /// read from one module.
    ///
    /// # Errors
    /// [`ModuleError::UnusedModelConfig`] for a config that was set explicitly and not read.
    pub(super) fn config_uses(&self) -> Result<BTreeMap<ModuleId, ConfigUse>> {
        let was_read = |cx: &ModuleContext<'_>| {
            let mut others = self.modules.values();
            others.any(|other| other.config_read.get() && other.model_config == cx.model_config)
        };
        let mut uses = BTreeMap::new();
        for (id, cx) in &self.modules {
            if let Some(config_use) = cx.config_use(was_read(cx))? {
                uses.insert(id.clone(), config_use);
            }
        }
        Ok(uses)
    }
}
