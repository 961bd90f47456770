//! Fields of floating-point numbers that keep NaN and infinities in JSON.
//!
//! The types of this crate that users serialize themselves, without [`json`](crate::json), mark
//! such fields with `#[serde(with = "float")]` or `#[serde(with = "float::list")]`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number that text formats write as a number, or as `"inf"`, `"-inf"` or `"NaN"`.
///
/// It is held as an `f64`: the shortest text of an `f32` may read back as a neighbor.
#[derive(Clone, Copy)]
pub(crate) struct Float(pub(crate) f64);

/// The two types of floating-point numbers.
pub(crate) trait Number: Copy + Into<f64> {
    fn from_f64(number: f64) -> Self;
}

impl Number for f32 {
    fn from_f64(number: f64) -> Self {
        number as Self
    }
}

impl Number for f64 {
    fn from_f64(number: f64) -> Self {
        number
    }
}

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() || !to.is_human_readable() {
            to.serialize_f64(self.0)
        } else {
            to.collect_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return f64::deserialize(from).map(Self);
        }
        from.deserialize_any(FloatVisitor).map(Self)
    }
}

struct FloatVisitor;

impl de::Visitor<'_> for FloatVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\", \"-inf\" or \"NaN\"")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "inf" | "-inf" | "NaN" => text.parse().map_err(E::custom),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

pub(crate) fn serialize<T: Number, S: Serializer>(number: &T, to: S) -> Result<S::Ok, S::Error> {
    Float((*number).into()).serialize(to)
}

pub(crate) fn deserialize<'de, T: Number, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Float::deserialize(from).map(|Float(number)| T::from_f64(number))
}

/// `#[serde(with = "float::list")]` for a `Vec<f32>` or `Vec<f64>`.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Float, Number};

    pub(crate) fn serialize<T: Number, S: Serializer>(
        numbers: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(numbers.iter().map(|&number| Float(number.into())))
    }

    pub(crate) fn deserialize<'de, T: Number, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let numbers = Vec::<Float>::deserialize(from)?;
        Ok(numbers.into_iter().map(|Float(number)| T::from_f64(number)).collect())
    }
}
