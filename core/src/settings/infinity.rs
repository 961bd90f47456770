//! Serialization of a float that may be infinite: infinity is `null`, because JSON has no infinity.
//!
//! For settings: `#[serde(with = "rekindle_core::settings::infinity")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the number, or `null` for infinity.
///
/// # Errors
/// That of the serializer.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(value).serialize(serializer)
}

/// Reads a number, or `null` as infinity.
///
/// # Errors
/// That of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}
