//! Panics of users' code, and their messages.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a function, and converts a panic into an error with its message. What the function has changed before the
/// panic stays changed.
///
/// # Errors
/// The message of the panic.
///
/// ```
/// use rekindle_core::panics::caught;
///
/// assert_eq!(caught(|| 7), Ok(7));
/// assert_eq!(caught(|| -> u8 { panic!("row {} is missing", 7) }), Err("row 7 is missing".into()));
/// ```
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic).to_owned())
}

/// Runs a function that may fail, and converts a panic into an error as well.
///
/// # Errors
/// The error of the function, or one with the message of its panic.
pub fn as_error<T, E: From<String>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    caught(run).unwrap_or_else(|message| Err(format!("it panicked: {message}").into()))
}

/// Returns the message of a panic that `catch_unwind` caught, or `no message` if its payload is not
/// text.
///
/// ```
/// let panic = std::panic::catch_unwind(|| panic!("row {} is missing", 7)).unwrap_err();
/// assert_eq!(rekindle_core::panics::message(&*panic), "row 7 is missing");
/// ```
#[must_use]
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").trim()
}
