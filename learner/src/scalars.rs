//! Scalars that a learner owns and its optimizers step, such as a temperature.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;

/// Trainable scalars by name, as a Burn module, so that gradients, optimizers and checkpoints treat them
/// like the parameters of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scalars(BTreeMap<String, Param<Tensor<1>>>);

impl Scalars {
    /// Creates scalars with initial values. `device` tracks gradients.
    pub(crate) fn new(values: impl IntoIterator<Item = (String, f32)>, device: &Device) -> Self {
        let param = |value| Param::from_tensor(Tensor::from_floats([value], device).require_grad());
        Self(values.into_iter().map(|(name, value)| (name, param(value))).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the tensors, `[1]` each, with gradients.
    pub(crate) fn tensors(&self) -> BTreeMap<String, Tensor<1>> {
        self.0.iter().map(|(name, param)| (name.clone(), param.val())).collect()
    }

    /// Returns the ids of the parameters of some scalars.
    pub(crate) fn params<'a>(&self, names: impl Iterator<Item = &'a String>) -> BTreeSet<ParamId> {
        names.filter_map(|name| self.0.get(name)).map(|param| param.id).collect()
    }

    fn each(self, mut f: impl FnMut(&str, Param<Tensor<1>>) -> Param<Tensor<1>>) -> Self {
        let changed = self.0.into_iter().map(|(name, param)| {
            let param = f(&name, param);
            (name, param)
        });
        Self(changed.collect())
    }
}

const CONTAINER: &str = "Scalars";

impl Module for Scalars {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.values().fold(devices, |devices, param| param.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|_, param| param.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|_, param| Module::to_device(param, device))
    }
    fn train(self) -> Self {
        self.each(|_, param| param.train())
    }
    fn valid(&self) -> Self {
        self.clone().each(|_, param| param.valid())
    }
    fn materialize(self) -> Self {
        self.each(|_, param| param.materialize())
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (name, param) in &self.0 {
            visitor.enter_module(name, CONTAINER);
            param.visit(visitor);
            visitor.exit_module(name, CONTAINER);
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.each(|name, param| {
            mapper.enter_module(name, CONTAINER);
            let param = Module::map(param, mapper);
            mapper.exit_module(name, CONTAINER);
            param
        })
    }
}
