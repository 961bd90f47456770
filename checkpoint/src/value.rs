//! Rust values as JSON values, with every float kept.
//!
//! JSON has no NaN and no infinities, and `serde_json` silently turns them into `null`. A
//! checkpoint with such a number could be written but never restored. Here, a float that JSON lacks
//! becomes an object with the single key `$float`, such as `{"$float": "-inf"}`, and a float again
//! on reading. All other values are converted as by `serde_json`.

mod read;
mod write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The key of the object that stands for a float that JSON lacks.
const FLOAT: &str = "$float";

/// Converts a value to a JSON value from which [`from_value`] restores it exactly.
///
/// NaN and the infinities become `{"$float": "NaN"}`, `{"$float": "inf"}` and `{"$float": "-inf"}`;
/// the sign and payload of a NaN are lost. All other values are converted as `serde_json::to_value`
/// converts them.
///
/// ```
/// use rekindle_checkpoint::{from_value, to_value};
///
/// let best = (3_u32, f64::NEG_INFINITY);
/// let saved = to_value(&best)?;
/// assert_eq!(saved.to_string(), r#"[3,{"$float":"-inf"}]"#);
/// assert_eq!(from_value::<(u32, f64)>(&saved)?, best);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// If JSON cannot hold the value: a map with keys that are not text or integers, a map with the reserved
/// key `$float`, an integer beyond 64 bits, or a value whose own `Serialize` fails. The message begins with
/// the fields and keys that lead to the place.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Value> {
    value.serialize(write::ToValue)
}

/// Restores a value that [`to_value`] or `serde_json::to_value` converted.
///
/// # Errors
/// If the JSON value does not describe a `T`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    T::deserialize(read::FromValue(value))
}

/// Returns the float that a JSON object represents, if it represents one.
fn float(entries: &serde_json::Map<String, Value>) -> Option<f64> {
    match entries.get(FLOAT)?.as_str()? {
        _ if entries.len() != 1 => None,
        "NaN" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
