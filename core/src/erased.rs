//! Burn modules behind `dyn` traits.
//!
//! Burn's `Module` is not object safe: its visitors and mappers are generic. This module erases it
//! once, for every trait of a *family* (`RLModule`, `Encoder`, …): an [`Erased`] value of a family
//! is a Burn module again, so one optimizer, one visitor and one store run over a heterogeneous
//! collection.
//!
//! A family is declared in three steps:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::prelude::*;
//! use rekindle_core::{Erase, Erased, ErasedModule, Family};
//!
//! // 1. A marker that names the trait object.
//! #[derive(Debug, Clone, Copy)]
//! pub enum EncoderFamily {}
//! impl Family for EncoderFamily {
//!     type Dyn = dyn Encoder;
//! }
//!
//! // 2. The trait itself.
//! pub trait Encoder: ErasedModule<EncoderFamily> {
//!     fn forward(&self, x: Tensor<2>) -> Tensor<2>;
//! }
//!
//! // 3. How a concrete module becomes the trait object.
//! impl<M: Encoder + Module + Sync + 'static> Erase<M> for EncoderFamily {
//!     fn erase(module: M) -> Box<dyn Encoder> {
//!         Box::new(module)
//!     }
//! }
//!
//! // A user derives `Module` and implements the trait …
//! #[derive(Module, Debug)]
//! struct Wide {
//!     layer: Linear,
//! }
//! impl Encoder for Wide {
//!     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
//!         self.layer.forward(x)
//!     }
//! }
//!
//! // … and the boxed value is a Burn module.
//! let device = Device::flex();
//! let wide = Wide { layer: LinearConfig::new(4, 8).init(&device) };
//! let encoder: Erased<EncoderFamily> = Erased::new(wide);
//! assert_eq!(encoder.num_params(), 4 * 8 + 8);
//! ```

mod mapper;
mod visitor;

use std::any::Any;
use std::cell::Cell;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;

use crate::any_tensor::MAX_RANK;
use mapper::{DynMapper, ErasedMapper, RestoredMapper};
use visitor::{DynVisitor, ErasedVisitor, RestoredVisitor};

/// A family of erased modules: a marker type that names a trait object.
///
/// The marker is needed because Rust rejects a trait whose supertrait names the trait's own object
/// type.
pub trait Family: 'static {
    /// The trait object, `dyn Encoder` for example.
    type Dyn: ?Sized;
}

/// Conversion of a concrete module into the trait object of a family.
pub trait Erase<M>: Family {
    /// Boxes the module.
    fn erase(module: M) -> Box<Self::Dyn>;
}

/// The object-safe twin of [`Module`], implemented for every module of a family.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Burn module",
    label = "this type does not implement `burn::module::Module`",
    note = "write `use burn::module::Module;` and `#[derive(Module, Debug)]` on `{Self}`"
)]
pub trait ErasedModule<F: Family>: Any + Send + Sync + Debug {
    /// Calls [`Clone::clone`].
    fn clone_erased(&self) -> Box<F::Dyn>;
    /// Calls [`Module::valid`].
    fn valid_erased(&self) -> Box<F::Dyn>;
    /// Calls [`Module::train`].
    fn train_erased(self: Box<Self>) -> Box<F::Dyn>;
    /// Calls [`Module::to_device`].
    fn to_device_erased(self: Box<Self>, device: &Device) -> Box<F::Dyn>;
    /// Calls [`Module::fork`].
    fn fork_erased(self: Box<Self>, device: &Device) -> Box<F::Dyn>;
    /// Calls [`Module::materialize`].
    fn materialize_erased(self: Box<Self>) -> Box<F::Dyn>;
    /// Calls [`Module::collect_devices`].
    fn devices_erased(&self, devices: Vec<Device>) -> Vec<Device>;
    /// Calls [`Module::visit`].
    fn visit_erased(&self, visitor: &mut dyn DynVisitor);
    /// Calls [`Module::map`].
    fn map_erased(self: Box<Self>, mapper: &mut dyn DynMapper) -> Box<F::Dyn>;
}

impl<F: Erase<M>, M: Module + Sync + 'static> ErasedModule<F> for M {
    fn clone_erased(&self) -> Box<F::Dyn> {
        F::erase(self.clone())
    }
    fn valid_erased(&self) -> Box<F::Dyn> {
        F::erase(self.valid())
    }
    fn train_erased(self: Box<Self>) -> Box<F::Dyn> {
        F::erase((*self).train())
    }
    fn to_device_erased(self: Box<Self>, device: &Device) -> Box<F::Dyn> {
        F::erase((*self).to_device(device))
    }
    fn fork_erased(self: Box<Self>, device: &Device) -> Box<F::Dyn> {
        F::erase((*self).fork(device))
    }
    fn materialize_erased(self: Box<Self>) -> Box<F::Dyn> {
        F::erase((*self).materialize())
    }
    fn devices_erased(&self, devices: Vec<Device>) -> Vec<Device> {
        self.collect_devices(devices)
    }
    fn visit_erased(&self, visitor: &mut dyn DynVisitor) {
        self.visit(&mut ErasedVisitor(visitor));
    }
    fn map_erased(self: Box<Self>, mapper: &mut dyn DynMapper) -> Box<F::Dyn> {
        F::erase((*self).map(&mut ErasedMapper(mapper)))
    }
}

/// A boxed module of a family; itself a Burn [`Module`].
pub struct Erased<F: Family>(Box<F::Dyn>);

impl<F: Family> Erased<F> {
    /// Erases a concrete module.
    pub fn new<M>(module: M) -> Self
    where
        F: Erase<M>,
    {
        Self(F::erase(module))
    }
}

impl<F: Family> Deref for Erased<F> {
    type Target = F::Dyn;

    fn deref(&self) -> &F::Dyn {
        &self.0
    }
}

impl<F: Family> DerefMut for Erased<F> {
    fn deref_mut(&mut self) -> &mut F::Dyn {
        &mut self.0
    }
}

impl<F: Family<Dyn: ErasedModule<F>>> Clone for Erased<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone_erased())
    }
}

impl<F: Family<Dyn: ErasedModule<F>>> Debug for Erased<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<F: Family<Dyn: ErasedModule<F>>> Module for Erased<F> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.devices_erased(devices)
    }
    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork_erased(device))
    }
    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device_erased(device))
    }
    fn train(self) -> Self {
        Self(self.0.train_erased())
    }
    fn valid(&self) -> Self {
        Self(self.0.valid_erased())
    }
    fn materialize(self) -> Self {
        Self(self.0.materialize_erased())
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit_erased(&mut RestoredVisitor(visitor));
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self(self.0.map_erased(&mut RestoredMapper(mapper)))
    }
}

// `#[derive(Module)]` requires a display of every field; the erased value shows its `Debug` form.
impl<F: Family<Dyn: ErasedModule<F>>> burn::module::ModuleDisplayDefault for Erased<F> {
    fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
        Some(content.set_top_level_type("Erased").add_formatted(&format!("{:?}", self.0)))
    }
}

impl<F: Family<Dyn: ErasedModule<F>>> burn::module::ModuleDisplay for Erased<F> {}

thread_local! {
    /// Whether a visitor or mapper has skipped a parameter on this thread.
    static SKIPPED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a parameter was skipped on this thread since the last call.
pub(crate) fn take_skipped() -> bool {
    SKIPPED.take()
}

/// Reports a parameter whose rank is not supported; the parameter is left unchanged.
/// [`initialize`](crate::initialize) makes it an error.
fn rank_not_supported() {
    SKIPPED.set(true);
    tracing::error!("a parameter with more than {MAX_RANK} dimensions was skipped");
}

#[cfg(test)]
mod tests;
