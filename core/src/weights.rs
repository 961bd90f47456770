//! A module's parameters, in the names and layout of a PyTorch `state_dict`.
//!
//! Burn stores the weight of a `Linear` as `[in, out]` and names the parameters of a normalization
//! layer `gamma` and `beta`; PyTorch stores `[out, in]` and names them `weight` and `bias`. The
//! names here are the paths of the fields, joined by dots: `policy.layers.0.weight`.
//!
//! Loading converts floats of every width to the parameter's, as long as each value is finite and in
//! range. Kinds are never converted: integers, bytes and booleans do not become floats. Checkpoints of
//! modules restore their values as they were ([`restore_state_dict`]).

mod check;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::{Bool, Element, Int};
use rekindle_checkpoint::{Array, ArrayData};

use crate::any_tensor::{TensorKind, to_f32, to_i64};
use crate::error::{CoreError, Result};
use crate::named::{self, ModulePath, NamedMapper, NamedVisitor};

/// Named parameters on the host.
pub type Weights = BTreeMap<String, Array>;

/// Reads all parameters of a module.
///
/// # Errors
/// [`CoreError::DuplicateParameter`] if two parameters share a name, [`CoreError::DeviceRead`] if
/// the device fails.
pub fn state_dict<M: Module>(module: &M) -> Result<Weights> {
    let mut reader = Reader::default();
    named::visit(module, &mut reader);
    match reader.error {
        Some(error) => Err(error),
        None => Ok(reader.weights),
    }
}

/// The outcome of a lenient load, by name of the weight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Parameters that received a value.
    pub loaded: Vec<String>,
    /// Parameters without a weight, which keep their value.
    pub missing: Vec<String>,
    /// Weights without a parameter.
    pub unexpected: Vec<String>,
    /// Weights whose shape differs from their parameter's. The parameter keeps its value.
    pub misshapen: Vec<String>,
    /// Weights whose kind differs from their parameter's, such as integers for a float parameter.
    /// The parameter keeps its value.
    pub mistyped: Vec<String>,
}

impl LoadReport {
    /// Whether every parameter received a value and every weight found a parameter.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [&self.missing, &self.unexpected, &self.misshapen, &self.mistyped]
            .iter()
            .all(|names| names.is_empty())
    }
}

/// Returns a copy of the module with the given parameters.
///
/// Strict: every parameter of the module needs a weight and every weight needs a parameter. The
/// device of each parameter and its autodiff setting are kept.
///
/// # Errors
/// [`CoreError::WeightNames`] with all names that are missing or unexpected. For the first weight that
/// does not fit: [`CoreError::WeightShape`], [`CoreError::WeightKind`], or [`CoreError::WeightValue`]
/// if a value is not finite or beyond the range of the parameter.
pub fn load_state_dict<M: Module>(module: &M, weights: &Weights) -> Result<M> {
    check_fit(module, weights)?;
    fill(module, weights)
}

/// Returns a copy of the module with parameters saved by [`state_dict`].
///
/// Unlike [`load_state_dict`], it accepts non-finite 32-bit floats, so that a mask of −∞ survives a
/// checkpoint.
///
/// # Errors
/// The errors of [`load_state_dict`].
pub fn restore_state_dict<M: Module>(module: &M, weights: &Weights) -> Result<M> {
    check_fit(module, weights)?;
    for (name, weight) in weights {
        if !matches!(weight.data(), ArrayData::F32(_)) {
            check::values(name, weight)?;
        }
    }
    Ok(write(module, weights))
}

/// Checks that every parameter of the module has a weight of its shape and kind, and that there are no
/// others.
fn check_fit<M: Module>(module: &M, weights: &Weights) -> Result<()> {
    let (report, parameters) = compare(module, weights)?;
    if !report.missing.is_empty() || !report.unexpected.is_empty() {
        let (missing, unexpected) = (report.missing, report.unexpected);
        return Err(CoreError::WeightNames { missing, unexpected });
    }
    let of = |name: &str| Some((parameters.get(name)?, weights.get(name)?));
    if let Some(name) = report.misshapen.into_iter().next() {
        let (expected, found) = of(&name).map_or_else(Default::default, |(parameter, weight)| {
            (parameter.shape.clone(), weight.shape().to_vec())
        });
        return Err(CoreError::WeightShape { name, expected, found });
    }
    if let Some(name) = report.mistyped.into_iter().next() {
        let (expected, found) = of(&name).map_or((TensorKind::Float, ""), |(parameter, weight)| {
            (parameter.kind, weight.data().dtype())
        });
        return Err(CoreError::WeightKind { name, expected, found });
    }
    Ok(())
}

/// Returns a copy of the module with the given parameters that fit, and a report of the others.
///
/// # Errors
/// [`CoreError::DuplicateParameter`] if two parameters of the module share a name,
/// [`CoreError::WeightValue`] if a value of a weight that fits is not finite or beyond the range of
/// the parameter.
pub fn load_matching<M: Module>(module: &M, weights: &Weights) -> Result<(M, LoadReport)> {
    let (report, _) = compare(module, weights)?;
    let fitting = report.loaded.iter().filter_map(|n| Some((n.clone(), weights.get(n)?.clone())));
    Ok((fill(module, &fitting.collect())?, report))
}

/// The kind and shape of a parameter, in the layout of the file.
#[derive(Debug)]
struct Parameter {
    kind: TensorKind,
    shape: Vec<usize>,
}

/// Compares names, shapes and kinds of the weights with the parameters of the module.
fn compare<M: Module>(
    module: &M,
    weights: &Weights,
) -> Result<(LoadReport, BTreeMap<String, Parameter>)> {
    let mut parameters = Parameters::default();
    named::visit(module, &mut parameters);
    if let Some(name) = parameters.duplicate {
        return Err(CoreError::DuplicateParameter(name));
    }
    let parameters = parameters.by_name;
    let mut report = LoadReport::default();
    for (name, parameter) in &parameters {
        let list = match weights.get(name) {
            None => &mut report.missing,
            Some(value) if value.shape() != parameter.shape => &mut report.misshapen,
            Some(value) if check::kind(value.data()) != Some(parameter.kind) => {
                &mut report.mistyped
            }
            Some(_) => &mut report.loaded,
        };
        list.push(name.clone());
    }
    let unexpected = weights.keys().filter(|name| !parameters.contains_key(*name));
    report.unexpected = unexpected.cloned().collect();
    Ok((report, parameters))
}

/// Returns a copy of the module with weights whose names, shapes and kinds fit.
fn fill<M: Module>(module: &M, weights: &Weights) -> Result<M> {
    for (name, weight) in weights {
        check::values(name, weight)?;
    }
    Ok(write(module, weights))
}

/// Returns a copy of the module with weights that were checked.
fn write<M: Module>(module: &M, weights: &Weights) -> M {
    named::map(module.clone(), &mut Writer { weights })
}

/// Returns the name of a parameter in a PyTorch state dict.
#[must_use]
pub fn torch_name(path: &ModulePath) -> String {
    let Some((last, parents)) = path.names().split_last() else { return String::new() };
    let last = match last.as_str() {
        "gamma" if path.container().ends_with("Norm") => "weight",
        "beta" if path.container().ends_with("Norm") => "bias",
        other => other,
    };
    let names = parents.iter().map(String::as_str).chain([last]);
    names.collect::<Vec<_>>().join(".")
}

/// Whether PyTorch stores a parameter transposed.
#[must_use]
pub fn is_transposed(path: &ModulePath) -> bool {
    path.container() == "Linear" && path.names().last().is_some_and(|name| name == "weight")
}

fn array(shape: &[usize], data: ArrayData) -> Result<Array> {
    Ok(Array::new(shape.to_vec(), data)?)
}

/// Collects values.
#[derive(Default)]
struct Reader {
    weights: Weights,
    error: Option<CoreError>,
}

impl Reader {
    fn push(&mut self, path: &ModulePath, value: Result<Array>) {
        let name = torch_name(path);
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

impl NamedVisitor for Reader {
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
        let mut tensor = param.transform_for_save().val();
        if is_transposed(path) {
            tensor = tensor.transpose();
        }
        let shape = tensor.dims();
        self.push(path, to_f32(tensor).and_then(|data| array(&shape, ArrayData::F32(data))));
    }
    fn int<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Int>>) {
        let tensor = param.val();
        let shape = tensor.dims();
        self.push(path, to_i64(tensor).and_then(|data| array(&shape, ArrayData::I64(data))));
    }
    fn bool<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Bool>>) {
        let tensor = param.val();
        let shape = tensor.dims();
        let data = to_i64(tensor.int()).map(|data| data.into_iter().map(|x| x != 0).collect());
        self.push(path, data.and_then(|data| array(&shape, ArrayData::Bool(data))));
    }
}

/// Collects names, kinds and shapes without reading a value.
#[derive(Default)]
struct Parameters {
    by_name: BTreeMap<String, Parameter>,
    duplicate: Option<String>,
}

impl Parameters {
    fn push(&mut self, path: &ModulePath, kind: TensorKind, mut shape: Vec<usize>) {
        if is_transposed(path) {
            shape.reverse();
        }
        let name = torch_name(path);
        if self.by_name.insert(name.clone(), Parameter { kind, shape }).is_some() {
            self.duplicate = Some(name);
        }
    }
}

impl NamedVisitor for Parameters {
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
        self.push(path, TensorKind::Float, param.lazy_shape().to_vec());
    }
    fn int<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Int>>) {
        self.push(path, TensorKind::Int, param.lazy_shape().to_vec());
    }
    fn bool<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Bool>>) {
        self.push(path, TensorKind::Bool, param.lazy_shape().to_vec());
    }
}

/// Replaces values, which were checked before.
struct Writer<'a> {
    weights: &'a Weights,
}

impl Writer<'_> {
    fn data(&self, path: &ModulePath) -> Option<TensorData> {
        let array = self.weights.get(&torch_name(path))?;
        let (shape, transposed) = (array.shape(), is_transposed(path));
        Some(match array.data() {
            ArrayData::F32(data) => arrange(data, shape, transposed),
            ArrayData::F64(data) => arrange(data, shape, transposed),
            ArrayData::I64(data) => arrange(data, shape, transposed),
            ArrayData::I32(data) => arrange(data, shape, transposed),
            ArrayData::U8(data) => arrange(data, shape, transposed),
            ArrayData::Bool(data) => arrange(data, shape, transposed),
            _ => return None,
        })
    }
}

/// Returns the values in Burn's layout.
fn arrange<T: Element>(data: &[T], shape: &[usize], transposed: bool) -> TensorData {
    if transposed { transpose(data, shape) } else { TensorData::new(data.to_vec(), shape) }
}

/// Transposes a matrix on the host.
///
/// Burn could transpose a view on the device, but kernels round differently on views, and a
/// restored module must compute the same results as the saved one, bit for bit.
fn transpose<T: Element>(data: &[T], shape: &[usize]) -> TensorData {
    let [rows, cols] = [shape.first(), shape.last()].map(|n| n.copied().unwrap_or(1));
    let transposed = (0..cols).flat_map(|c| (0..rows).map(move |r| data[r * cols + c]));
    TensorData::new(transposed.collect::<Vec<T>>(), [cols, rows])
}

impl NamedMapper for Writer<'_> {
    fn float<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let Some(data) = self.data(path) else { return param };
        // The values have no gradient graph: they go to the parameter's plain device and take its
        // autodiff setting when they replace it.
        let tensor = Tensor::<D>::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
    fn int<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D, Int>>,
    ) -> Param<Tensor<D, Int>> {
        let Some(data) = self.data(path) else { return param };
        let tensor = Tensor::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
    fn bool<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let Some(data) = self.data(path) else { return param };
        let tensor = Tensor::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

#[cfg(test)]
mod tests;
