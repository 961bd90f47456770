//! Parts of a shared module, one per module.

use std::collections::BTreeMap;

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::prelude::Device;
use rekindle_core::ModuleId;

use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::shared::SharedContext;

/// One part per module inside a [`SharedRLModule`](crate::SharedRLModule). The ids of the modules
/// are the names of the parts' parameters.
#[derive(Debug, Clone)]
pub struct PerModule<M>(BTreeMap<ModuleId, M>);

impl<M> PerModule<M> {
    /// Builds the part of each module.
    ///
    /// # Errors
    /// The first error of `build`.
    pub fn build(
        cx: &SharedContext<'_>,
        mut build: impl FnMut(&ModuleContext<'_>) -> Result<M>,
    ) -> Result<Self> {
        let parts = cx.modules().iter().map(|(id, cx)| Ok((id.clone(), build(cx)?)));
        Ok(Self(parts.collect::<Result<_>>()?))
    }

    /// Returns the part of a module.
    ///
    /// # Errors
    /// [`ModuleError::UnknownModule`] that lists the ids.
    pub fn get(&self, module_id: &str) -> Result<&M> {
        self.0.get(module_id).ok_or_else(|| ModuleError::unknown(module_id, self.0.keys()))
    }

    fn each(self, f: impl Fn(M) -> M) -> Self {
        Self(self.0.into_iter().map(|(id, part)| (id, f(part))).collect())
    }
}

impl<M: Module> Module for PerModule<M> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.values().fold(devices, |devices, part| part.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.each(|part| part.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.each(|part| part.to_device(device))
    }
    fn train(self) -> Self {
        self.each(M::train)
    }
    fn valid(&self) -> Self {
        Self(self.0.iter().map(|(id, part)| (id.clone(), part.valid())).collect())
    }
    fn materialize(self) -> Self {
        self.each(M::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (id, part) in &self.0 {
            visitor.enter_module(id, "PerModule");
            part.visit(visitor);
            visitor.exit_module(id, "PerModule");
        }
    }
    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        let map = |(id, part): (ModuleId, M)| {
            mapper.enter_module(&id, "PerModule");
            let part = part.map(mapper);
            mapper.exit_module(&id, "PerModule");
            (id, part)
        };
        Self(self.0.into_iter().map(map).collect())
    }
}

impl<M: ModuleDisplay> ModuleDisplayDefault for PerModule<M> {
    fn content(&self, content: Content) -> Option<Content> {
        let content = content.set_top_level_type("PerModule");
        self.0.iter().fold(content, |content, (id, part)| content.add(id, part)).optional()
    }
}

impl<M: ModuleDisplay> ModuleDisplay for PerModule<M> {}
