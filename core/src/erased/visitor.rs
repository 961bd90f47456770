//! Visitors behind a `dyn` trait.

use std::any::Any;

use burn::module::{Flag, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Bool, Int};

/// The object-safe side of a [`ModuleVisitor`]. Parameters are passed as [`Any`].
pub trait DynVisitor {
    /// Visits a `Param<Tensor<D>>`.
    fn float(&mut self, param: &dyn Any);
    /// Visits a `Param<Tensor<D, Int>>`.
    fn int(&mut self, param: &dyn Any);
    /// Visits a `Param<Tensor<D, Bool>>`.
    fn bool(&mut self, param: &dyn Any);
    /// Visits a training flag.
    fn flag(&mut self, flag: &Param<Flag>);
    /// Calls [`ModuleVisitor::enter_module`].
    fn enter(&mut self, name: &str, container: &str);
    /// Calls [`ModuleVisitor::exit_module`].
    fn exit(&mut self, name: &str, container: &str);
}

/// The visitor that the concrete module sees.
pub(super) struct ErasedVisitor<'a>(pub(super) &'a mut dyn DynVisitor);

impl ModuleVisitor for ErasedVisitor<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.float(param);
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.int(param);
    }
    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.0.bool(param);
    }
    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.0.flag(flag);
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }
    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }
}

/// Restores the rank of the parameters and passes them to the generic visitor.
pub(super) struct RestoredVisitor<'a, V>(pub(super) &'a mut V);

macro_rules! visit_as {
    ($visitor:expr, $param:expr, $method:ident, [$($ty:ty),*]) => {
        $(if let Some(param) = $param.downcast_ref::<Param<$ty>>() {
            return $visitor.$method(param);
        })*
    };
}

impl<V: ModuleVisitor> DynVisitor for RestoredVisitor<'_, V> {
    fn float(&mut self, param: &dyn Any) {
        visit_as!(
            self.0,
            param,
            visit_float,
            [Tensor<1>, Tensor<2>, Tensor<3>, Tensor<4>, Tensor<5>, Tensor<6>]
        );
        super::rank_not_supported();
    }
    fn int(&mut self, param: &dyn Any) {
        visit_as!(
            self.0,
            param,
            visit_int,
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
    fn bool(&mut self, param: &dyn Any) {
        visit_as!(
            self.0,
            param,
            visit_bool,
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
    fn flag(&mut self, flag: &Param<Flag>) {
        self.0.visit_flag(flag);
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}
