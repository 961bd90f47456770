//! Optimizers and their state, keyed by parameter names.

mod config;

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use rekindle_checkpoint::Array;
use rekindle_checkpoint::State;
use rekindle_core::AnyTensor;
use rekindle_core::named::{self, ModulePath, NamedVisitor};
use rekindle_kernels::{AdamStep, StepGuard, adam, sgd};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Gradients, LearnerError, Result};

pub use config::OptimizerConfig;

/// Adam's state of one parameter.
#[derive(Debug, Clone, Default)]
struct Moments {
    /// Steps taken.
    time: usize,
    /// First and second moment; none before the first step.
    tensors: Option<[AnyTensor; 2]>,
}

/// An optimizer of one module, and the state of its parameters.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    moments: BTreeMap<String, Moments>,
    /// The names of the parameters that were stepped before.
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

    /// The rule.
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
        let all_named = gradients.params().all(|id| self.names.contains_key(id));
        let path = (!all_named).then(Vec::new);
        let mut stepper = Stepper { optimizer: self, lr, guard, gradients, path, outcome: Ok(()) };
        let module = module.map(&mut stepper);
        (module, stepper.outcome)
    }

    /// Undoes the count of a step that the guard rejected.
    pub fn forget_step(&mut self) {
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
        let OptimizerConfig::Adam { beta_1, beta_2, epsilon } = self.config else {
            return (sgd(lr, guard, tensor, gradient), Ok(()));
        };
        let Some(name) = self.names.get(&id) else { return (tensor, Ok(())) };
        if !self.moments.contains_key(name) {
            self.moments.insert(name.clone(), Moments::default());
        }
        let Some(memory) = self.moments.get_mut(name) else { return (tensor, Ok(())) };
        let moments = match memory.tensors.take() {
            None => Ok([tensor.zeros_like(), tensor.zeros_like()]),
            // Take the moments out of the map, so that their storage has one owner and is updated
            // in place.
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

    /// Replaces the state with a saved one, after checking it against the parameters of `module`.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state belongs to another module or a later version, or
    /// has a moment that is not finite.
    pub fn load_state<M: Module>(&mut self, state: &State, module: &M) -> Result<()> {
        let mut shapes = Shapes::default();
        named::visit(module, &mut shapes);
        let invalid = |reason| LearnerError::InvalidState { component: "optimizer".into(), reason };
        let version = state.data.get("version").and_then(Value::as_u64).unwrap_or_default();
        if version > VERSION {
            return Err(invalid(format!(
                "it has version {version}, and this release reads versions up to {VERSION}; load it with the release that saved it"
            )));
        }
        let saved: SavedOptimizer = state.data_as()?;
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
                let values = array.as_slice::<f32>()?;
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(invalid(format!("a moment of `{name}` is {value}")));
                }
                let data = TensorData::new(values.to_vec(), shape.clone());
                Ok(AnyTensor::from_data(data, device)?)
            };
            let (first, second) = (load("moment_1")?, load("moment_2")?);
            moments.insert(name, Moments { time, tensors: Some([first, second]) });
        }
        self.moments = moments;
        Ok(())
    }
}

/// The version of the saved state.
///
/// Version 0, which is not written: moments `<parameter>.moment_1` and `.moment_2` under Burn's
/// names of the parameters, in Burn's layout (`[in, out]` for a linear layer).
const VERSION: u64 = 0;

/// The plain part of an optimizer's state: steps taken, by parameter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOptimizer {
    #[serde(default, skip_serializing_if = "is_first")]
    version: u64,
    optimizer: OptimizerConfig,
    time: BTreeMap<String, usize>,
}

fn is_first(version: &u64) -> bool {
    *version == 0
}

impl Optimizer {
    /// Returns the state of all parameters.
    ///
    /// # Errors
    /// If a moment cannot be read from its device.
    pub fn get_state(&self) -> Result<State> {
        let time = self.moments.iter().map(|(name, m)| (name.clone(), m.time)).collect();
        let mut state =
            State::from_data(&SavedOptimizer { version: VERSION, optimizer: self.config, time })?;
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
    /// The path to the current part of the module; `None` if all names are known.
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
