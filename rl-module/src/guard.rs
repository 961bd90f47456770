//! Conversion of panics in user modules into errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rekindle_core::panics;

use crate::error::{ModuleError, Result};

/// Runs a method of a module and converts a panic into an error.
///
/// Burn's operations panic if shapes do not match, the most frequent mistake in a module.
///
/// # Errors
/// The error of the method, or [`ModuleError::Panicked`].
pub(crate) fn guard<T>(
    module: &str,
    method: &'static str,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    // Unwinding leaves no broken state: passes only read the module, and `setup` owns its parts.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panics::message(&*panic).into();
        Err(ModuleError::Panicked { module: module.into(), method, message })
    })
}
