//! Messages of caught panics.

use std::any::Any;

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
