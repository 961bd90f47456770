//! Which modules a learner has and which of them learn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_rl_module::{AnyRLModule, Role};

use super::Learner;
use crate::{LearnerError, Optimizer, Result};

impl Learner {
    /// Adds a module with a fresh optimizer; with `override_existing` in the place of another one.
    ///
    /// # Errors
    /// If the id is taken, or the module learns and lacks a role or was built for inference only.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        override_existing: bool,
    ) -> Result<()> {
        if self.should_module_be_updated(id) {
            self.check(id, &module)?;
        }
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

    /// Takes a module out, with its optimizer.
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

    /// The modules that learn; `None` means all.
    pub fn policies_to_train(&self) -> Option<&BTreeSet<ModuleId>> {
        self.policies_to_train.as_ref()
    }

    /// Chooses the modules that learn, `None` for all. Experience of the others is ignored and
    /// their weights stay as they are, but for parts that they share with one that learns.
    ///
    /// # Errors
    /// If there is no module of an id, or one that is to learn lacks a role or was built for
    /// inference only.
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

    /// Moves the target networks of all modules that have some towards their main networks:
    /// `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Objectives say when; RLlib's `update_target_network`.
    ///
    /// # Errors
    /// If `tau` is not between 0 and 1.
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        Ok(self.module.sync_targets(tau)?)
    }

    /// Replaces the parameters of a module that `weights` has a fitting value for, and reports the
    /// others. The optimizer keeps its state.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        Ok(self.module.load_matching(id, weights)?)
    }

    /// Restores one component from a checkpoint of that component alone.
    ///
    /// `component` is `"rl_module"`, `"rl_module/<module_id>"`, `"optimizer"` or
    /// `"optimizer/<module_id>"`. The checkpoint may be one of a module of another id.
    ///
    /// # Errors
    /// [`LearnerError::UnknownComponent`]; otherwise if the checkpoint is damaged or does not fit.
    /// Nothing changes then.
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

    /// Optimizers of all parameters that a state describes.
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

    /// Whether the objective can train the module.
    pub(super) fn check(&self, id: &str, module: &AnyRLModule) -> Result<()> {
        if module.spec().is_inference_only() {
            let (id, module) = (id.into(), module.spec().module().into());
            return Err(LearnerError::InferenceOnly { id, module });
        }
        if module.has_role(Role::SelfSupervisedLoss) {
            return Ok(());
        }
        for role in self.objective.required_roles() {
            module.require(role, &format!("the {} learner", self.objective.name()))?;
        }
        self.objective.check_distribution(&**module.distribution(), &self.device)
    }

    /// Drops optimizers of parameters that are gone and makes those that are missing.
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
