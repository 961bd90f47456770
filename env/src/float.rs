//! Floating-point numbers that survive JSON, which has no infinities.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An `f32` which text formats write as a number, or as `"inf"`, `"-inf"` or `"NaN"`.
#[derive(Clone, Copy)]
pub(crate) struct Float(pub(crate) f32);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            number if !to.is_human_readable() => to.serialize_f32(number),
            // Widened first: the shortest text of an `f32` may read back as a neighbour when it
            // passes through an `f64` on the way.
            number if number.is_finite() => to.serialize_f64(f64::from(number)),
            number => to.collect_str(&number),
        }
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return f32::deserialize(from).map(Self);
        }
        from.deserialize_any(FloatVisitor).map(Self)
    }
}

struct FloatVisitor;

impl de::Visitor<'_> for FloatVisitor {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\", \"-inf\" or \"NaN\"")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f32, E> {
        Ok(number as f32)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f32, E> {
        Ok(number as f32)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f32, E> {
        Ok(number as f32)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f32, E> {
        match text {
            "inf" | "-inf" | "NaN" => text.parse().map_err(E::custom),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// `#[serde(with = "float::list")]` for a `Vec<f32>`.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Float;

    pub(crate) fn serialize<S: Serializer>(numbers: &[f32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(numbers.iter().copied().map(Float))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        let numbers = Vec::<Float>::deserialize(from)?;
        Ok(numbers.into_iter().map(|Float(number)| number).collect())
    }
}
