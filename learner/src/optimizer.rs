//! Optimizers and their state, keyed by parameter names.

mod config;
mod rules;
mod state;

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::named::{self, ModulePath, NamedVisitor};
use rekindle_core::weights::torch_name;
use rekindle_kernels::StepGuard;

use crate::error::Result;
use crate::gradients::Gradients;

pub use config::OptimizerConfig;

/// The state of one parameter.
#[derive(Debug, Clone, Default)]
struct Moments {
    /// Steps taken.
    time: usize,
    /// The moments of the rule, in the order of [`OptimizerConfig::moments`]; empty before the first step.
    tensors: Vec<AnyTensor>,
}

/// An optimizer of some parameters of one module, and the state of these parameters.
///
/// Names and layout in saved states are those of the weights: PyTorch's.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// By the name of the parameter.
    moments: BTreeMap<String, Moments>,
    /// The names of the module's parameters.
    names: HashMap<ParamId, String>,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} over {} parameters", self.config, self.moments.len())
    }
}

impl Optimizer {
    /// Creates an optimizer without state.
    #[must_use]
    pub fn new(config: OptimizerConfig) -> Self {
        Self { config, moments: BTreeMap::new(), names: HashMap::new() }
    }

    /// Returns the rule.
    #[must_use]
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// Steps all parameters that have a gradient, at learning rate `lr`, if `guard` accepts the
    /// step.
    ///
    /// Returns the module in any case: a parameter that could not be stepped is unchanged. Finite
    /// parameters stay finite for all gradients.
    ///
    /// # Errors
    /// If a gradient has another rank than its parameter.
    pub fn step<M: Module>(
        &mut self,
        lr: f64,
        guard: Option<&StepGuard>,
        module: M,
        gradients: Gradients,
    ) -> (M, Result<()>) {
        if !gradients.params().all(|id| self.names.contains_key(id)) {
            self.names = parameter_names(&module);
        }
        let mut stepper = Stepper { optimizer: self, lr, guard, gradients, outcome: Ok(()) };
        let module = module.map(&mut stepper);
        (module, stepper.outcome)
    }

    /// Moves the state to another device.
    ///
    /// # Errors
    /// If a moment cannot be read from its device.
    pub(crate) fn move_to(&mut self, device: &Device) -> Result<()> {
        for moment in self.moments.values_mut().flat_map(|memory| &mut memory.tensors) {
            let data = TensorData::new(moment.to_f32()?, moment.shape());
            *moment = AnyTensor::from_data(data, device)?;
        }
        Ok(())
    }

    /// Undoes the count of a step that the guard rejected.
    pub(crate) fn forget_step(&mut self) {
        for memory in self.moments.values_mut() {
            memory.time = memory.time.saturating_sub(1);
        }
    }

    /// Steps a parameter. It is returned unchanged if its moments have another rank.
    fn apply<const D: usize>(
        &mut self,
        id: ParamId,
        lr: f64,
        guard: Option<&StepGuard>,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
    ) -> (Tensor<D>, Result<()>) {
        let Some(name) = self.names.get(&id) else { return (tensor, Ok(())) };
        let memory = match self.moments.get_mut(name) {
            Some(memory) => memory,
            None => self.moments.entry(name.clone()).or_default(),
        };
        // Take the moments out of the map, so that their storage has one owner and is updated in
        // place.
        let moments: Result<Vec<Tensor<D>>> = match std::mem::take(&mut memory.tensors) {
            none if none.is_empty() => {
                Ok(self.config.moments().iter().map(|_| tensor.zeros_like()).collect())
            }
            moments => moments.into_iter().map(|moment| Ok(moment.into_float::<D>()?)).collect(),
        };
        let moments = match moments {
            Ok(moments) => moments,
            Err(error) => return (tensor, Err(error)),
        };
        memory.time += 1;
        let step = rules::Step { lr, guard, time: memory.time };
        let (tensor, moments) = step.take(&self.config, tensor, gradient, moments);
        memory.tensors = moments.into_iter().map(Into::into).collect();
        (tensor, Ok(()))
    }
}

/// Returns the names of a module's float parameters in its state dict.
pub(crate) fn parameter_names<M: Module>(module: &M) -> HashMap<ParamId, String> {
    #[derive(Default)]
    struct Names(HashMap<ParamId, String>);
    impl NamedVisitor for Names {
        fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
            self.0.insert(param.id, torch_name(path));
        }
    }
    let mut names = Names::default();
    named::visit(module, &mut names);
    names.0
}

/// Applies the rule to every parameter that has a gradient.
struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    lr: f64,
    guard: Option<&'a StepGuard>,
    gradients: Gradients,
    outcome: Result<()>,
}

impl ModuleMapper for Stepper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = match self.gradients.remove(param.id).map(AnyTensor::into_float::<D>) {
            Some(Ok(gradient)) => gradient,
            Some(Err(error)) => {
                self.outcome = Err(error.into());
                return param;
            }
            None => return param,
        };
        let (id, tensor, mapper) = param.consume();
        let trains = tensor.is_require_grad();
        let (new, outcome) =
            self.optimizer.apply(id, self.lr, self.guard, tensor.inner(), gradient);
        if outcome.is_err() {
            self.outcome = outcome;
        }
        Param::from_mapped_value(id, Tensor::from_inner(new).set_require_grad(trains), mapper)
    }
}

#[cfg(test)]
mod tests;
