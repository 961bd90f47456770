//! Settings: one declaration for a field, its documentation, default, setter and check.

pub mod infinity;
mod json;
mod paths;

use std::borrow::Cow;
use std::fmt::Display;

use thiserror::Error;

use crate::ModuleId;

pub use json::from_value;
pub use paths::paths;

/// A setting whose value is not allowed.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` is {value}, but {constraint}")]
pub struct ConfigError {
    /// The name of the setting.
    pub field: Cow<'static, str>,
    /// Its value.
    pub value: String,
    /// The constraint that it violates, as a clause.
    pub constraint: Cow<'static, str>,
}

impl ConfigError {
    /// Creates the error of setting `field`. `constraint` is a clause, such as
    /// `it must be positive`.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl Display,
        constraint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), value: value.to_string(), constraint: constraint.into() }
    }

    /// Adds the group of the setting to its name: `group.field`.
    #[must_use]
    pub fn within(self, group: &str) -> Self {
        Self { field: format!("{group}.{}", self.field).into(), ..self }
    }
}

/// Declares a serializable struct of settings. Unknown keys are rejected, and missing keys take
/// their defaults.
///
/// A field is declared as `kind name: Type = default, check;` after its documentation. The macro adds
/// the default to it, and repeats it at the setter. The kind says what the setter takes:
///
/// | kind | setter |
/// |---|---|
/// | `set` | the type itself |
/// | `into` | anything that converts into the type |
/// | `field` | none is generated |
///
/// The check is optional: a function of the field's name and a reference to its value, which returns
/// a [`ConfigError`]. `check_fields` applies all checks in order.
///
/// ```
/// use rekindle_core::settings;
/// use rekindle_core::settings::{at_least_one, if_set};
///
/// settings! {
///     /// Settings of a buffer.
///     pub struct BufferConfig {
///         /// Number of rows.
///         set capacity: usize = 1000, at_least_one;
///         /// Rows of a sample; `None` takes all.
///         into sample: Option<usize> = None, if_set(at_least_one);
///     }
/// }
///
/// let config = BufferConfig::default().capacity(0).sample(8);
/// let message = config.check_fields().unwrap_err().to_string();
/// assert_eq!(message, "`capacity` is 0, but it must be at least 1");
/// ```
#[macro_export]
macro_rules! settings {
    (@setter field $field:ident $ty:ty, $default:expr, $($doc:literal)+) => {};
    (@setter set $field:ident $ty:ty, $default:expr, $($doc:literal)+) => {
        #[doc = concat!("Sets `", stringify!($field), "`.")]
        #[doc = ""]
        $(#[doc = $doc])+
        #[doc = ""]
        #[doc = concat!("Default: `", stringify!($default), "`.")]
        #[must_use]
        pub fn $field(mut self, $field: $ty) -> Self {
            self.$field = $field;
            self
        }
    };
    (@setter into $field:ident $ty:ty, $default:expr, $($doc:literal)+) => {
        #[doc = concat!("Sets `", stringify!($field), "`.")]
        #[doc = ""]
        $(#[doc = $doc])+
        #[doc = ""]
        #[doc = concat!("Default: `", stringify!($default), "`.")]
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (
        $(#[doc = $about:literal])+
        $(#[serde($($outer:tt)*)])?
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $kind:ident $field:ident: $ty:ty = $default:expr $(, $check:expr)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        $(#[serde($($outer)*)])?
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                $(#[serde($($serde)*)])?
                pub $field: $ty,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            $($crate::settings!(@setter $kind $field $ty, $default, $($doc)+);)+

            /// Checks every field on its own.
            ///
            /// # Errors
            /// The first field out of range, with its name, value and constraint.
            pub fn check_fields(&self) -> Result<(), $crate::settings::ConfigError> {
                $($($check(stringify!($field), &self.$field)?;)?)+
                Ok(())
            }
        }
    };
}

/// Checks that a number is not 0.
///
/// # Errors
/// A [`ConfigError`] with the field for 0.
pub fn at_least_one<T>(field: &'static str, value: &T) -> Result<(), ConfigError>
where
    T: Copy + Display + TryInto<u64>,
{
    let holds = (*value).try_into().is_ok_and(|value| value > 0);
    refuse_unless(holds, field, value, "it must be at least 1")
}

/// Checks that a number is positive, also in single precision. Infinity is allowed. JSON has no infinity, so
/// the field needs its own serialized form.
///
/// # Errors
/// A [`ConfigError`] with the field for 0, a negative number, NaN, and a number that rounds to 0.
pub fn positive(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    refuse_unless(*value > 0.0, field, number(*value), "it must be positive")?;
    refuse_unless(*value as f32 > 0.0, field, number(*value), ROUNDS_TO_0)
}

/// Checks that a number is positive and finite, also in single precision.
///
/// # Errors
/// A [`ConfigError`] with the field for any other number, and for one that rounds to 0 or infinity.
pub fn positive_and_finite(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    let holds = *value > 0.0 && value.is_finite();
    refuse_unless(holds, field, number(*value), "it must be positive and finite")?;
    refuse_unless(*value as f32 > 0.0, field, number(*value), ROUNDS_TO_0)?;
    refuse_unless((*value as f32).is_finite(), field, number(*value), ROUNDS_TO_INFINITY)
}

/// Checks that a number is finite, also in single precision.
///
/// # Errors
/// A [`ConfigError`] with the field for any other number, and for one that rounds to infinity.
pub fn finite(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    refuse_unless(value.is_finite(), field, number(*value), "it must be finite")?;
    refuse_unless((*value as f32).is_finite(), field, number(*value), ROUNDS_TO_INFINITY)
}

/// Checks that a number is finite, also in single precision, and not negative.
///
/// # Errors
/// A [`ConfigError`] with the field for any other number, and for one that rounds to infinity.
pub fn finite_and_not_negative(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    let holds = *value >= 0.0 && value.is_finite();
    refuse_unless(holds, field, number(*value), "it must be finite and not negative")?;
    refuse_unless((*value as f32).is_finite(), field, number(*value), ROUNDS_TO_INFINITY)
}

/// Checks that a number of seconds is positive and that a clock can measure it: at least a nanosecond, at
/// most 1e9.
///
/// # Errors
/// A [`ConfigError`] with the field for any other number.
pub fn seconds(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    let holds = (1e-9..=1e9).contains(value);
    let constraint = "it must be a number of seconds, at least 1e-9 and at most 1e9";
    refuse_unless(holds, field, number(*value), constraint)
}

const ROUNDS_TO_0: &str = "it must not round to 0 in single precision; raise it";
const ROUNDS_TO_INFINITY: &str = "it must not round to infinity in single precision; lower it";

/// Returns a number for a message. Very large and very small ones have an exponent instead of hundreds
/// of digits.
fn number(value: f64) -> String {
    match value.abs() {
        magnitude
            if magnitude.is_finite() && !(1e-6..1e15).contains(&magnitude) && value != 0.0 =>
        {
            format!("{value:e}")
        }
        _ => value.to_string(),
    }
}

/// Checks that a number is between 0 and 1, both included.
///
/// # Errors
/// A [`ConfigError`] with the field for any other number.
pub fn between_0_and_1(field: &'static str, value: &f64) -> Result<(), ConfigError> {
    refuse_unless((0.0..=1.0).contains(value), field, value, "it must be between 0 and 1")
}

/// Returns a check that applies `check` to a value that is set and accepts `None`.
pub fn if_set<T>(
    check: impl Fn(&'static str, &T) -> Result<(), ConfigError>,
) -> impl Fn(&'static str, &Option<T>) -> Result<(), ConfigError> {
    move |field, value| value.as_ref().map_or(Ok(()), |value| check(field, value))
}

/// Checks that a setting that is limited to some modules names at least one, and none but `known` ones.
///
/// # Errors
/// A [`ConfigError`] with the field, the first unknown id, and those that exist.
pub fn among_modules(
    field: &'static str,
    modules: &[ModuleId],
    known: &[&str],
) -> Result<(), ConfigError> {
    let constraint = match modules.iter().find(|id| !known.contains(&id.as_str())) {
        Some(id) => format!("no module `{id}` exists; choose from {known:?}"),
        None if modules.is_empty() => "it must name at least one module".into(),
        None => return Ok(()),
    };
    Err(ConfigError::new(field, format!("{modules:?}"), constraint))
}

fn refuse_unless(
    holds: bool,
    field: &'static str,
    value: impl Display,
    constraint: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::new(field, value, constraint)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked_in_single_precision_and_shown_in_few_digits() {
        type Check = fn(&'static str, &f64) -> Result<(), ConfigError>;
        let message = |check: Check, value: f64| check("x", &value).unwrap_err().to_string();
        for (check, value, expected) in [
            (positive as Check, 0.0, "`x` is 0, but it must be positive"),
            (
                positive,
                1e-60,
                "`x` is 1e-60, but it must not round to 0 in single precision; raise it",
            ),
            (positive_and_finite, f64::INFINITY, "`x` is inf, but it must be positive and finite"),
            (
                positive_and_finite,
                1e300,
                "`x` is 1e300, but it must not round to infinity in single precision; lower it",
            ),
            (finite_and_not_negative, -2.5, "`x` is -2.5, but it must be finite and not negative"),
        ] {
            assert_eq!(message(check, value), expected);
        }
        assert!(message(finite_and_not_negative, 1e39).contains("round to infinity"));
        assert!(
            message(seconds, 1e-300)
                .starts_with("`x` is 1e-300, but it must be a number of seconds")
        );
        for (check, value) in [
            (positive as Check, f64::INFINITY),
            (positive, 1e-44),
            (positive_and_finite, 3e38),
            (finite_and_not_negative, 1e-300),
            (seconds, 1e9),
        ] {
            check("x", &value).unwrap();
        }
    }
}
