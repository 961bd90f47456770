//! A module's parameters, in the names and layout of a PyTorch `state_dict`.
//!
//! Burn stores the weight of a `Linear` as `[in, out]` and names the parameters of a normalisation
//! layer `gamma` and `beta`; PyTorch stores `[out, in]` and names them `weight` and `bias`. The
//! names here are the paths of the fields, joined by dots: `policy.layers.0.weight`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Bool, Element, Int};

use crate::any_tensor::{to_f32, to_i64};
use crate::{CoreError, Result};
use rekindle_checkpoint::{Array, ArrayData};

/// Named parameters on the host.
pub type Weights = BTreeMap<String, Array>;

/// Reads all parameters of a module.
///
/// # Errors
/// [`CoreError::DuplicateParameter`] if two parameters share a name, [`CoreError::DeviceRead`] if
/// the device fails.
pub fn state_dict<M: Module>(module: &M) -> Result<Weights> {
    let mut reader = Reader::default();
    module.visit(&mut reader);
    match reader.error {
        Some(error) => Err(error),
        None => Ok(reader.weights),
    }
}

/// What a lenient load did and did not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters that got a value.
    pub loaded: Vec<String>,
    /// Parameters without a value: they keep the module's own.
    pub missing: Vec<String>,
    /// Values without a parameter.
    pub unexpected: Vec<String>,
    /// Values of another shape than their parameter, which keeps the module's own.
    pub misshapen: Vec<String>,
}

impl LoadReport {
    /// Whether every parameter got a value and every value found a parameter.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

/// A copy of the module with the given parameters.
///
/// Strict: every parameter of the module gets a value and every value has a parameter. Autodiff
/// settings and device of the module's parameters stay as they are.
///
/// # Errors
/// [`CoreError::WeightNames`] listing what is missing and what is unexpected,
/// [`CoreError::WeightShape`] for the first value that does not fit. The module is unchanged.
pub fn load_state_dict<M: Module>(module: &M, weights: &Weights) -> Result<M> {
    let (report, shapes) = compare(module, weights)?;
    if !report.missing.is_empty() || !report.unexpected.is_empty() {
        let (missing, unexpected) = (report.missing, report.unexpected);
        return Err(CoreError::WeightNames { missing, unexpected });
    }
    if let Some(name) = report.misshapen.into_iter().next() {
        let expected = shapes.get(&name).cloned().unwrap_or_default();
        let found = weights.get(&name).map(|w| w.shape().to_vec()).unwrap_or_default();
        return Err(CoreError::WeightShape { name, expected, found });
    }
    Ok(fill(module, weights))
}

/// A copy of the module with those of the given parameters that fit, and a report of the others.
///
/// # Errors
/// [`CoreError::DuplicateParameter`] if two parameters of the module share a name.
pub fn load_matching<M: Module>(module: &M, weights: &Weights) -> Result<(M, LoadReport)> {
    let (report, _) = compare(module, weights)?;
    let fitting = report.loaded.iter().filter_map(|n| Some((n.clone(), weights.get(n)?.clone())));
    Ok((fill(module, &fitting.collect()), report))
}

/// Which weights fit the module, and the shapes of its parameters.
fn compare<M: Module>(
    module: &M,
    weights: &Weights,
) -> Result<(LoadReport, BTreeMap<String, Vec<usize>>)> {
    let mut names = Names::default();
    module.visit(&mut names);
    if let Some(name) = names.duplicate {
        return Err(CoreError::DuplicateParameter(name));
    }
    let mut report = LoadReport::default();
    for (name, shape) in &names.shapes {
        let list = match weights.get(name) {
            None => &mut report.missing,
            Some(value) if value.shape() != shape => &mut report.misshapen,
            Some(_) => &mut report.loaded,
        };
        list.push(name.clone());
    }
    let unexpected = weights.keys().filter(|name| !names.shapes.contains_key(*name));
    report.unexpected = unexpected.cloned().collect();
    Ok((report, names.shapes))
}

/// A copy of the module with weights that are known to fit.
fn fill<M: Module>(module: &M, weights: &Weights) -> M {
    module.clone().map(&mut Writer { path: Path::default(), weights })
}

/// Where a visitor is in the module tree.
#[derive(Debug, Default)]
struct Path {
    /// Field names from the root.
    names: Vec<String>,
    /// The type that owns each of those fields.
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.into());
        self.containers.push(container.into());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// The name of the current parameter in a PyTorch state dict.
    fn torch_name(&self) -> String {
        let mut names = self.names.clone();
        if self.container().ends_with("Norm")
            && let Some(last) = names.last_mut()
        {
            match last.as_str() {
                "gamma" => "weight".clone_into(last),
                "beta" => "bias".clone_into(last),
                _ => {}
            }
        }
        names.join(".")
    }

    /// Whether PyTorch stores the current parameter transposed.
    fn is_transposed(&self) -> bool {
        self.container() == "Linear" && self.names.last().is_some_and(|name| name == "weight")
    }

    /// The name of the type that owns the current field, as Burn reports it (`Struct:Linear`).
    fn container(&self) -> &str {
        let container = self.containers.last().map_or("", String::as_str);
        container.split_once(':').map_or(container, |(_, name)| name)
    }
}

fn array(shape: &[usize], data: ArrayData) -> Result<Array> {
    Ok(Array::new(shape.to_vec(), data)?)
}

/// Collects values.
#[derive(Default)]
struct Reader {
    path: Path,
    weights: Weights,
    error: Option<CoreError>,
}

impl Reader {
    fn push(&mut self, value: Result<Array>) {
        let name = self.path.torch_name();
        match value {
            Ok(value) => {
                if self.weights.insert(name.clone(), value).is_some() {
                    self.error.get_or_insert(CoreError::DuplicateParameter(name));
                }
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

impl ModuleVisitor for Reader {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut tensor = param.transform_for_save().val();
        if self.path.is_transposed() {
            tensor = tensor.transpose();
        }
        let shape = tensor.dims();
        self.push(to_f32(tensor).and_then(|data| array(&shape, ArrayData::F32(data))));
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let tensor = param.val();
        let shape = tensor.dims();
        self.push(to_i64(tensor).and_then(|data| array(&shape, ArrayData::I64(data))));
    }
    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let tensor = param.val();
        let shape = tensor.dims();
        let data = to_i64(tensor.int()).map(|data| data.into_iter().map(|x| x != 0).collect());
        self.push(data.and_then(|data| array(&shape, ArrayData::Bool(data))));
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// Collects names and shapes without reading a value.
#[derive(Default)]
struct Names {
    path: Path,
    shapes: BTreeMap<String, Vec<usize>>,
    duplicate: Option<String>,
}

impl Names {
    fn push(&mut self, mut shape: Vec<usize>) {
        if self.path.is_transposed() {
            shape.reverse();
        }
        let name = self.path.torch_name();
        if self.shapes.insert(name.clone(), shape).is_some() {
            self.duplicate = Some(name);
        }
    }
}

impl ModuleVisitor for Names {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.lazy_shape().to_vec());
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.lazy_shape().to_vec());
    }
    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.push(param.lazy_shape().to_vec());
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// Replaces values; names and shapes were checked before.
struct Writer<'a> {
    path: Path,
    weights: &'a Weights,
}

impl Writer<'_> {
    fn data(&self) -> Option<TensorData> {
        let array = self.weights.get(&self.path.torch_name())?;
        Some(match array.data() {
            ArrayData::F32(data) => self.arrange(data, array.shape()),
            ArrayData::F64(data) => self.arrange(data, array.shape()),
            ArrayData::I64(data) => self.arrange(data, array.shape()),
            ArrayData::I32(data) => self.arrange(data, array.shape()),
            ArrayData::U8(data) => self.arrange(data, array.shape()),
            ArrayData::Bool(data) => self.arrange(data, array.shape()),
            _ => return None,
        })
    }

    /// The values in Burn's layout.
    fn arrange<T: Element>(&self, data: &[T], shape: &[usize]) -> TensorData {
        if self.path.is_transposed() {
            transpose(data, shape)
        } else {
            TensorData::new(data.to_vec(), shape)
        }
    }
}

/// A matrix transposed on the host. A transposed view of an uploaded one would do, but kernels
/// round differently on views, and a restored module must compute bit for bit what was saved.
fn transpose<T: Element>(data: &[T], shape: &[usize]) -> TensorData {
    let [rows, cols] = [shape.first(), shape.last()].map(|n| n.copied().unwrap_or(1));
    let transposed = (0..cols).flat_map(|c| (0..rows).map(move |r| data[r * cols + c]));
    TensorData::new(transposed.collect::<Vec<T>>(), [cols, rows])
}

impl ModuleMapper for Writer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.data() else { return param };
        // The values carry no gradient graph: they go to the parameter's plain device and take its
        // autodiff setting when they replace it.
        let tensor = Tensor::<D>::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(data) = self.data() else { return param };
        let tensor = Tensor::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let Some(data) = self.data() else { return param };
        let tensor = Tensor::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

#[cfg(test)]
mod tests;
