//! How several modules are built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use serde::{Deserialize, Serialize};

use super::MultiRLModule;
use crate::shared::build_views;
use crate::{ModuleError, RLModuleSpec, Result, SharedRLModule};

/// Specs by module id: RLlib's `MultiRLModuleSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiRLModuleSpec {
    /// The specs.
    pub rl_module_specs: BTreeMap<ModuleId, RLModuleSpec>,
    /// The checkpoint of a multi-module whose weights the modules begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_state_path: Option<PathBuf>,
    /// The modules that begin with weights of that checkpoint; `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_to_load: Option<BTreeSet<ModuleId>>,
    /// For modules of another id in the checkpoint: that id, by the id here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved_ids: BTreeMap<ModuleId, ModuleId>,
}

impl From<RLModuleSpec> for MultiRLModuleSpec {
    /// One module under the default id.
    fn from(spec: RLModuleSpec) -> Self {
        Self::new([(DEFAULT_MODULE_ID, spec)])
    }
}

impl MultiRLModuleSpec {
    /// Specs by id.
    pub fn new<I: Into<ModuleId>>(specs: impl IntoIterator<Item = (I, RLModuleSpec)>) -> Self {
        let rl_module_specs = specs.into_iter().map(|(id, spec)| (id.into(), spec)).collect();
        Self { rl_module_specs, ..Self::default() }
    }

    /// Specs by id of modules that share parameters in one `M`; RLlib's `multi_rl_module_class`.
    ///
    /// Only spaces, model config, catalog and flags of the specs count: the type is `M`.
    pub fn shared<M: SharedRLModule + Module + 'static>(
        specs: impl IntoIterator<Item = (impl Into<ModuleId>, RLModuleSpec)>,
    ) -> Self {
        let part = RLModuleSpec::of_shared::<M>();
        Self::new(specs.into_iter().map(|(id, spec)| (id.into(), spec.with_type_of(&part))))
    }

    /// The specs of built modules; of a shared module those of all its parts.
    pub fn from_module(module: &MultiRLModule) -> Self {
        let mut specs = Self::new(module.iter().map(|(id, m)| (id.clone(), m.spec().clone())));
        if let Some(shared) = module.shared_specs() {
            specs.rl_module_specs.extend(shared.clone());
        }
        specs
    }

    /// Lets the modules begin with the weights of a checkpoint of a multi-module.
    ///
    /// Strict, unless [`modules_to_load`](Self::modules_to_load) chooses: the checkpoint has
    /// exactly these modules. A spec with a `load_state_path` of its own goes by that one.
    #[must_use]
    pub fn load_state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.load_state_path = Some(path.into());
        self
    }

    /// Loads only these modules; the others begin with random weights.
    #[must_use]
    pub fn modules_to_load<I: Into<ModuleId>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.modules_to_load = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Loads the module `id` from the one that the checkpoint has as `saved_id`.
    #[must_use]
    pub fn load_renamed(mut self, id: impl Into<ModuleId>, saved_id: impl Into<ModuleId>) -> Self {
        self.saved_ids.insert(id.into(), saved_id.into());
        self
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

    /// The specs as they are once the modules have their weights: without files to load.
    #[must_use]
    pub fn built(&self) -> Self {
        let specs = self.rl_module_specs.iter();
        Self::new(specs.map(|(id, spec)| (id.clone(), spec.built())))
    }

    /// Fills what every spec leaves open from `defaults`.
    pub fn fill(&mut self, defaults: &RLModuleSpec) {
        for spec in self.rl_module_specs.values_mut() {
            spec.update(defaults, false);
        }
    }

    /// Builds all modules; each draws its parameters from its own stream of `seed`, modules that
    /// share parameters from one.
    ///
    /// # Errors
    /// The first module's error; [`ModuleError::LoadState`] if the weights to load do not fit.
    pub fn build(&self, device: &Device, seed: u64) -> Result<MultiRLModule> {
        let mut multi = MultiRLModule::new();
        let parts = self.shared_parts()?;
        for (index, (id, spec)) in self.rl_module_specs.iter().enumerate() {
            let rng = stream(seed, index as u64, 0, Purpose::Init);
            if !spec.is_shared_part() {
                multi.add_module(id, spec.build_seeded(device, rng)?, false)?;
            } else if parts.keys().next() == Some(id) {
                multi.add_views(build_views(&parts, device, rng)?)?;
            }
        }
        self.load(&mut multi)?;
        Ok(multi)
    }

    /// The specs of the modules that share parameters.
    fn shared_parts(&self) -> Result<BTreeMap<ModuleId, RLModuleSpec>> {
        let all = self.rl_module_specs.iter();
        let parts: BTreeMap<_, _> = all
            .filter(|(_, spec)| spec.is_shared_part())
            .map(|(id, spec)| (id.clone(), spec.clone()))
            .collect();
        let mut types = parts.values().map(RLModuleSpec::module);
        let first = types.next();
        if let (Some(first), Some(other)) = (first, types.find(|name| Some(*name) != first)) {
            return Err(ModuleError::Mismatch(format!(
                "the specs name two shared modules, `{first}` and `{other}`; one container has one"
            )));
        }
        if let Some((id, _)) = parts.iter().find(|(_, s)| s.get_load_state_path().is_some()) {
            return Err(ModuleError::Mismatch(format!(
                "`{id}` shares parameters, which cannot be loaded for one module alone; set `load_state_path` on the `MultiRLModuleSpec`"
            )));
        }
        Ok(parts)
    }
}
