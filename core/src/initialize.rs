//! Initialization of the parameters of a new module.

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Bool, Int};

use crate::any_tensor::MAX_RANK;
use crate::erased;
use crate::error::{CoreError, Result};
use crate::named::ModulePath;

/// Initializes the parameters that Burn has not initialized yet, in the order of the fields, and checks
/// their numbers of dimensions.
///
/// Burn's own initializers draw when a parameter is first read. Until then another thread may draw from the
/// same generator.
///
/// # Errors
/// [`CoreError::ParameterRank`] for a parameter with more dimensions than [erased](crate::Erased) modules
/// support, which would neither learn nor be saved.
pub fn initialize<M: Module>(module: &M) -> Result<()> {
    // A parameter that was skipped before belongs to another module.
    erased::take_skipped();
    let mut visitor = Initialize { path: ModulePath::default(), unsupported: None };
    module.visit(&mut visitor);
    match visitor.unsupported {
        None => Ok(()),
        Some(name) => Err(CoreError::ParameterRank { name, max: MAX_RANK }),
    }
}

struct Initialize {
    path: ModulePath,
    /// The first parameter with too many dimensions.
    unsupported: Option<String>,
}

impl Initialize {
    fn refuse(&mut self) {
        let path = &self.path;
        self.unsupported.get_or_insert_with(|| path.name());
    }

    fn check_rank(&mut self, rank: usize) {
        if rank > MAX_RANK {
            self.refuse();
        }
    }
}

impl ModuleVisitor for Initialize {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.check_rank(D);
        param.val();
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.check_rank(D);
        param.val();
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.check_rank(D);
        param.val();
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        // An erased part does not pass such a parameter on.
        if erased::take_skipped() {
            self.refuse();
        }
        self.path.exit();
    }
}
