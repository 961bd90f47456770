//! Mappers behind a `dyn` trait.
//!
//! A parameter is passed as `&mut dyn Any` and replaced in place. While the generic mapper holds it, a
//! placeholder that is never initialized takes its place. So the parameter keeps a single owner, and Burn
//! may update its storage without a copy.

use std::any::Any;
use std::sync::OnceLock;

use burn::module::{Flag, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use burn::tensor::{Bool, Int};

/// The object-safe side of a [`ModuleMapper`].
pub trait DynMapper {
    /// Replaces a `Param<Tensor<D>>` in place.
    fn float(&mut self, param: &mut dyn Any);
    /// Replaces a `Param<Tensor<D, Int>>` in place.
    fn int(&mut self, param: &mut dyn Any);
    /// Replaces a `Param<Tensor<D, Bool>>` in place.
    fn bool(&mut self, param: &mut dyn Any);
    /// Maps a training flag.
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag>;
    /// Calls [`ModuleMapper::enter_module`].
    fn enter(&mut self, name: &str, container: &str);
    /// Calls [`ModuleMapper::exit_module`].
    fn exit(&mut self, name: &str, container: &str);
}

/// The mapper that the concrete module sees.
pub(super) struct ErasedMapper<'a>(pub(super) &'a mut dyn DynMapper);

impl ModuleMapper for ErasedMapper<'_> {
    fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0.float(&mut param);
        param
    }
    fn map_int<const D: usize>(
        &mut self,
        mut param: Param<Tensor<D, Int>>,
    ) -> Param<Tensor<D, Int>> {
        self.0.int(&mut param);
        param
    }
    fn map_bool<const D: usize>(
        &mut self,
        mut param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.0.bool(&mut param);
        param
    }
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.flag(flag)
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }
    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }
}

/// Restores the rank of the parameters and passes them to the generic mapper.
pub(super) struct RestoredMapper<'a, M>(pub(super) &'a mut M);

macro_rules! map_as {
    ($mapper:expr, $param:expr, $method:ident, $placeholder:expr, [$($ty:ty),*]) => {
        $(if let Some(slot) = $param.downcast_mut::<Param<$ty>>() {
            static PLACEHOLDER: OnceLock<Param<$ty>> = OnceLock::new();
            let placeholder = PLACEHOLDER.get_or_init(|| $placeholder(slot.lazy_device()));
            let param = std::mem::replace(slot, placeholder.clone());
            *slot = $mapper.$method(param);
            return;
        })*
    };
}

/// Returns a parameter that is never read and therefore never initialized. It fills a slot during a call.
fn placeholder<const D: usize, K>(device: Device) -> Param<Tensor<D, K>>
where
    K: burn::tensor::kind::Basic,
    Tensor<D, K>: burn::module::Parameter + 'static,
{
    let make = |device: &Device, _| Tensor::empty([0; D], device);
    Param::uninitialized(ParamId::from(0), make, device, false, Shape::from([0; D]))
}

impl<M: ModuleMapper> DynMapper for RestoredMapper<'_, M> {
    fn float(&mut self, param: &mut dyn Any) {
        map_as!(
            self.0,
            param,
            map_float,
            placeholder,
            [Tensor<1>, Tensor<2>, Tensor<3>, Tensor<4>, Tensor<5>, Tensor<6>]
        );
        super::rank_not_supported();
    }
    fn int(&mut self, param: &mut dyn Any) {
        map_as!(
            self.0,
            param,
            map_int,
            placeholder,
            [
                Tensor<1, Int>,
                Tensor<2, Int>,
                Tensor<3, Int>,
                Tensor<4, Int>,
                Tensor<5, Int>,
                Tensor<6, Int>
            ]
        );
        super::rank_not_supported();
    }
    fn bool(&mut self, param: &mut dyn Any) {
        map_as!(
            self.0,
            param,
            map_bool,
            placeholder,
            [
                Tensor<1, Bool>,
                Tensor<2, Bool>,
                Tensor<3, Bool>,
                Tensor<4, Bool>,
                Tensor<5, Bool>,
                Tensor<6, Bool>
            ]
        );
        super::rank_not_supported();
    }
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.map_flag(flag)
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}
