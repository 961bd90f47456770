//! The container as a Burn module.

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;

use super::MultiRLModule;
use crate::any::AnyRLModule;

impl Module for MultiRLModule {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.parameter_groups()
            .fold(devices, |devices, (_, module)| module.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|_, module| module.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|_, module| module.to_device(device))
    }
    fn train(self) -> Self {
        self.each(|_, module| module.train())
    }
    fn valid(&self) -> Self {
        self.clone().each(|_, module| module.valid())
    }
    fn materialize(self) -> Self {
        self.each(|_, module| module.materialize())
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (group, module) in self.parameter_groups() {
            visitor.enter_module(group, "MultiRLModule");
            module.visit(visitor);
            visitor.exit_module(group, "MultiRLModule");
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.each(|group, module| {
            mapper.enter_module(group, "MultiRLModule");
            let module = module.map(mapper);
            mapper.exit_module(group, "MultiRLModule");
            module
        })
    }
}

impl MultiRLModule {
    fn each(mut self, mut f: impl FnMut(&str, AnyRLModule) -> AnyRLModule) -> Self {
        let groups: Vec<String> = self.parameter_groups().map(|(g, _)| g.to_owned()).collect();
        for group in groups {
            // Cannot fail: the groups exist, and the modules keep their types.
            if let Err(error) = self.change_parameters(&group, |module| (f(&group, module), ())) {
                tracing::error!(%error, "a group of parameters was lost");
            }
        }
        self
    }
}
