//! The initial weights of several modules.

use std::path::Path;

use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::ModuleId;

use super::{MultiRLModule, MultiRLModuleSpec};
use crate::error::{ModuleError, Result};

impl MultiRLModuleSpec {
    /// Loads the weights that the spec names into freshly built modules.
    pub(super) fn load(&self, multi: &mut MultiRLModule) -> Result<()> {
        let choice = self.modules_to_load.is_some() || !self.saved_ids.is_empty();
        let Some(path) = &self.load_state_path else {
            return match choice {
                true => Err(ModuleError::Mismatch(
                    "the spec selects or renames modules to load, but names no checkpoint; set `load_state_path`".into(),
                )),
                false => Ok(()),
            };
        };
        self.load_from(path, choice, multi).map_err(|source| ModuleError::load_state(path, source))
    }

    fn load_from(&self, path: &Path, choice: bool, multi: &mut MultiRLModule) -> Result<()> {
        let state = checkpoint::read(path)?;
        let own_paths = self.rl_module_specs.values().any(|s| s.get_load_state_path().is_some());
        if multi.shared().is_some() {
            return match choice || own_paths {
                true => Err(ModuleError::Mismatch(
                    "modules that share parameters are loaded together; remove `modules_to_load`, `load_renamed` and the `load_state_path` of single specs".into(),
                )),
                false => multi.set_state(&state),
            };
        }
        let chosen = self.modules_to_load.iter().flatten().chain(self.saved_ids.keys());
        if let Some(id) = chosen.into_iter().find(|id| !self.rl_module_specs.contains_key(*id)) {
            return Err(ModuleError::unknown(id, self.rl_module_specs.keys()));
        }
        if self.modules_to_load.is_none() {
            self.check_all_are_loaded(&state)?;
        }
        for (id, spec) in &self.rl_module_specs {
            let wanted = self.modules_to_load.as_ref().is_none_or(|ids| ids.contains(id));
            if !wanted || spec.get_load_state_path().is_some() {
                continue;
            }
            let saved_id = self.saved_id(id);
            let Some(saved) = state.components.get(saved_id) else {
                return Err(ModuleError::unknown(saved_id, state.components.keys()));
            };
            multi.set_module_state(id, saved)?;
        }
        Ok(())
    }

    fn check_all_are_loaded(&self, state: &State) -> Result<()> {
        let taken =
            |saved: &ModuleId| self.rl_module_specs.keys().any(|id| self.saved_id(id) == saved);
        let left: Vec<_> = state.components.keys().filter(|saved| !taken(saved)).cloned().collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(ModuleError::Mismatch(format!(
            "the checkpoint also has the modules [{}], which the spec does not have; select the modules to load with `modules_to_load`",
            left.join(", ")
        )))
    }

    fn saved_id<'a>(&'a self, id: &'a ModuleId) -> &'a ModuleId {
        self.saved_ids.get(id).unwrap_or(id)
    }
}
