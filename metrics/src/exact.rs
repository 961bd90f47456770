//! Serde adapters that keep every `f64`. JSON alone would turn infinities and NaN into null.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A finite number, or the name of another one (`"inf"`, `"-inf"`, `"NaN"`).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Repr {
    Finite(f64),
    NonFinite(String),
}

impl From<f64> for Repr {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Finite(value) } else { Self::NonFinite(value.to_string()) }
    }
}

impl Repr {
    fn value<E: Error>(self) -> Result<f64, E> {
        match self {
            Self::Finite(value) => Ok(value),
            Self::NonFinite(name) => name.parse().map_err(E::custom),
        }
    }
}

pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Repr::from(*value).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Repr::deserialize(deserializer)?.value()
}

/// The adapters for a window of values.
pub(super) mod window {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        values: &VecDeque<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().copied().map(Repr::from))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<f64>, D::Error> {
        Vec::<Repr>::deserialize(deserializer)?.into_iter().map(Repr::value).collect()
    }
}
