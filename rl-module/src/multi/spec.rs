//! Specs of several modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use serde::{Deserialize, Serialize};

use super::MultiRLModule;
use crate::config_use::ConfigUse;
use crate::error::{ModuleError, Result};
use crate::shared::SharedRLModule;
use crate::shared::build_views;
use crate::spec::RLModuleSpec;

/// Specs by module id; RLlib's `MultiRLModuleSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MultiRLModuleSpec {
    /// Specs of the modules.
    pub rl_module_specs: BTreeMap<ModuleId, RLModuleSpec>,
    /// Checkpoint of a multi-module with the initial weights of the modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_state_path: Option<PathBuf>,
    /// Modules that start with weights of that checkpoint; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_to_load: Option<BTreeSet<ModuleId>>,
    /// Ids in the checkpoint, by id of the module, for modules whose ids differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved_ids: BTreeMap<ModuleId, ModuleId>,
    /// Parts of the shared module that are no longer modules: their parameters are built, and no module
    /// has them. [`from_module`](Self::from_module) finds them in a container from which parts were
    /// removed or replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed_parts: BTreeMap<ModuleId, RLModuleSpec>,
}

impl From<RLModuleSpec> for MultiRLModuleSpec {
    /// Creates specs of one module under the default id.
    fn from(spec: RLModuleSpec) -> Self {
        Self::new([(DEFAULT_MODULE_ID, spec)])
    }
}

impl MultiRLModuleSpec {
    /// Creates specs of several modules by id.
    #[must_use]
    pub fn new<I: Into<ModuleId>>(specs: impl IntoIterator<Item = (I, RLModuleSpec)>) -> Self {
        let rl_module_specs = specs.into_iter().map(|(id, spec)| (id.into(), spec)).collect();
        Self { rl_module_specs, ..Self::default() }
    }

    /// Creates specs of modules that share parameters in one `M`; RLlib's `multi_rl_module_class`.
    ///
    /// The module type of each spec is replaced by `M`.
    #[must_use]
    pub fn shared<M: SharedRLModule + Module + 'static>(
        specs: impl IntoIterator<Item = (impl Into<ModuleId>, RLModuleSpec)>,
    ) -> Self {
        let part = RLModuleSpec::of_shared::<M>();
        Self::new(specs.into_iter().map(|(id, spec)| (id.into(), spec.with_type_of(&part))))
    }

    /// Returns the specs of built modules. They build a container of the same parameters.
    #[must_use]
    pub fn from_module(module: &MultiRLModule) -> Self {
        let mut specs = Self::new(module.iter().map(|(id, m)| (id.clone(), m.spec().clone())));
        for (id, spec) in module.shared_specs().into_iter().flatten() {
            let parts = match module.is_part(id) {
                true => &mut specs.rl_module_specs,
                false => &mut specs.removed_parts,
            };
            parts.insert(id.clone(), spec.clone());
        }
        specs
    }

    /// Sets a checkpoint of a multi-module with the initial weights of the modules.
    ///
    /// The checkpoint must have exactly these modules, unless
    /// [`modules_to_load`](Self::modules_to_load) selects some. A spec's own `load_state_path` takes
    /// precedence.
    #[must_use]
    pub fn load_state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.load_state_path = Some(path.into());
        self
    }

    /// Selects the modules to load. The others start with random weights.
    #[must_use]
    pub fn modules_to_load<I: Into<ModuleId>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.modules_to_load = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Loads module `id` from module `saved_id` of the checkpoint.
    #[must_use]
    pub fn load_renamed(mut self, id: impl Into<ModuleId>, saved_id: impl Into<ModuleId>) -> Self {
        self.saved_ids.insert(id.into(), saved_id.into());
        self
    }

    /// Adds specs. An existing spec is replaced if `override_existing` is true, else updated.
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

    /// Removes specs. Unknown ids are ignored.
    pub fn remove_modules<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            self.rl_module_specs.remove(id);
        }
    }

    /// Returns the specs without checkpoints to load, as built modules record them.
    #[must_use]
    pub fn built(&self) -> Self {
        let built = |specs: &BTreeMap<ModuleId, RLModuleSpec>| {
            specs.iter().map(|(id, spec)| (id.clone(), spec.built())).collect()
        };
        Self {
            rl_module_specs: built(&self.rl_module_specs),
            removed_parts: built(&self.removed_parts),
            ..Self::default()
        }
    }

    /// Fills in the missing settings of every spec from `defaults`.
    pub fn fill(&mut self, defaults: &RLModuleSpec) {
        for spec in self.rl_module_specs.values_mut() {
            spec.update(defaults, false);
        }
    }

    /// Builds all modules. Each draws its parameters from its own stream of `seed`. Modules that
    /// share parameters draw from one stream.
    ///
    /// # Errors
    /// [`ModuleError::Build`] with the id and the error of the first module that cannot be built;
    /// [`ModuleError::LoadState`] if the weights do not match; an error for a setting that was
    /// filled in and that no module uses.
    pub fn build(&self, device: &Device, seed: u64) -> Result<MultiRLModule> {
        let mut multi = MultiRLModule::new();
        let parts = self.shared_parts()?;
        let mut uses = Vec::new();
        for (index, (id, spec)) in self.rl_module_specs.iter().enumerate() {
            let rng = stream(seed, index as u64, 0, Purpose::Init);
            let of_module =
                |source| ModuleError::Build { id: id.clone(), source: Box::new(source) };
            if !spec.is_shared_part() {
                let (module, config_use) =
                    spec.build_one_of_several(device, rng).map_err(of_module)?;
                multi.add_module(id, module, false)?;
                uses.extend(config_use);
            } else if parts.keys().find(|id| self.is_part(id)) == Some(id) {
                let (mut views, config_uses) =
                    build_views(&parts, device, rng).map_err(of_module)?;
                views.retain(|id, _| self.is_part(id));
                multi.add_views(views)?;
                uses.extend(config_uses);
            }
        }
        ConfigUse::check(&uses)?;
        self.load(&mut multi)?;
        Ok(multi)
    }

    /// Whether a module shares its parameters with others.
    fn is_part(&self, id: &str) -> bool {
        self.rl_module_specs.get(id).is_some_and(RLModuleSpec::is_shared_part)
    }

    /// Returns the specs of the modules that share parameters, and of parts without a module.
    fn shared_parts(&self) -> Result<BTreeMap<ModuleId, RLModuleSpec>> {
        // A module takes precedence over a removed part of its id.
        let all = self.removed_parts.iter().chain(&self.rl_module_specs);
        let parts: BTreeMap<_, _> = all
            .filter(|(_, spec)| spec.is_shared_part())
            .map(|(id, spec)| (id.clone(), spec.clone()))
            .collect();
        let mut types = parts.values().map(RLModuleSpec::module);
        let first = types.next();
        if let (Some(first), Some(other)) = (first, types.find(|name| Some(*name) != first)) {
            return Err(ModuleError::Mismatch(format!(
                "the specs name two shared modules, `{first}` and `{other}`, but a container can have one only"
            )));
        }
        if let Some((id, _)) = parts.iter().find(|(_, s)| s.get_load_state_path().is_some()) {
            return Err(ModuleError::Mismatch(format!(
                "module `{id}` shares its parameters, which cannot be loaded for one module alone; set `load_state_path` on the `MultiRLModuleSpec`"
            )));
        }
        Ok(parts)
    }
}
