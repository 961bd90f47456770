//! Settings from JSON, with errors in the words of the person who wrote the JSON.

use rekindle_env::did_you_mean;
use serde::de::{DeserializeOwned, Error};
use serde_json::{Map, Value};

/// Deserializes settings from JSON.
///
/// Errors begin with the path of the setting, suggest names for unknown settings, and describe the expected
/// value without naming Rust types.
///
/// ```
/// use rekindle_core::settings;
/// use serde_json::json;
///
/// settings! {
///     /// Settings of a buffer.
///     pub struct BufferConfig {
///         /// Number of rows.
///         set capacity: usize = 1000;
///     }
/// }
///
/// let error = settings::from_value::<BufferConfig>(&json!({"capacity": "8"})).unwrap_err();
/// let expected = "`capacity`: invalid type: string \"8\", expected a whole number of at least 0";
/// assert_eq!(error.to_string(), expected);
/// let error = settings::from_value::<BufferConfig>(&json!({"capacty": 8})).unwrap_err();
/// let expected = "unknown field `capacty`; did you mean `capacity`? known: `capacity`";
/// assert_eq!(error.to_string(), expected);
/// ```
///
/// # Errors
/// An error about the first setting that is unknown or has a value of the wrong type.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    T::deserialize(value).map_err(|error| {
        let message = error.to_string();
        let path = locate::<T>(value, &message);
        let message = in_words(&message);
        Error::custom(if path.is_empty() { message } else { format!("`{path}`: {message}") })
    })
}

/// Returns the path of the setting that `message` is about, with dots; empty if it is at the top. serde's
/// messages about values do not name their field.
fn locate<T: DeserializeOwned>(value: &Value, message: &str) -> String {
    let mut path: Vec<&str> = Vec::new();
    let mut at = value;
    // A setting that fails in the same way without its neighbors is the one, or contains it.
    while let Some((name, part)) = at.as_object().and_then(|fields| {
        fields.iter().find(|(name, part)| {
            let alone = path
                .iter()
                .rev()
                .fold(object(name, (*part).clone()), |inner, outer| object(outer, inner));
            T::deserialize(&alone).is_err_and(|error| error.to_string() == message)
        })
    }) {
        // The message names an unknown field itself.
        if message.starts_with(&format!("unknown field `{name}`")) {
            break;
        }
        path.push(name);
        at = part;
    }
    path.join(".")
}

fn object(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// Rewrites a message of serde: suggestions for unknown names, and no types of Rust.
fn in_words(message: &str) -> String {
    let Some((head, expected)) = message.rsplit_once(", expected ") else { return message.into() };
    if head.starts_with("unknown field `") || head.starts_with("unknown variant `") {
        let name = head.split('`').nth(1).unwrap_or_default();
        let known: Vec<String> = expected.split('`').skip(1).step_by(2).map(Into::into).collect();
        return format!("{head}; {}", did_you_mean(name, &known));
    }
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object of settings",
        other => other,
    };
    format!("{head}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    type Nested = BTreeMap<String, BTreeMap<String, usize>>;

    #[test]
    fn a_wrong_value_is_located_at_any_depth() {
        let value = json!({"a": {"x": 1}, "b": {"x": 2, "y": -3}});
        let message = from_value::<Nested>(&value).unwrap_err().to_string();
        let expected = "`b.y`: invalid value: integer `-3`, expected a whole number of at least 0";
        assert_eq!(message, expected);
    }

    #[test]
    fn words_of_rust_are_replaced_and_others_kept() {
        for (message, expected) in [
            (
                "invalid type: null, expected struct Options",
                "invalid type: null, expected an object of settings",
            ),
            ("invalid type: null, expected a string", "invalid type: null, expected a string"),
            ("missing field `x`", "missing field `x`"),
            ("unknown field `x`, there are no fields", "unknown field `x`, there are no fields"),
            (
                "unknown variant `rellu`, expected one of `relu`, `tanh`",
                "unknown variant `rellu`; did you mean `relu`? known: `relu`, `tanh`",
            ),
        ] {
            assert_eq!(in_words(message), expected);
        }
    }
}
