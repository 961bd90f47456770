//! Conversion of panics in user modules into errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rekindle_catalog::CatalogError;
use rekindle_core::{CoreError, panics};

use crate::error::{ModuleError, Result};

/// Runs a method of a module, converts a panic into an error, and names module and method in an
/// error about a column.
///
/// Burn's operations panic if shapes do not match, the most frequent mistake in a module.
///
/// # Errors
/// The error of the method, [`ModuleError::Column`], or [`ModuleError::Panicked`].
pub(crate) fn guard<T>(
    module: &str,
    method: &'static str,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    // Unwinding leaves no broken state: passes only read the module, and `setup` owns its parts.
    let done = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panics::message(&*panic).into();
        Err(ModuleError::Panicked { module: module.into(), method, message })
    });
    done.map_err(|error| match error {
        ModuleError::Core(source) | ModuleError::Catalog(CatalogError::Core(source))
            if is_about_a_column(&source) =>
        {
            let (module, source) = (module.into(), Box::new(source));
            ModuleError::Column { module, method, source }
        }
        other => other,
    })
}

fn is_about_a_column(error: &CoreError) -> bool {
    matches!(
        error,
        CoreError::MissingColumn { .. }
            | CoreError::ColumnKind { .. }
            | CoreError::TensorKind { .. }
    )
}
