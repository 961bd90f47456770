//! Optimizers and their state, by the names of the parameters.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use rekindle_checkpoint::Array;
use rekindle_checkpoint::State;
use rekindle_core::AnyTensor;
use rekindle_core::named::{self, ModulePath, NamedVisitor};
use rekindle_kernels::{AdamStep, StepGuard, adam};
use serde::{Deserialize, Serialize};

use crate::{Gradients, LearnerError, Result};

/// The rule that turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Adam (Kingma and Ba, 2015), as Burn and PyTorch compute it.
    Adam {
        /// Decay of the first moment.
        beta_1: f32,
        /// Decay of the second moment.
        beta_2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
    /// `p − lr·g`.
    Sgd,
}

impl Default for OptimizerConfig {
    /// Adam with PyTorch's defaults.
    fn default() -> Self {
        Self::adam(1e-8)
    }
}

impl OptimizerConfig {
    /// Adam with the usual decays.
    pub fn adam(epsilon: f32) -> Self {
        Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon }
    }
}

/// Adam's memory of one parameter.
#[derive(Debug, Clone, Default)]
struct Moments {
    /// Steps taken.
    time: usize,
    /// First and second moment; none before the first step.
    tensors: Option<[AnyTensor; 2]>,
}

/// An optimizer of one module, with the state of its parameters.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    moments: BTreeMap<String, Moments>,
    /// Of the parameters that were stepped before.
    names: HashMap<ParamId, String>,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} over {} parameters", self.config, self.moments.len())
    }
}

impl Optimizer {
    /// An optimizer without state.
    pub fn new(config: OptimizerConfig) -> Self {
        Self { config, moments: BTreeMap::new(), names: HashMap::new() }
    }

    /// One step of all parameters that have a gradient, by learning rate `lr`, if `guard` takes it.
    ///
    /// The module comes back in any case; a parameter that could not be stepped is unchanged.
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
        let all_named = gradients.params().all(|id| self.names.contains_key(id));
        let path = (!all_named).then(Vec::new);
        let mut stepper = Stepper { optimizer: self, lr, guard, gradients, path, outcome: Ok(()) };
        let module = module.map(&mut stepper);
        (module, stepper.outcome)
    }

    /// Takes back that a step counted which its guard turned out to have refused.
    pub fn forget_step(&mut self) {
        for memory in self.moments.values_mut() {
            memory.time = memory.time.saturating_sub(1);
        }
    }

    /// The parameter after its step; as it was if its moments are of another rank.
    fn apply<const D: usize>(
        &mut self,
        id: ParamId,
        lr: f64,
        guard: Option<&StepGuard>,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
    ) -> (Tensor<D>, Result<()>) {
        let OptimizerConfig::Adam { beta_1, beta_2, epsilon } = self.config else {
            let gradient = match guard {
                Some(guard) => guard.gradient(gradient),
                None => gradient,
            };
            return (tensor - gradient.mul_scalar(lr), Ok(()));
        };
        let Some(name) = self.names.get(&id) else { return (tensor, Ok(())) };
        if !self.moments.contains_key(name) {
            self.moments.insert(name.clone(), Moments::default());
        }
        let Some(memory) = self.moments.get_mut(name) else { return (tensor, Ok(())) };
        let moments = match memory.tensors.take() {
            None => Ok([tensor.zeros_like(), tensor.zeros_like()]),
            // Taken out, so that their storage has one owner and is updated in place.
            Some([first, second]) => {
                first.into_float::<D>().and_then(|first| Ok([first, second.into_float()?]))
            }
        };
        let moments = match moments {
            Ok(moments) => moments,
            Err(error) => return (tensor, Err(error.into())),
        };
        memory.time += 1;
        let step = AdamStep { lr, beta_1, beta_2, epsilon, time: memory.time };
        let [tensor, first, second] = adam(&step, guard, tensor, gradient, moments);
        memory.tensors = Some([first.into(), second.into()]);
        (tensor, Ok(()))
    }

    /// Replaces the state by a saved one, after checking it against the parameters of `module`.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state is of another module.
    pub fn load_state<M: Module>(&mut self, state: &State, module: &M) -> Result<()> {
        let mut shapes = Shapes::default();
        named::visit(module, &mut shapes);
        let saved: SavedOptimizer = state.data_as()?;
        let invalid = |reason| LearnerError::InvalidState { component: "optimizer".into(), reason };
        let mut moments = BTreeMap::new();
        for (name, time) in saved.time {
            let Some((shape, device)) = shapes.by_name.get(&name) else {
                return Err(invalid(format!("the module has no parameter `{name}`")));
            };
            let load = |moment: &str| -> Result<AnyTensor> {
                let array = state.tensor(&format!("{name}.{moment}"))?;
                if array.shape() != shape {
                    let found = array.shape();
                    return Err(invalid(format!(
                        "the moments of `{name}` have shape {found:?}, the parameter has {shape:?}"
                    )));
                }
                let data = TensorData::new(array.as_slice::<f32>()?.to_vec(), shape.clone());
                Ok(AnyTensor::from_data(data, device)?)
            };
            let (first, second) = (load("moment_1")?, load("moment_2")?);
            moments.insert(name, Moments { time, tensors: Some([first, second]) });
        }
        self.moments = moments;
        Ok(())
    }
}

/// The plain part of an optimizer's state: steps taken, by parameter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOptimizer {
    optimizer: OptimizerConfig,
    time: BTreeMap<String, usize>,
}

impl Optimizer {
    /// The state of all parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn get_state(&self) -> Result<State> {
        let time = self.moments.iter().map(|(name, m)| (name.clone(), m.time)).collect();
        let mut state = State::from_data(&SavedOptimizer { optimizer: self.config, time })?;
        for (name, m) in &self.moments {
            for (moment, tensor) in
                ["moment_1", "moment_2"].into_iter().zip(m.tensors.iter().flatten())
            {
                let array = Array::new(tensor.shape(), tensor.to_f32()?)?;
                state.insert_tensor(format!("{name}.{moment}"), array);
            }
        }
        Ok(state)
    }
}

/// Applies the rule to every parameter that has a gradient.
struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    lr: f64,
    guard: Option<&'a StepGuard>,
    gradients: Gradients,
    /// Where it is in the module; `None` if it need not know.
    path: Option<Vec<String>>,
    outcome: Result<()>,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        if let Some(path) = &mut self.path {
            path.push(name.into());
        }
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        if let Some(path) = &mut self.path {
            path.pop();
        }
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = match self.gradients.remove(param.id).map(AnyTensor::into_float::<D>) {
            Some(Ok(gradient)) => gradient,
            Some(Err(error)) => {
                self.outcome = Err(error.into());
                return param;
            }
            None => return param,
        };
        if let Some(path) = &self.path {
            self.optimizer.names.entry(param.id).or_insert_with(|| path.join("."));
        }
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

/// Shapes and devices of parameters, by name.
#[derive(Default)]
struct Shapes {
    by_name: BTreeMap<String, (Vec<usize>, Device)>,
}

impl NamedVisitor for Shapes {
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
        let device = param.val().inner().device();
        self.by_name.insert(path.name(), (param.lazy_shape().to_vec(), device));
    }
}

#[cfg(test)]
mod tests;
