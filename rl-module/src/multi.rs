//! A container of several modules.

mod burn_module;
mod change;
mod load;
mod spec;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::{ALL_MODULES, Batch, ModuleId};

use crate::any::AnyRLModule;
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::shared::SharedRLModule;

pub use spec::MultiRLModuleSpec;

/// Batches by module id.
pub type MultiBatch = BTreeMap<ModuleId, Batch>;

/// Checks that an id is a valid name of a module and of the directory of its checkpoint.
///
/// # Errors
/// [`ModuleError::InvalidModuleId`].
pub(crate) fn validate_module_id(id: &str) -> Result<()> {
    if id == ALL_MODULES || rekindle_checkpoint::check_component(id).is_err() {
        return Err(ModuleError::InvalidModuleId(id.into()));
    }
    Ok(())
}

/// Modules by id. Learners and runners use it for a single agent, too.
///
/// It is itself a Burn module: one visitor or optimizer covers all modules. Modules that share
/// parameters ([`SharedRLModule`]) are one entry each, and visitors see their parameters once.
#[derive(Debug, Clone, Default)]
pub struct MultiRLModule {
    modules: BTreeMap<ModuleId, AnyRLModule>,
    /// Ids of the modules that are parts of one shared module.
    views: BTreeSet<ModuleId>,
}

impl MultiRLModule {
    /// Creates a container without modules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module with its own parameters. A part of another container's shared module gets a
    /// copy of them.
    ///
    /// # Errors
    /// [`ModuleError::DuplicateModule`] if the id exists and `override_existing` is false;
    /// [`ModuleError::InvalidModuleId`].
    pub fn add_module(
        &mut self,
        id: impl Into<ModuleId>,
        module: AnyRLModule,
        override_existing: bool,
    ) -> Result<()> {
        let id = id.into();
        validate_module_id(&id)?;
        if !override_existing && self.modules.contains_key(&id) {
            return Err(ModuleError::DuplicateModule(id));
        }
        self.views.remove(&id);
        self.modules.insert(id, module);
        Ok(())
    }

    /// Removes and returns a module. A part of a shared module gets a copy of the parameters and
    /// stops sharing them. The other parts are unchanged.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] that lists the ids.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.modules.remove(id).ok_or_else(|| self.unknown(id))?;
        self.views.remove(id);
        Ok(module)
    }

    /// Returns the struct that owns the shared parameters, if there are any.
    #[must_use]
    pub fn shared(&self) -> Option<&dyn SharedRLModule> {
        self.views.first().and_then(|id| self.modules.get(id)).and_then(AnyRLModule::shared)
    }

    /// Returns the modules of runners: all modules except learner-only ones.
    #[must_use]
    pub fn without_learner_only(&self) -> Self {
        let mut acting = self.clone();
        acting.modules.retain(|_, module| !module.spec().is_learner_only());
        acting.views.retain(|id| acting.modules.contains_key(id));
        acting
    }

    /// Returns a module.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] that lists the ids.
    pub fn module(&self, id: &str) -> Result<&AnyRLModule> {
        self.get(id).ok_or_else(|| self.unknown(id))
    }

    /// Returns a module, or `None` if there is none with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&AnyRLModule> {
        self.modules.get(id)
    }

    /// Whether there is a module with this id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.modules.contains_key(id)
    }

    /// Returns the ids, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &ModuleId> {
        self.modules.keys()
    }

    /// Returns ids and modules, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ModuleId, &AnyRLModule)> {
        self.modules.iter()
    }

    /// Returns the number of modules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there are no modules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Runs the training pass of each module that has a batch. Batches with unknown ids are skipped.
    ///
    /// # Errors
    /// The first error of a module.
    pub fn forward_train(&self, batch: &MultiBatch) -> Result<MultiBatch> {
        self.forward(batch, |_, module, batch| module.forward_train(batch))
    }

    /// Runs the exploration pass of each module that has a batch. Batches with unknown ids are
    /// skipped. Each module has a context of its own; one that is missing is that of the start of
    /// training, with seed 0.
    ///
    /// # Errors
    /// The first error of a module.
    pub fn forward_exploration(
        &self,
        batch: &MultiBatch,
        contexts: &mut BTreeMap<ModuleId, ExplorationContext>,
    ) -> Result<MultiBatch> {
        self.forward(batch, |id, module, batch| {
            module.forward_exploration(batch, contexts.entry(id.clone()).or_default())
        })
    }

    /// Runs the inference pass of each module that has a batch. Batches with unknown ids are
    /// skipped.
    ///
    /// # Errors
    /// The first error of a module.
    pub fn forward_inference(&self, batch: &MultiBatch) -> Result<MultiBatch> {
        self.forward(batch, |_, module, batch| module.forward_inference(batch))
    }

    fn forward(
        &self,
        batch: &MultiBatch,
        mut pass: impl FnMut(&ModuleId, &AnyRLModule, &Batch) -> Result<Batch>,
    ) -> Result<MultiBatch> {
        let known = batch.iter().filter_map(|(id, batch)| Some((id, self.get(id)?, batch)));
        known.map(|(id, module, batch)| Ok((id.clone(), pass(id, module, batch)?))).collect()
    }

    fn unknown(&self, id: &str) -> ModuleError {
        ModuleError::unknown(id, self.modules.keys())
    }
}
