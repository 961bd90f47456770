//! Parameters of Burn modules by name.
//!
//! Burn's visitors learn the name of a parameter from `enter_module` and `exit_module` around it. The
//! adapters here keep track of it: implement [`NamedVisitor`] or [`NamedMapper`] and call [`visit`] or
//! [`map`].

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Bool, Int};

/// The place of a parameter in a module tree.
#[derive(Debug, Clone, Default)]
pub struct ModulePath {
    /// Field names from the root.
    names: Vec<String>,
    /// The type that owns each of those fields.
    containers: Vec<String>,
}

impl ModulePath {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.into());
        self.containers.push(container.into());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// Returns the field names from the root, joined by dots: `policy.layers.0.weight`.
    #[must_use]
    pub fn name(&self) -> String {
        self.names.join(".")
    }

    /// Returns the field names from the root.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the name of the type that owns the parameter: `Linear`.
    #[must_use]
    pub fn container(&self) -> &str {
        // Burn reports `Struct:Linear`.
        let container = self.containers.last().map_or("", String::as_str);
        container.split_once(':').map_or(container, |(_, name)| name)
    }
}

/// Looks at the parameters of a module together with their paths. Kinds without a method are skipped.
pub trait NamedVisitor {
    /// Visits a float parameter.
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>);

    /// Visits an int parameter.
    fn int<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Int>>) {
        let _ = (path, param);
    }

    /// Visits a bool parameter.
    fn bool<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D, Bool>>) {
        let _ = (path, param);
    }
}

/// Replaces the parameters of a module, given their paths. Kinds without a method are kept.
pub trait NamedMapper {
    /// Maps a float parameter.
    fn float<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>>;

    /// Maps an int parameter.
    fn int<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D, Int>>,
    ) -> Param<Tensor<D, Int>> {
        let _ = path;
        param
    }

    /// Maps a bool parameter.
    fn bool<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let _ = path;
        param
    }
}

/// Shows every parameter of `module` to `visitor`.
pub fn visit<M: Module>(module: &M, visitor: &mut impl NamedVisitor) {
    module.visit(&mut Tracked { path: ModulePath::default(), inner: visitor });
}

/// Replaces every parameter of `module` with the result of `mapper`.
pub fn map<M: Module>(module: M, mapper: &mut impl NamedMapper) -> M {
    module.map(&mut Tracked { path: ModulePath::default(), inner: mapper })
}

/// Returns the rest of `name` if it is `prefix` or lies below it: an empty text, or a dot and a name.
///
/// ```
/// use rekindle_core::named::below;
///
/// assert_eq!(below("encoder.layers.0", "encoder"), Some(".layers.0"));
/// assert_eq!(below("encoder", "encoder"), Some(""));
/// assert_eq!(below("encoder_2.layers.0", "encoder"), None);
/// ```
#[must_use]
pub fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A visitor or mapper of Burn that tracks its path.
struct Tracked<'a, T> {
    path: ModulePath,
    inner: &'a mut T,
}

impl<V: NamedVisitor> ModuleVisitor for Tracked<'_, V> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.float(&self.path, param);
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.inner.int(&self.path, param);
    }
    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.inner.bool(&self.path, param);
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

impl<M: NamedMapper> ModuleMapper for Tracked<'_, M> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.float(&self.path, param)
    }
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.inner.int(&self.path, param)
    }
    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.inner.bool(&self.path, param)
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}
