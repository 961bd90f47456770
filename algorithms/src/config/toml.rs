//! Settings as TOML.
//!
//! TOML has no null, so the string `"none"` stands for null. An infinite number is also read as null, because null is
//! the infinity of settings such as `vf_clip_param`. The string `none` itself is written with one more pair of quotes:
//! `"'none'"`.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{AlgorithmConfig, TrainingConfig};
use crate::{AlgorithmError, Result};

/// The string that stands for null.
const NONE: &str = "none";
/// The key by which the crate `toml` marks dates.
const DATE: &str = "$__toml_private_datetime";

impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// Reads a configuration from TOML. Omitted settings take their defaults, and `"none"` stands for no value.
    ///
    /// ```
    /// use rekindle_algorithms::PpoConfig;
    ///
    /// let config = PpoConfig::from_toml(
    ///     r#"
    ///     environment.env = "CartPole-v1"
    ///     [training]
    ///     lr = [[0, 1e-3], [300_000, 0.0]]
    ///     minibatch_size = "none"
    ///     vf_clip_param = inf
    ///     "#,
    /// )?;
    /// assert_eq!(config.training.minibatch_size, None);
    /// assert_eq!(PpoConfig::from_toml(&config.to_toml()?)?, config);
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigSyntax`] for text that is not TOML, [`AlgorithmError::ConfigFormat`] for unknown keys
    /// and wrong values.
    pub fn from_toml(text: &str) -> Result<Self> {
        from_value(&parse(text)?)
    }

    /// Returns the configuration as TOML, with all settings. Code, such as callbacks, is left out.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] if a user-defined value cannot be written.
    pub fn to_toml(&self) -> Result<String> {
        write(&serde_json::to_value(self).map_err(AlgorithmError::ConfigFormat)?)
    }
}

/// Reads settings from plain data.
pub(crate) fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T> {
    rekindle_core::settings::from_value(value).map_err(AlgorithmError::ConfigFormat)
}

/// Reads a TOML document as plain data.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let read: Plain = toml::from_str(text).map_err(syntax)?;
    Ok(read.0)
}

/// Reads a single TOML value, such as `3e-4` or `[64, 64]`.
pub(crate) fn parse_value(text: &str) -> Result<Value> {
    let parsed = toml::de::ValueDeserializer::parse(text).map_err(syntax)?;
    Ok(Plain::deserialize(parsed).map_err(syntax)?.0)
}

/// Splits a key with dots, such as `training.lr`, into its names.
pub(crate) fn parse_key(text: &str) -> Result<Vec<String>> {
    let is_one_line = !text.contains(['\n', '\r', '=', '#']);
    let parsed = is_one_line.then(|| parse(&format!("{text} = 0")).ok());
    let mut value = parsed.flatten().unwrap_or_default();
    let mut names = Vec::new();
    while let Value::Object(fields) = value {
        let Some((name, inner)) = fields.into_iter().next() else { break };
        names.push(name);
        value = inner;
    }
    if names.is_empty() {
        let reason =
            format!("`{text}` is not the name of a setting; write one such as training.lr");
        return Err(AlgorithmError::ConfigSyntax { reason });
    }
    Ok(names)
}

/// Writes plain data as a TOML document.
pub(crate) fn write(value: &Value) -> Result<String> {
    let custom = |error: toml::ser::Error| serde_json::Error::custom(error);
    toml::to_string(&encoded(value)).map_err(custom).map_err(AlgorithmError::ConfigFormat)
}

fn syntax(error: toml::de::Error) -> AlgorithmError {
    // The message of the crate `toml` shows the line and marks the error in it.
    AlgorithmError::ConfigSyntax { reason: error.to_string().trim_end().to_owned() }
}

/// Replaces null, which TOML lacks.
fn encoded(value: &Value) -> Value {
    match value {
        Value::Null => NONE.into(),
        Value::String(text) if is_none_in_quotes(text) => format!("'{text}'").into(),
        Value::Array(items) => items.iter().map(encoded).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), encoded(value))).collect()
        }
        other => other.clone(),
    }
}

/// Whether a text is `none` with any number of pairs of quotes.
fn is_none_in_quotes(text: &str) -> bool {
    let inner = text.trim_matches('\'');
    let quotes = (text.len() - inner.len()) / 2;
    inner == NONE && *text == format!("{0}{NONE}{0}", "'".repeat(quotes))
}

/// Plain data, read from TOML.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match value {
            _ if value.is_finite() => Ok(value.into()),
            // Settings without a bound are null in plain data.
            f64::INFINITY => Ok(Value::Null),
            _ => Err(E::custom(format!("no setting may be {value}"))),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(match text {
            NONE => Value::Null,
            _ if is_none_in_quotes(text) => text[1..text.len() - 1].into(),
            _ => text.into(),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if key == DATE {
                return Err(A::Error::custom("no setting is a date; put it in quotes"));
            }
            let Plain(value) = fields.next_value()?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// Returns plain data with `value` at the end of a path. Missing objects along the path are created.
pub(crate) fn set(at: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *at = value;
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    if let Value::Object(fields) = at {
        set(fields.entry(name.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Adds fields to settings. Objects are merged, and other values are replaced. An object of another type (`{"type":
/// …}`) replaces the present object instead of being merged.
pub(crate) fn merge(into: &mut Value, other: &Value) {
    let is_of_other_type = |fields: &Map<String, Value>, others: &Map<String, Value>| {
        others.get("type").is_some_and(|kind| fields.get("type") != Some(kind))
    };
    match (into, other) {
        (Value::Object(fields), Value::Object(others)) if !is_of_other_type(fields, others) => {
            for (key, value) in others {
                match fields.get_mut(key) {
                    Some(field) => merge(field, value),
                    None => {
                        fields.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (into, other) => *into = other.clone(),
    }
}

/// Returns the fields of `value` that differ from those of `default`.
pub(crate) fn difference(value: &Value, default: &Value) -> Value {
    let (Value::Object(fields), Value::Object(defaults)) = (value, default) else {
        return value.clone();
    };
    if fields.get("type") != defaults.get("type") {
        return value.clone();
    }
    let changed = fields.iter().filter_map(|(key, value)| match defaults.get(key) {
        Some(default) if default == value => None,
        Some(default) => Some((key.clone(), difference(value, default))),
        None => Some((key.clone(), value.clone())),
    });
    Value::Object(changed.collect())
}

/// Serializes settings as plain data.
pub(crate) fn to_value(settings: &impl Serialize) -> Result<Value> {
    serde_json::to_value(settings).map_err(AlgorithmError::ConfigFormat)
}
