//! The modules of a learner, and which of them learn.

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use rekindle_checkpoint::{self as checkpoint, Checkpointable};
use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_rl_module::{AnyRLModule, Role};

use super::Learner;
use crate::error::{LearnerError, Result};
use crate::loss::{Loss, PrepareContext};

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
        let loss = self.new_module_loss(id, &module)?;
        if self.should_module_be_updated(id) {
            self.check(id, &module, &*loss.loss)?;
        }
        let module = module.fork(&self.device).train();
        let mut all = self.module.clone();
        all.add_module(id, module, override_existing)?;
        let replaced = self.losses.insert(id.into(), loss);
        let of_replaced = self.optimizers.0.remove(id);
        match self.fitting_optimizers(&all, &self.losses) {
            Ok(optimizers) => {
                (self.module, self.optimizers) = (all, optimizers);
                if replaced.is_some() {
                    self.replaced.insert(id.into(), self.weights_seq_no);
                }
                Ok(())
            }
            Err(error) => {
                match replaced {
                    Some(loss) => self.losses.insert(id.into(), loss),
                    None => self.losses.remove(id),
                };
                self.optimizers.0.extend(of_replaced.map(|optimizers| (id.into(), optimizers)));
                Err(error)
            }
        }
    }

    /// Removes a module with its loss and optimizers, and returns it.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.module.remove_module(id)?;
        self.losses.remove(id);
        let connectors = self.config.connectors.drain(..);
        self.config.connectors = connectors.filter_map(|c| c.without_module(id)).collect();
        // A module that joins under the id has not recorded what runners are late with.
        self.replaced.insert(id.into(), self.weights_seq_no);
        self.optimizers = self.fitting_optimizers(&self.module, &self.losses)?;
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
    /// If an id names no module, or a module that is to learn does not fit its loss.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        let learns = |id: &ModuleId| ids.as_ref().is_none_or(|ids| ids.contains(id));
        for id in ids.iter().flatten() {
            self.module.module(id)?;
        }
        for (id, of_module) in self.losses.iter().filter(|(id, _)| learns(id)) {
            self.check(id, self.module.module(id)?, &*of_module.loss)?;
        }
        self.policies_to_train = ids;
        Ok(())
    }

    /// Whether a module learns; RLlib's `should_module_be_updated`.
    pub fn should_module_be_updated(&self, id: &str) -> bool {
        self.policies_to_train.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Moves all target networks towards their main networks: `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Updates do not
    /// call it; a loss ([`AfterUpdate::update_targets`](crate::AfterUpdate::update_targets)) or the
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
    /// If there is no such module.
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
                self.optimizers = self.read_optimizers(&state)?;
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
        if module.has_role(Role::SelfSupervisedLoss) || module.has_role(Role::LearnOnBatch) {
            return Ok(());
        }
        for role in loss.required_roles() {
            module.require(role, &format!("the {} learner", loss.name()))?;
        }
        loss.check_module(&PrepareContext {
            module_id: id,
            module,
            device: &self.device.clone().inner(),
            env_steps: 0,
        })
    }
}
