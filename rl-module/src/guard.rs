//! The wall between a user's module and the library: what panics there is an error here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rekindle_core::panics;

use crate::{ModuleError, Result};

/// Runs a method of a module.
///
/// Burn's operations panic if shapes do not fit, which is the most frequent mistake in a module:
/// the error names the module, and the program decides what becomes of it.
///
/// # Errors
/// The method's, or [`ModuleError::Panicked`].
pub(crate) fn guard<T>(
    module: &str,
    method: &'static str,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    // Unwinding leaves nothing half-done: passes only read the module, and `setup` owns its parts.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panics::message(&*panic).into();
        Err(ModuleError::Panicked { module: module.into(), method, message })
    })
}
