//! What modules that share parameters are built from.

use std::collections::BTreeMap;

use burn::prelude::Device;
use rekindle_catalog::ModelBuilder;
use rekindle_core::ModuleId;

use crate::{ModuleContext, ModuleError, Result};

/// The context of each module, on one device and one random stream.
#[derive(Debug)]
pub struct SharedContext<'a> {
    pub(super) modules: BTreeMap<ModuleId, ModuleContext<'a>>,
    pub(super) builder: &'a ModelBuilder,
}

impl<'a> SharedContext<'a> {
    /// The context of each module, sorted by id.
    pub fn modules(&self) -> &BTreeMap<ModuleId, ModuleContext<'a>> {
        &self.modules
    }

    /// The context of one module.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] with the ids there are.
    pub fn module(&self, id: &str) -> Result<&ModuleContext<'a>> {
        self.modules.get(id).ok_or_else(|| ModuleError::unknown(id, self.modules.keys()))
    }

    /// The context of the first module: where settings of the shared parts are read from if all
    /// modules have the same.
    ///
    /// # Errors
    /// None in practice: nothing is built for no modules.
    pub fn first(&self) -> Result<&ModuleContext<'a>> {
        let none = || ModuleError::Mismatch("a shared module needs at least one spec".into());
        self.modules.values().next().ok_or_else(none)
    }

    /// Whether all modules will only act: parts that serve training may be left out.
    pub fn inference_only(&self) -> bool {
        self.modules.values().all(ModuleContext::inference_only)
    }

    /// Where the parameters are created.
    pub fn device(&self) -> &'a Device {
        self.builder.device()
    }

    /// Creates layers whose parameters are drawn from the common stream.
    pub fn builder(&self) -> &'a ModelBuilder {
        self.builder
    }

    /// Whether any module was given a model config that `setup` may read, and none was read.
    pub(super) fn config_unread(&self) -> bool {
        let given = self.modules.values().any(|cx| !cx.model_config.is_null());
        given && !self.modules.values().any(|cx| cx.config_read.get())
    }
}
