//! The modules of a learner, and which of them learn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_rl_module::{AnyRLModule, Role};

use super::Learner;
use crate::{LearnerError, Optimizer, Result, UpdateContext};

impl Learner {
    /// Adds a module with a fresh optimizer. `override_existing` allows it to replace another one.
    ///
    /// # Errors
    /// If the id is taken, or the module is to learn and does not fit the objective. The learner is
    /// then unchanged.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        override_existing: bool,
    ) -> Result<()> {
        if self.should_module_be_updated(id) {
            self.check(id, &module)?;
        }
        self.objective.optimizer(id, self.config.of_module(id)).validate()?;
        let module = module.fork(&self.device).train();
        let replaces = self.module.contains(id);
        self.module.add_module(id, module, override_existing)?;
        if replaces {
            self.objective.remove_module(id);
        }
        self.objective.add_module(id);
        self.optimizers.remove(id);
        self.fit_optimizers();
        Ok(())
    }

    /// Removes a module and its optimizer, and returns the module.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.module.remove_module(id)?;
        self.fit_optimizers();
        self.objective.remove_module(id);
        if let Some(ids) = &mut self.policies_to_train {
            ids.remove(id);
        }
        Ok(module)
    }

    /// The ids of the modules that learn; `None` for all.
    pub fn policies_to_train(&self) -> Option<&BTreeSet<ModuleId>> {
        self.policies_to_train.as_ref()
    }

    /// Sets the modules that learn; `None` for all. Experience of the others is ignored. Their weights
    /// do not change, except for parts shared with a module that learns.
    ///
    /// # Errors
    /// If an id names no module, or a module that is to learn does not fit the objective.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        match &ids {
            Some(ids) => {
                ids.iter().try_for_each(|id| self.check(id, self.module.module(id)?))?;
            }
            None => self.module.iter().try_for_each(|(id, module)| self.check(id, module))?,
        }
        self.policies_to_train = ids;
        Ok(())
    }

    /// Whether a module learns; RLlib's `should_module_be_updated`.
    pub fn should_module_be_updated(&self, id: &str) -> bool {
        self.policies_to_train.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Moves all target networks towards their main networks: `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Updates do not
    /// call it; the program that trains does. RLlib's `update_target_network`.
    ///
    /// # Errors
    /// If `tau` is not between 0 and 1.
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        Ok(self.module.sync_targets(tau)?)
    }

    /// Loads those parameters of a module for which `weights` has a value of the same name and shape,
    /// and reports the others. The optimizer keeps its state.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        Ok(self.module.load_matching(id, weights)?)
    }

    /// Restores one component from a checkpoint of that component alone.
    ///
    /// `component` is `"rl_module"`, `"rl_module/<module_id>"`, `"optimizer"` or
    /// `"optimizer/<module_id>"`. The module may have been saved under another id.
    ///
    /// # Errors
    /// [`LearnerError::UnknownComponent`]; otherwise if the checkpoint is damaged or does not fit.
    /// The learner is then unchanged.
    pub fn restore_component(&mut self, path: impl AsRef<Path>, component: &str) -> Result<()> {
        let state = checkpoint::read(path)?;
        match component.split('/').collect::<Vec<_>>()[..] {
            ["rl_module"] => Ok(self.module.set_state(&state)?),
            ["rl_module", id] => Ok(self.module.set_module_state(id, &state)?),
            ["optimizer"] => {
                self.optimizers = self.read_optimizers(&state)?;
                Ok(())
            }
            ["optimizer", group] if self.optimizers.contains_key(group) => {
                let optimizer = self.read_optimizer(group, &state)?;
                self.optimizers.insert(group.into(), optimizer);
                Ok(())
            }
            _ => Err(LearnerError::UnknownComponent(component.into())),
        }
    }

    /// The optimizers that a state describes.
    pub(super) fn read_optimizers(&self, state: &State) -> Result<BTreeMap<String, Optimizer>> {
        let groups = self.module.parameter_groups().map(|(group, _)| {
            Ok((group.to_owned(), self.read_optimizer(group, state.component(group)?)?))
        });
        groups.collect()
    }

    fn read_optimizer(&self, group: &str, state: &State) -> Result<Optimizer> {
        let mut optimizer =
            Optimizer::new(self.objective.optimizer(group, self.config.of_module(group)));
        if let Some((_, module)) = self.module.parameter_groups().find(|(g, _)| *g == group) {
            optimizer.load_state(state, module)?;
        }
        Ok(optimizer)
    }

    /// Checks whether the objective can train a module.
    pub(super) fn check(&self, id: &str, module: &AnyRLModule) -> Result<()> {
        if module.spec().is_inference_only() {
            let (id, module) = (id.into(), module.spec().module().into());
            return Err(LearnerError::InferenceOnly { id, module });
        }
        if module.has_role(Role::SelfSupervisedLoss) {
            return Ok(());
        }
        for role in self.objective.required_roles(id) {
            module.require(role, &format!("the {} learner", self.objective.name()))?;
        }
        self.objective.check_module(UpdateContext {
            module_id: id,
            module,
            device: &self.device.clone().inner(),
            config: self.config.of_module(id),
            env_steps: 0,
        })
    }

    /// Drops the optimizers of removed parameters and creates those that are missing.
    pub(super) fn fit_optimizers(&mut self) {
        let groups: BTreeSet<String> =
            self.module.parameter_groups().map(|(group, _)| group.to_owned()).collect();
        self.optimizers.retain(|group, _| groups.contains(group));
        for group in groups {
            let config = self.objective.optimizer(&group, self.config.of_module(&group));
            self.optimizers.entry(group).or_insert_with(|| Optimizer::new(config));
        }
    }
}
