//! Saving and restoring several modules.

use std::collections::{BTreeMap, BTreeSet};

use burn::prelude::Device;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{ALL_MODULES, Generator, ModuleId};
use serde::{Deserialize, Serialize};

use super::MultiRLModule;
use crate::any::AnyRLModule;
use crate::compatible::SavedSpaces;
use crate::error::{ModuleError, Result};
use crate::shared::build_views;
use crate::spec::RLModuleSpec;

/// The data of the state if some modules share parameters. The parameters are its tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedState {
    /// Specs that the shared module was built from.
    rl_module_specs: BTreeMap<ModuleId, RLModuleSpec>,
    /// Ids of the modules that have not been removed since.
    modules: BTreeSet<ModuleId>,
}

impl MultiRLModule {
    /// Returns the specs that the shared module was built from.
    pub(super) fn shared_specs(&self) -> Option<&BTreeMap<ModuleId, RLModuleSpec>> {
        let first = self.views.first().and_then(|id| self.get(id))?;
        first.spec().get_part_of().map(|part| &part.rl_module_specs)
    }

    /// Whether the module is a part of the shared module.
    pub(super) fn is_part(&self, id: &str) -> bool {
        self.views.contains(id)
    }

    /// Adds modules that share the parameters of one shared module.
    pub(super) fn add_views(&mut self, views: BTreeMap<ModuleId, AnyRLModule>) -> Result<()> {
        for (id, view) in views {
            self.add_module(&id, view, false)?;
            self.views.insert(id);
        }
        Ok(())
    }

    /// Builds all modules of a state.
    ///
    /// # Errors
    /// The errors of [`AnyRLModule::from_state`].
    pub fn from_state(state: &State, device: &Device) -> Result<Self> {
        let mut multi = Self::new();
        if !state.data.is_null() {
            let saved: SharedState = state.data_as()?;
            let (mut views, _) =
                build_views(&saved.rl_module_specs, device, Generator::from_seed(0))?;
            views.retain(|id, _| saved.modules.contains(id));
            multi.add_views(views)?;
            multi.try_change(ALL_MODULES, |module| module.restore_state_dict(&state.tensors))?;
        }
        for (id, state) in &state.components {
            multi.add_module(id, AnyRLModule::from_state(state, device)?, false)?;
        }
        Ok(multi)
    }

    /// Builds all modules of a checkpoint.
    ///
    /// # Errors
    /// The errors of [`AnyRLModule::from_checkpoint`].
    pub fn from_checkpoint(path: impl AsRef<std::path::Path>, device: &Device) -> Result<Self> {
        Self::from_state(&rekindle_checkpoint::read(path)?, device)
    }
}

impl Checkpointable for MultiRLModule {
    type Error = ModuleError;

    /// Returns a component per module with its own parameters, and shared parameters as tensors.
    fn get_state(&self) -> Result<State> {
        let mut state = State::new();
        if let (Some(specs), Some(first)) = (self.shared_specs(), self.views.first()) {
            let rl_module_specs = specs.clone();
            state =
                State::from_data(&SharedState { rl_module_specs, modules: self.views.clone() })?;
            state.tensors = self.module(first)?.state_dict()?;
        }
        for (id, module) in self.modules.iter().filter(|(id, _)| !self.views.contains(*id)) {
            state.insert_component(id.clone(), module.get_state()?);
        }
        Ok(state)
    }

    /// Replaces the parameters. The state must have exactly the modules of this container, for the
    /// same spaces. On an error, nothing changes.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let own = |id: &&ModuleId| !self.views.contains(*id);
        if let Some(id) = state
            .components
            .keys()
            .find(|id| !self.modules.keys().filter(own).any(|own| own == *id))
        {
            return Err(ModuleError::unknown(id, self.modules.keys().filter(own)));
        }
        let (saved, saved_specs) = match state.data.is_null() {
            true => (BTreeSet::new(), BTreeMap::new()),
            false => {
                let saved = state.data_as::<SharedState>()?;
                (saved.modules, saved.rl_module_specs)
            }
        };
        if saved != self.views {
            let list =
                |ids: &BTreeSet<ModuleId>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(ModuleError::Mismatch(format!(
                "the modules [{}] share parameters in the checkpoint, but [{}] share parameters here; build the container with `MultiRLModule::from_checkpoint`, or from the same spec",
                list(&saved),
                list(&self.views)
            )));
        }
        for (id, spec) in &saved_specs {
            if let Some(module) = self.get(id) {
                SavedSpaces::of_spec(spec).check(module.spec())?;
            }
        }
        // Load all states before the first module is replaced.
        let mut loaded = self.clone();
        if !self.views.is_empty() {
            loaded.try_change(ALL_MODULES, |module| module.restore_state_dict(&state.tensors))?;
        }
        for id in self.modules.keys().filter(own) {
            loaded.set_module_state(id, state.component(id)?)?;
        }
        *self = loaded;
        Ok(())
    }
}
