//! The optimizers of a learner, by the parameters that they step.

use std::collections::{BTreeMap, HashMap};

use burn::module::ParamId;
use burn::prelude::Device;
use rekindle_checkpoint::State;
use rekindle_core::ModuleId;
use rekindle_rl_module::{AnyRLModule, MultiRLModule};

use super::Learner;
use super::member::trainable;
use super::module_loss::ModuleLoss;
use crate::error::{LearnerError, Result};
use crate::gradients::Gradients;
use crate::optimizer::{Optimizer, parameter_names};
use crate::optimizer_group::{OptimizerGroup, Parameters};

/// An optimizer with its settings and state.
#[derive(Debug, Clone)]
pub(super) struct NamedOptimizer {
    pub(super) settings: OptimizerGroup,
    pub(super) optimizer: Optimizer,
}

/// The optimizers of one module's parameters and scalars, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct ModuleOptimizers {
    pub(super) by_name: BTreeMap<String, NamedOptimizer>,
    /// The names of the module's parameters; empty until an optimizer of some of them needs them.
    names: HashMap<ParamId, String>,
}

/// The optimizers of all modules: by module id, and under [`ALL_MODULES`] for parameters that several
/// modules share.
#[derive(Debug, Clone, Default)]
pub(super) struct Optimizers(pub(super) BTreeMap<String, ModuleOptimizers>);

impl ModuleOptimizers {
    /// Divides the gradients of the module's parameters among the optimizers of a phase. Gradients of
    /// other parameters are dropped.
    pub(super) fn divide(
        &mut self,
        module: &AnyRLModule,
        gradients: Gradients,
        of_phase: &[String],
    ) -> Vec<(String, Gradients)> {
        let mut divided = Vec::new();
        let mut rest = Some(gradients);
        for name in of_phase {
            let Some(of_name) = self.by_name.get(name) else { continue };
            match &of_name.settings.parameters {
                Parameters::Scalars(_) => {}
                Parameters::All => divided.extend(rest.take().map(|all| (name.clone(), all))),
                Parameters::Prefixes(_) => {
                    let Some(from) = &mut rest else { continue };
                    if !from.params().all(|id| self.names.contains_key(id)) {
                        self.names = parameter_names(module);
                    }
                    let names = &self.names;
                    let of =
                        |id| names.get(&id).is_some_and(|name| of_name.settings.contains(name));
                    divided.push((name.clone(), from.extract(of)));
                }
            }
        }
        divided
    }

    /// Returns the parameters of the module that an optimizer steps and gradients can reach, with their shapes, in the
    /// order of a visitor.
    pub(super) fn parameters(
        &mut self,
        module: &AnyRLModule,
        name: &str,
    ) -> Vec<(ParamId, Vec<usize>)> {
        let mut all = trainable(module);
        let Some(optimizer) = self.by_name.get(name) else { return Vec::new() };
        if let Parameters::Prefixes(_) = optimizer.settings.parameters {
            if !all.iter().all(|(id, _)| self.names.contains_key(id)) {
                self.names = parameter_names(module);
            }
            all.retain(|(id, _)| {
                self.names.get(id).is_some_and(|name| optimizer.settings.contains(name))
            });
        }
        all
    }
}

impl Optimizers {
    /// Moves the state to another device.
    pub(super) fn move_to(&mut self, device: &Device) -> Result<()> {
        let all = self.0.values_mut().flat_map(|of_module| of_module.by_name.values_mut());
        all.into_iter().try_for_each(|named| named.optimizer.move_to(device))
    }
}

impl Learner {
    /// Returns the optimizers that fit modules and losses: those that exist keep their state if module
    /// and settings are the same, the others are new.
    pub(super) fn fitting_optimizers(
        &self,
        module: &MultiRLModule,
        losses: &BTreeMap<ModuleId, ModuleLoss>,
    ) -> Result<Optimizers> {
        let mut fitting = Optimizers::default();
        for (id, of_module) in losses {
            let group = module.parameter_group(id);
            for optimizer in &of_module.optimizers {
                let is_scalar = optimizer.has_scalars();
                let key = if is_scalar { id } else { group };
                let kept = self.optimizers.0.get(key).and_then(|o| o.by_name.get(&optimizer.name));
                let kept = kept.filter(|kept| kept.settings == *optimizer).cloned();
                let fresh = || NamedOptimizer {
                    settings: optimizer.clone(),
                    optimizer: Optimizer::new(optimizer.rule),
                };
                let by_name = &mut fitting.0.entry(key.to_owned()).or_default().by_name;
                if by_name.get(&optimizer.name).is_some_and(|other| other.settings != *optimizer) {
                    let other = losses.keys().find(|other| module.parameter_group(other) == group);
                    return Err(other_view(id, other.unwrap_or(id), optimizer));
                }
                by_name.entry(optimizer.name.clone()).or_insert_with(|| kept.unwrap_or_else(fresh));
            }
            check_parameters(id, module.module(id)?, &of_module.optimizers)?;
        }
        Ok(fitting)
    }

    /// Reads the states of all optimizers.
    pub(super) fn read_optimizers(&self, state: &State) -> Result<Optimizers> {
        let mut read = Optimizers::clone(&self.optimizers);
        for (key, of_module) in &mut read.0 {
            self.read_module_optimizers(key, of_module, state.component(key)?)?;
        }
        Ok(read)
    }

    /// Reads the states of the optimizers of one module. The state of version 0 is that of the only
    /// optimizer itself.
    pub(super) fn read_module_optimizers(
        &self,
        key: &str,
        of_module: &mut ModuleOptimizers,
        state: &State,
    ) -> Result<()> {
        let is_single = state.data.get("time").is_some();
        for (name, optimizer) in &mut of_module.by_name {
            let state = if is_single { state } else { state.component(name)? };
            self.read_optimizer(key, optimizer, state)?;
        }
        Ok(())
    }

    /// Reads the state of one optimizer.
    pub(super) fn read_optimizer(
        &self,
        key: &str,
        optimizer: &mut NamedOptimizer,
        state: &State,
    ) -> Result<()> {
        if optimizer.settings.has_scalars() {
            return match self.losses.get(key) {
                Some(of_module) => optimizer.optimizer.load_state(state, &of_module.scalars),
                None => Ok(()),
            };
        }
        match self.module.parameter_groups().find(|(group, _)| *group == key) {
            Some((_, module)) => optimizer.optimizer.load_state(state, module),
            None => Ok(()),
        }
    }

    /// Returns the states of all optimizers.
    pub(super) fn optimizer_state(&self) -> Result<State> {
        let mut all = State::new();
        for (key, of_module) in &self.optimizers.0 {
            let mut of_key = State::new();
            let module = self.module.parameter_groups().find(|(group, _)| group == key);
            for (name, optimizer) in &of_module.by_name {
                let is_scalar = optimizer.settings.has_scalars();
                let state = match (is_scalar, self.losses.get(key), module) {
                    (true, Some(of_module), _) => {
                        optimizer.optimizer.get_state(&of_module.scalars)?
                    }
                    (false, _, Some((_, module))) => optimizer.optimizer.get_state(module)?,
                    _ => continue,
                };
                of_key.insert_component(name.clone(), state);
            }
            all.insert_component(key.clone(), of_key);
        }
        Ok(all)
    }
}

fn other_view(id: &str, other: &str, optimizer: &OptimizerGroup) -> LearnerError {
    let name = &optimizer.name;
    LearnerError::Optimizers {
        id: id.into(),
        reason: format!(
            "its optimizer `{name}` has other settings than that of module `{other}`, which shares its parameters; give both the same learning rate, rule and clipping"
        ),
    }
}

/// Checks that each optimizer of some parameters has any, and that no parameter has two optimizers.
fn check_parameters(id: &str, module: &AnyRLModule, optimizers: &[OptimizerGroup]) -> Result<()> {
    let prefixes = optimizers.iter().filter(|o| matches!(o.parameters, Parameters::Prefixes(_)));
    let prefixes: Vec<_> = prefixes.collect();
    if prefixes.is_empty() {
        return Ok(());
    }
    let refuse = |reason| Err(LearnerError::Optimizers { id: id.into(), reason });
    let mut names: Vec<String> = parameter_names(module).into_values().collect();
    names.sort_unstable();
    for optimizer in &prefixes {
        if !names.iter().any(|name| optimizer.contains(name)) {
            let (name, of) = (&optimizer.name, &optimizer.parameters);
            let known = names.join(", ");
            return refuse(format!("`{name}` steps {of:?}, which is none of [{known}]"));
        }
    }
    for name in &names {
        let mut of = prefixes.iter().filter(|optimizer| optimizer.contains(name));
        if let (Some(first), Some(second)) = (of.next(), of.next()) {
            let (first, second) = (&first.name, &second.name);
            return refuse(format!("`{first}` and `{second}` both step `{name}`"));
        }
    }
    Ok(())
}
