//! Several modules in one container.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Batch, Checkpointable, DEFAULT_MODULE_ID, ModuleId, State};
use serde::{Deserialize, Serialize};

use crate::{AnyRLModule, ModuleError, RLModuleSpec, Result};

/// A batch per module.
pub type MultiBatch = BTreeMap<ModuleId, Batch>;

/// Checks that an id can name a module and the directory of its checkpoint.
///
/// # Errors
/// [`ModuleError::InvalidModuleId`].
pub fn validate_module_id(id: &str) -> Result<()> {
    let forbidden = |c: char| "<>:\"/\\|?*".contains(c) || c.is_control();
    if id.is_empty() || id.contains(forbidden) || id.ends_with(['.', ' ']) || id.starts_with('.') {
        return Err(ModuleError::InvalidModuleId(id.into()));
    }
    Ok(())
}

/// Modules by id: what learners and runners see, also for a single agent.
///
/// Itself a Burn module: one visitor or optimizer runs over all of them.
#[derive(Debug, Clone, Default)]
pub struct MultiRLModule {
    modules: BTreeMap<ModuleId, AnyRLModule>,
}

impl MultiRLModule {
    /// A container without modules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module.
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
        self.modules.insert(id, module);
        Ok(())
    }

    /// Takes a module out.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] with the ids there are.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        self.modules.remove(id).ok_or_else(|| self.unknown(id))
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

    /// The module to change, if there.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut AnyRLModule> {
        self.modules.get_mut(id)
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
        let available = self.modules.keys().cloned().collect::<Vec<_>>().join(", ");
        ModuleError::UnknownModule { id: id.into(), available }
    }

    /// Builds all modules that a state describes.
    ///
    /// # Errors
    /// As [`AnyRLModule::from_state`].
    pub fn from_state(state: &State, device: &Device) -> Result<Self> {
        let mut multi = Self::new();
        for (id, state) in &state.components {
            multi.add_module(id, AnyRLModule::from_state(state, device)?, false)?;
        }
        Ok(multi)
    }

    /// Builds all modules of a checkpoint.
    ///
    /// # Errors
    /// As [`AnyRLModule::from_checkpoint`].
    pub fn from_checkpoint(path: impl AsRef<std::path::Path>, device: &Device) -> Result<Self> {
        Self::from_state(&rekindle_core::checkpoint::read(path)?, device)
    }
}

impl Checkpointable for MultiRLModule {
    type Error = ModuleError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::new();
        for (id, module) in &self.modules {
            state.insert_component(id.clone(), module.get_state()?);
        }
        Ok(state)
    }

    /// Strict: the state has exactly the modules that are here.
    fn set_state(&mut self, state: &State) -> Result<()> {
        if let Some(id) = state.components.keys().find(|id| !self.contains(id)) {
            return Err(self.unknown(id));
        }
        // All states are loaded before the first module is replaced.
        let mut modules = self.modules.clone();
        for (id, module) in &mut modules {
            module.set_state(state.component(id)?)?;
        }
        self.modules = modules;
        Ok(())
    }
}

impl Module for MultiRLModule {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.modules.values().fold(devices, |devices, module| module.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|module| module.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|module| module.to_device(device))
    }
    fn train(self) -> Self {
        self.each(AnyRLModule::train)
    }
    fn valid(&self) -> Self {
        let valid = self.modules.iter().map(|(id, module)| (id.clone(), module.valid()));
        Self { modules: valid.collect() }
    }
    fn materialize(self) -> Self {
        self.each(AnyRLModule::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (id, module) in &self.modules {
            visitor.enter_module(id, "MultiRLModule");
            module.visit(visitor);
            visitor.exit_module(id, "MultiRLModule");
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let map = |(id, module): (ModuleId, AnyRLModule)| {
            mapper.enter_module(&id, "MultiRLModule");
            let module = module.map(mapper);
            mapper.exit_module(&id, "MultiRLModule");
            (id, module)
        };
        Self { modules: self.modules.into_iter().map(map).collect() }
    }
}

impl MultiRLModule {
    fn each(self, f: impl Fn(AnyRLModule) -> AnyRLModule) -> Self {
        Self { modules: self.modules.into_iter().map(|(id, module)| (id, f(module))).collect() }
    }
}

/// Specs by module id: RLlib's `MultiRLModuleSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiRLModuleSpec {
    /// The specs.
    pub rl_module_specs: BTreeMap<ModuleId, RLModuleSpec>,
}

impl From<RLModuleSpec> for MultiRLModuleSpec {
    /// One module under the default id.
    fn from(spec: RLModuleSpec) -> Self {
        Self { rl_module_specs: BTreeMap::from([(DEFAULT_MODULE_ID.into(), spec)]) }
    }
}

impl MultiRLModuleSpec {
    /// Specs by id.
    pub fn new<I: Into<ModuleId>>(specs: impl IntoIterator<Item = (I, RLModuleSpec)>) -> Self {
        Self { rl_module_specs: specs.into_iter().map(|(id, spec)| (id.into(), spec)).collect() }
    }

    /// The specs of built modules.
    pub fn from_module(module: &MultiRLModule) -> Self {
        Self::new(module.iter().map(|(id, module)| (id.clone(), module.spec().clone())))
    }

    /// Adds specs; an existing one is replaced, or updated where `override_existing` is false.
    pub fn add_modules(
        &mut self,
        specs: impl IntoIterator<Item = (ModuleId, RLModuleSpec)>,
        override_existing: bool,
    ) {
        for (id, spec) in specs {
            match self.rl_module_specs.get_mut(&id) {
                Some(existing) if !override_existing => existing.update(&spec, true),
                _ => {
                    self.rl_module_specs.insert(id, spec);
                }
            }
        }
    }

    /// Removes specs; ids that are not there are left alone.
    pub fn remove_modules<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            self.rl_module_specs.remove(id);
        }
    }

    /// Fills what every spec leaves open from `defaults`.
    pub fn fill(&mut self, defaults: &RLModuleSpec) {
        for spec in self.rl_module_specs.values_mut() {
            spec.update(defaults, false);
        }
    }

    /// Builds all modules; each draws its parameters from its own stream of `seed`.
    ///
    /// # Errors
    /// The first module's error.
    pub fn build(&self, device: &Device, seed: u64) -> Result<MultiRLModule> {
        let mut multi = MultiRLModule::new();
        for (index, (id, spec)) in self.rl_module_specs.iter().enumerate() {
            let rng = stream(seed, index as u64, 0, Purpose::Init);
            multi.add_module(id, spec.build_seeded(device, rng)?, false)?;
        }
        Ok(multi)
    }
}
