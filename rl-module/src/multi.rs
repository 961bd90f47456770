//! Several modules in one container.

mod burn_module;
mod change;
mod load;
mod spec;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::{ALL_MODULES, Batch, ModuleId};

use crate::{AnyRLModule, ModuleError, Result, SharedRLModule};

pub use spec::MultiRLModuleSpec;

/// A batch per module.
pub type MultiBatch = BTreeMap<ModuleId, Batch>;

/// Checks that an id can name a module and the directory of its checkpoint.
///
/// # Errors
/// [`ModuleError::InvalidModuleId`].
pub fn validate_module_id(id: &str) -> Result<()> {
    let forbidden = |c: char| "<>:\"/\\|?*".contains(c) || c.is_control();
    if id.is_empty()
        || id.contains(forbidden)
        || id.ends_with(['.', ' '])
        || id.starts_with('.')
        || id == ALL_MODULES
    {
        return Err(ModuleError::InvalidModuleId(id.into()));
    }
    Ok(())
}

/// Modules by id: what learners and runners see, also for a single agent.
///
/// Itself a Burn module: one visitor or optimizer runs over all of them. Modules that share
/// parameters ([`SharedRLModule`]) stand in it once each, their parameters stand in it once.
#[derive(Debug, Clone, Default)]
pub struct MultiRLModule {
    modules: BTreeMap<ModuleId, AnyRLModule>,
    /// Those of the modules that are parts of one shared module.
    views: BTreeSet<ModuleId>,
}

impl MultiRLModule {
    /// A container without modules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module with parameters of its own: a part of another container's shared module
    /// brings a copy along.
    ///
    /// # Errors
    /// [`ModuleError::DuplicateModule`] if the id is taken and `override_existing` is false,
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

    /// Takes a module out. A part of a shared module no longer shares: what it returns has a copy
    /// of the parameters, and the others go on without it.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] with the ids there are.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.modules.remove(id).ok_or_else(|| self.unknown(id))?;
        self.views.remove(id);
        Ok(module)
    }

    /// The struct that owns the shared parameters, if some modules share any.
    pub fn shared(&self) -> Option<&dyn SharedRLModule> {
        self.views.first().and_then(|id| self.modules.get(id)).and_then(AnyRLModule::shared)
    }

    /// The container without the modules that only learners have: what runners act with.
    #[must_use]
    pub fn without_learner_only(&self) -> Self {
        let mut acting = self.clone();
        acting.modules.retain(|_, module| !module.spec().is_learner_only());
        acting.views.retain(|id| acting.modules.contains_key(id));
        acting
    }

    /// The module.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] with the ids there are.
    pub fn module(&self, id: &str) -> Result<&AnyRLModule> {
        self.get(id).ok_or_else(|| self.unknown(id))
    }

    /// The module, if there.
    pub fn get(&self, id: &str) -> Option<&AnyRLModule> {
        self.modules.get(id)
    }

    /// Whether the module is there.
    pub fn contains(&self, id: &str) -> bool {
        self.modules.contains_key(id)
    }

    /// The ids, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &ModuleId> {
        self.modules.keys()
    }

    /// Ids and modules, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ModuleId, &AnyRLModule)> {
        self.modules.iter()
    }

    /// The number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there are no modules.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// The training pass of every module that has a batch; batches of unknown ids are skipped.
    ///
    /// # Errors
    /// The first module's error.
    pub fn forward_train(&self, batch: &MultiBatch) -> Result<MultiBatch> {
        self.forward(batch, AnyRLModule::forward_train)
    }

    /// The exploration pass of every module that has a batch.
    ///
    /// # Errors
    /// The first module's error.
    pub fn forward_exploration(&self, batch: &MultiBatch) -> Result<MultiBatch> {
        self.forward(batch, AnyRLModule::forward_exploration)
    }

    /// The inference pass of every module that has a batch.
    ///
    /// # Errors
    /// The first module's error.
    pub fn forward_inference(&self, batch: &MultiBatch) -> Result<MultiBatch> {
        self.forward(batch, AnyRLModule::forward_inference)
    }

    fn forward(
        &self,
        batch: &MultiBatch,
        pass: impl Fn(&AnyRLModule, &Batch) -> Result<Batch>,
    ) -> Result<MultiBatch> {
        let known = batch.iter().filter_map(|(id, batch)| Some((id, self.get(id)?, batch)));
        known.map(|(id, module, batch)| Ok((id.clone(), pass(module, batch)?))).collect()
    }

    fn unknown(&self, id: &str) -> ModuleError {
        ModuleError::unknown(id, self.modules.keys())
    }
}
