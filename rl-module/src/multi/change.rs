//! Changes of parameters.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use rekindle_catalog::RunningStatistics;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_core::{ALL_MODULES, AnyTensor};

use super::MultiRLModule;
use crate::any::AnyRLModule;
use crate::error::{ModuleError, Result};
use crate::module::BoxRLModule;
use crate::roles::replace;
use crate::shared::SharedView;

impl MultiRLModule {
    /// Returns the name of a module's parameters: its id, or
    /// [`ALL_MODULES`](rekindle_core::ALL_MODULES) for a part of a shared module.
    ///
    /// It is the key of gradients, optimizers and their checkpoints.
    #[must_use]
    pub fn parameter_group<'a>(&self, id: &'a str) -> &'a str {
        if self.views.contains(id) { ALL_MODULES } else { id }
    }

    /// Returns every parameter exactly once: the names of [`parameter_group`](Self::parameter_group),
    /// each with one module that holds these parameters.
    pub fn parameter_groups(&self) -> impl Iterator<Item = (&str, &AnyRLModule)> {
        let first_view = self.views.first();
        self.modules.iter().filter_map(move |(id, module)| {
            let again = self.views.contains(id) && first_view != Some(id);
            (!again).then(|| (self.parameter_group(id), module))
        })
    }

    /// Changes the parameters of a group through one module that holds them.
    ///
    /// `change` must return the module that it takes, with other parameters. No other copy of the
    /// parameters exists in the meantime, so that they may be updated in place.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] for an unknown group; [`ModuleError::Mismatch`] if
    /// `change` returned another module for a part of a shared module. The other parts are then
    /// gone.
    pub fn change_parameters<T>(
        &mut self,
        group: &str,
        change: impl FnOnce(AnyRLModule) -> (AnyRLModule, T),
    ) -> Result<T> {
        let id = match self.views.first() {
            Some(first) if group == ALL_MODULES || self.views.contains(group) => first.clone(),
            _ => group.to_owned(),
        };
        let module = self.modules.remove(&id).ok_or_else(|| self.unknown(group))?;
        let mut others = Vec::new();
        if self.views.contains(&id) {
            for other in self.views.iter().filter(|other| **other != id) {
                let Some(module) = self.modules.remove(other) else { continue };
                let Some(part) = module.view().map(|view| view.module_id().clone()) else {
                    continue;
                };
                others.push((other.clone(), part, module.detach()));
            }
        }
        let (module, out) = change(module);
        let shared = module.view().map(|view| view.shared().clone());
        self.modules.insert(id, module);
        if !others.is_empty() {
            let Some(shared) = shared else {
                self.views.clear();
                return Err(ModuleError::Mismatch(
                    "a part of a shared module was replaced while its parameters were changed; return the module that `change` takes".into(),
                ));
            };
            for (other, part, detached) in others {
                let view = BoxRLModule::new(SharedView::new(part, shared.clone()));
                self.modules.insert(other, detached.attach(view));
            }
        }
        Ok(out)
    }

    /// Replaces all parameters of a module, including those that it shares with others.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`]; the errors of [`AnyRLModule::load_state_dict`].
    pub fn load_state_dict(&mut self, id: &str, weights: &Weights) -> Result<()> {
        self.try_change(id, |module| module.load_state_dict(weights))
    }

    /// Replaces the parameters of a module whose names and shapes are in `weights`.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`]; the errors of [`AnyRLModule::load_matching`].
    pub fn load_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        self.try_change(id, |module| module.load_matching(weights))
    }

    /// Replaces the state of one module with the saved state of a module with any id.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`]; [`ModuleError::OtherSpace`] if the state belongs to a module
    /// for other spaces; the errors of [`AnyRLModule::load_state_dict`].
    pub fn set_module_state(&mut self, id: &str, state: &State) -> Result<()> {
        self.try_change(id, |module| module.set_state(state))
    }

    /// Moves the target networks of all modules towards their main networks by `tau`.
    ///
    /// # Errors
    /// The errors of [`sync_targets`](crate::sync_targets).
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        let groups: Vec<String> = self.parameter_groups().map(|(group, _)| group.into()).collect();
        groups.iter().try_for_each(|group| self.sync_targets_of(group, tau))
    }

    /// Moves the target networks of one module towards its main networks by `tau`. Parts that it shares
    /// with others move for them, too.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`]; the errors of [`sync_targets`](crate::sync_targets).
    pub fn sync_targets_of(&mut self, id: &str, tau: f64) -> Result<()> {
        self.change_parameters(id, |module| module.move_targets(tau))?
    }

    /// Replaces running statistics of a module. Where a new number is not finite, the former one stays.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] for an unknown group.
    pub fn set_running_statistics(
        &mut self,
        group: &str,
        statistics: RunningStatistics,
    ) -> Result<()> {
        self.change_parameters(group, |module| {
            (module.map(&mut Setter(statistics.into_iter().collect())), ())
        })
    }

    pub(super) fn try_change<T>(
        &mut self,
        group: &str,
        change: impl FnOnce(&mut AnyRLModule) -> Result<T>,
    ) -> Result<T> {
        self.change_parameters(group, |mut module| {
            let out = change(&mut module);
            (module, out)
        })?
    }
}

/// Replaces parameters by their ids.
struct Setter(HashMap<ParamId, AnyTensor>);

impl ModuleMapper for Setter {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(Ok(new)) = self.0.remove(&param.id).map(AnyTensor::into_float::<D>) else {
            return param;
        };
        replace(param, |old| match new.dims() == old.dims() {
            true => {
                let is_lost = new.clone().is_finite().bool_not();
                new.mask_where(is_lost, old)
            }
            false => old,
        })
    }
}
