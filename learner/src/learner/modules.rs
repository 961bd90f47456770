//! The modules of a learner, and which of them learn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use rekindle_checkpoint::{self as checkpoint, Checkpointable};
use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_rl_module::{AnyRLModule, MultiRLModule, Role};

use super::Learner;
use super::module_loss::ModuleLoss;
use super::optimizers::Optimizers;
use crate::error::{LearnerError, Result};
use crate::loss::{Loss, PrepareContext};

/// An addition or replacement of a module that [`Learner::undo_add_module`] can undo.
#[derive(Debug)]
pub struct AddedModule {
    id: ModuleId,
    /// The modules before.
    module: MultiRLModule,
    /// The loss of the module that was replaced.
    loss: Option<ModuleLoss>,
    optimizers: Optimizers,
    replaced: BTreeMap<ModuleId, u64>,
    policies_to_train: Option<BTreeSet<ModuleId>>,
}

impl Learner {
    /// Adds a module with a fresh loss and fresh optimizers. `override_existing` allows it to replace
    /// another one.
    ///
    /// # Errors
    /// If the id is taken, or the module is to learn and does not fit its loss. The learner is then
    /// unchanged.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        override_existing: bool,
    ) -> Result<()> {
        self.try_add_module(id, module, override_existing).map(|_| ())
    }

    /// Adds a module as [`add_module`](Self::add_module) does, and returns what
    /// [`undo_add_module`](Self::undo_add_module) needs.
    ///
    /// # Errors
    /// As [`add_module`](Self::add_module).
    pub fn try_add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        override_existing: bool,
    ) -> Result<AddedModule> {
        let loss = self.new_module_loss(id, &module)?;
        if self.should_module_be_updated(id) {
            self.check(id, &module, &*loss.loss)?;
        }
        let module = module.fork(&self.device).train();
        let mut all = MultiRLModule::clone(&self.module);
        all.add_module(id, module, override_existing)?;
        let before = AddedModule {
            id: id.into(),
            module: std::mem::replace(&mut *self.module, all),
            optimizers: Optimizers::clone(&self.optimizers),
            replaced: self.replaced.clone(),
            policies_to_train: self.config.policies_to_train.clone(),
            loss: self.losses.insert(id.into(), loss),
        };
        self.optimizers.0.remove(id);
        match self.fitting_optimizers(&self.module, &self.losses) {
            Ok(optimizers) => {
                *self.optimizers = optimizers;
                if before.loss.is_some() {
                    self.replaced.insert(id.into(), self.weights_seq_no);
                }
                Ok(before)
            }
            Err(error) => {
                self.undo_add_module(before);
                Err(error)
            }
        }
    }

    /// Undoes the addition or replacement of a module: all modules, losses and optimizers are as before,
    /// and so are the modules that learn. Nothing may have been learned or changed in between but these.
    pub fn undo_add_module(&mut self, added: AddedModule) {
        let AddedModule { id, module, loss, optimizers, replaced, policies_to_train } = added;
        match loss {
            Some(loss) => self.losses.insert(id, loss),
            None => self.losses.remove(&id),
        };
        (*self.module, *self.optimizers, self.replaced) = (module, optimizers, replaced);
        self.config.policies_to_train = policies_to_train;
    }

    /// Removes a module with its loss and optimizers, and returns it.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.module.remove_module(id)?;
        self.losses.remove(id);
        let connectors = self.config.connectors.drain(..);
        self.config.connectors = connectors.filter_map(|c| c.without_module(id)).collect();
        // A module that joins under the id has not recorded what runners are late with.
        self.replaced.insert(id.into(), self.weights_seq_no);
        *self.optimizers = self.fitting_optimizers(&self.module, &self.losses)?;
        if let Some(ids) = &mut self.config.policies_to_train {
            ids.remove(id);
        }
        Ok(module)
    }

    /// Returns the version of the weights at which a module was last replaced or removed; `None` if it was
    /// not. Experience that was prepared before is that of another module.
    #[must_use]
    pub fn replaced_at(&self, id: &str) -> Option<u64> {
        self.replaced.get(id).copied()
    }

    /// Returns the ids of the modules that learn; `None` for all.
    #[must_use]
    pub fn policies_to_train(&self) -> Option<&BTreeSet<ModuleId>> {
        self.config.policies_to_train.as_ref()
    }

    /// Sets the modules that learn; `None` for all. Experience of the others is ignored. Their weights
    /// do not change, except for parts shared with a module that learns.
    ///
    /// # Errors
    /// If an id names no module, or a module that is to learn does not fit its loss.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        let learns = |id: &ModuleId| ids.as_ref().is_none_or(|ids| ids.contains(id));
        for id in ids.iter().flatten() {
            self.module.module(id)?;
        }
        for (id, of_module) in self.losses.iter().filter(|(id, _)| learns(id)) {
            self.check(id, self.module.module(id)?, &*of_module.loss)?;
        }
        self.config.policies_to_train = ids;
        Ok(())
    }

    /// Whether a module learns; RLlib's `should_module_be_updated`.
    #[must_use]
    pub fn should_module_be_updated(&self, id: &str) -> bool {
        self.config.policies_to_train.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Whether a module learns from a batch by itself ([`LearnOnBatch`](rekindle_rl_module::LearnOnBatch)), so that
    /// no loss and no optimizer is its own.
    pub fn learns_on_batch(&self, id: &str) -> bool {
        self.module.get(id).is_some_and(|module| module.has_role(Role::LearnOnBatch))
    }

    /// Moves all target networks towards their main networks: `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Updates do not
    /// call it; a loss ([`AfterMinibatch::update_targets`](crate::AfterMinibatch::update_targets)) or the
    /// program that trains does. RLlib's `update_target_network`.
    ///
    /// # Errors
    /// If `tau` is not between 0 and 1.
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        Ok(self.module.sync_targets(tau)?)
    }

    /// Loads those parameters of a module for which `weights` has a value of the same name and shape,
    /// and reports the others. The optimizers keep their state.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        Ok(self.module.load_matching(id, weights)?)
    }

    /// Restores one component from a checkpoint of that component alone.
    ///
    /// `component` is `"rl_module"`, `"rl_module/<module_id>"`, `"optimizer"`,
    /// `"optimizer/<module_id>"` or `"optimizer/<module_id>/<name>"`. The module may have been saved
    /// under another id.
    ///
    /// # Errors
    /// [`LearnerError::UnknownComponent`]; otherwise if the checkpoint is damaged or does not fit.
    /// The learner is then unchanged.
    pub fn restore_component(&mut self, path: impl AsRef<Path>, component: &str) -> Result<()> {
        let state = checkpoint::read(path)?;
        let unknown = || LearnerError::UnknownComponent(component.into());
        match component.split('/').collect::<Vec<_>>()[..] {
            ["rl_module"] => Ok(self.module.set_state(&state)?),
            ["rl_module", id] => Ok(self.module.set_module_state(id, &state)?),
            ["optimizer"] => {
                *self.optimizers = self.read_optimizers(&state)?;
                Ok(())
            }
            ["optimizer", key] => {
                let mut of_key = self.optimizers.0.get(key).ok_or_else(unknown)?.clone();
                self.read_module_optimizers(key, &mut of_key, &state)?;
                self.optimizers.0.insert(key.into(), of_key);
                Ok(())
            }
            ["optimizer", key, name] => {
                let mut of_key = self.optimizers.0.get(key).ok_or_else(unknown)?.clone();
                let optimizer = of_key.by_name.get_mut(name).ok_or_else(unknown)?;
                self.read_optimizer(key, optimizer, &state)?;
                self.optimizers.0.insert(key.into(), of_key);
                Ok(())
            }
            _ => Err(unknown()),
        }
    }

    /// Checks whether a loss can train a module.
    fn check(&self, id: &str, module: &AnyRLModule, loss: &dyn Loss) -> Result<()> {
        if module.spec().is_inference_only() {
            let (id, module) = (id.into(), module.spec().module().into());
            return Err(LearnerError::InferenceOnly { id, module });
        }
        if module.has_role(Role::LearnOnBatch) {
            return Ok(());
        }
        for role in loss.required_roles() {
            module.require(role, &format!("the {} learner", loss.name()))?;
        }
        if self.num_learners() > 1 {
            check_shared(id, loss)?;
        }
        loss.check_module(&PrepareContext::new(id, module, &self.device.clone().inner()))
    }
}

/// Checks that several learners can share the minibatches of a loss.
///
/// # Errors
/// [`LearnerError::NotShared`], which names module and loss.
pub(super) fn check_shared(id: &str, loss: &dyn Loss) -> Result<()> {
    if loss.rows_are_independent() {
        return Ok(());
    }
    let reason = format!("rows of a minibatch depend on one another in the {} loss", loss.name());
    Err(LearnerError::NotShared { id: id.into(), reason })
}
