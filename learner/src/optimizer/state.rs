//! Saving and restoring the state of an optimizer.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_checkpoint::{Array, State};
use rekindle_core::AnyTensor;
use rekindle_core::named::{self, ModulePath, NamedVisitor};
use rekindle_core::weights::{is_transposed, torch_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Moments, Optimizer, OptimizerConfig};
use crate::error::{LearnerError, Result};

/// The version of the saved state.
///
/// - Version 1: moments `<parameter>.<moment>`, in the names and layout of the weights.
/// - Version 0, which has no version: names and layout of Burn (`[in, out]` for a linear layer, `gamma`
///   and `beta` for a normalization). It is converted.
const VERSION: u64 = 1;

/// The plain part of the state: steps taken, by parameter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOptimizer {
    #[serde(default)]
    version: u64,
    optimizer: OptimizerConfig,
    time: BTreeMap<String, usize>,
}

impl Optimizer {
    /// Returns the state of all parameters. `module` is the one that is stepped.
    ///
    /// # Errors
    /// If a moment cannot be read from its device.
    pub fn get_state<M: Module>(&self, module: &M) -> Result<State> {
        let parameters = Layouts::of(module).by_name;
        let time = self.moments.iter().map(|(name, m)| (name.clone(), m.time)).collect();
        let saved = SavedOptimizer { version: VERSION, optimizer: self.config, time };
        let mut state = State::from_data(&saved)?;
        for (name, memory) in &self.moments {
            let layout = parameters.get(name);
            for (moment, tensor) in self.config.moments().iter().zip(&memory.tensors) {
                let (mut shape, mut values) = (tensor.shape(), tensor.to_f32()?);
                if layout.is_some_and(|layout| layout.transposed) {
                    values = transpose(&values, &shape);
                    shape.reverse();
                }
                state.insert_tensor(format!("{name}.{moment}"), Array::new(shape, values)?);
            }
        }
        Ok(state)
    }

    /// Replaces the state with a saved one, after checking it against the parameters of `module`.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state belongs to another module, another rule or a later
    /// version, or has a moment that is not finite.
    pub fn load_state<M: Module>(&mut self, state: &State, module: &M) -> Result<()> {
        let version = state.data.get("version").and_then(Value::as_u64).unwrap_or_default();
        if version > VERSION {
            return Err(invalid(format!(
                "it has version {version}, and this release reads versions up to {VERSION}; load it with the release that saved it"
            )));
        }
        let saved: SavedOptimizer = state.data_as()?;
        if saved.optimizer.moments() != self.config.moments() {
            let (saved, here) = (saved.optimizer.name(), self.config.name());
            return Err(invalid(format!(
                "it belongs to {saved}, and this optimizer is {here}; set the same rule, or leave the optimizer out"
            )));
        }
        let layouts = Layouts::of(module);
        let mut all = BTreeMap::new();
        for (saved_name, time) in saved.time {
            let name = match version {
                0 => layouts.raw_names.get(&saved_name),
                _ => Some(&saved_name),
            };
            let known = name.and_then(|name| Some((name, layouts.by_name.get(name)?)));
            let Some((name, layout)) = known else {
                return Err(invalid(format!("the module has no parameter `{saved_name}`")));
            };
            let transposed = layout.transposed && version > 0;
            let moments = self.config.moments().iter();
            let load = |moment: &&str| layout.load(&saved_name, moment, state, transposed);
            let tensors = moments.map(load).collect::<Result<_>>()?;
            all.insert(name.clone(), Moments { time, tensors });
        }
        self.moments = all;
        Ok(())
    }
}

fn invalid(reason: String) -> LearnerError {
    LearnerError::InvalidState { component: "optimizer".into(), reason }
}

/// Shape, device and layout of the parameters of a module.
#[derive(Default)]
struct Layouts {
    by_name: BTreeMap<String, Layout>,
    /// From Burn's names to those of the weights.
    raw_names: BTreeMap<String, String>,
}

struct Layout {
    /// In memory.
    shape: Vec<usize>,
    device: Device,
    /// Whether files hold the transpose.
    transposed: bool,
}

impl Layouts {
    fn of<M: Module>(module: &M) -> Self {
        let mut layouts = Self::default();
        named::visit(module, &mut layouts);
        layouts
    }
}

impl NamedVisitor for Layouts {
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
        let name = torch_name(path);
        self.raw_names.insert(path.name(), name.clone());
        let layout = Layout {
            shape: param.lazy_shape().to_vec(),
            device: param.val().inner().device(),
            transposed: is_transposed(path),
        };
        self.by_name.insert(name, layout);
    }
}

impl Layout {
    /// Reads one moment of a parameter.
    fn load(&self, name: &str, moment: &str, state: &State, transposed: bool) -> Result<AnyTensor> {
        let array = state.tensor(&format!("{name}.{moment}"))?;
        let mut expected = self.shape.clone();
        if transposed {
            expected.reverse();
        }
        if array.shape() != expected {
            let found = array.shape();
            return Err(invalid(format!(
                "the moments of `{name}` have shape {found:?}, the parameter has {expected:?}"
            )));
        }
        let values = array.as_slice::<f32>()?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(invalid(format!("a moment of `{name}` is {value}")));
        }
        let values = if transposed { transpose(values, &expected) } else { values.to_vec() };
        Ok(AnyTensor::from_data(TensorData::new(values, self.shape.clone()), &self.device)?)
    }
}

/// Transposes a matrix of this shape.
fn transpose(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let [rows, columns] = [shape.first(), shape.last()].map(|n| n.copied().unwrap_or(1));
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}
