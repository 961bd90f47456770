//! `state.json`: the plain data of one component.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Maximum depth of nested arrays and objects. The parser of `serde_json` stops at 128.
const MAX_NESTING: usize = 100;

/// Writes a value as text. Equal values give equal text.
pub(super) fn encode(value: &Value, output: &mut impl Write) -> serde_json::Result<()> {
    serde_json::to_writer_pretty(&mut *output, &Canonical { value, nesting: 0 })?;
    output.write_all(b"\n").map_err(serde_json::Error::io)
}

/// Reads a value, and rejects one that could not be written again.
pub(super) fn decode(bytes: &[u8]) -> serde_json::Result<Value> {
    let value = serde_json::from_slice(bytes)?;
    if nesting(&value) > MAX_NESTING { Err(too_deep()) } else { Ok(value) }
}

/// Returns the depth of nested arrays and objects.
fn nesting(value: &Value) -> usize {
    let inner = match value {
        Value::Array(values) => values.iter().map(nesting).max(),
        Value::Object(entries) => entries.values().map(nesting).max(),
        _ => None,
    };
    inner.map_or(0, |inner| inner + 1)
}

fn too_deep<E: serde::ser::Error>() -> E {
    E::custom(format!("data is nested over {MAX_NESTING} levels deep"))
}

/// A value whose objects are written in the order of their keys.
///
/// `serde_json` sorts keys too, unless another crate of the build turns on `preserve_order`.
struct Canonical<'a> {
    value: &'a Value,
    nesting: usize,
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Refused because the checkpoint could not be read again.
        if self.nesting > MAX_NESTING {
            return Err(too_deep());
        }
        let inner = |value| Canonical { value, nesting: self.nesting + 1 };
        match self.value {
            Value::Array(values) => {
                let mut sequence = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    sequence.serialize_element(&inner(value))?;
                }
                sequence.end()
            }
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &inner(value))?;
                }
                map.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        bytes
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| json!([inner]))
    }

    #[test]
    fn keys_are_sorted() {
        let text = encoded(&json!({"b": [1, {"d": 2.5, "c": "x"}], "a": null}));
        let expected = "{\n  \"a\": null,\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\",\n      \
                        \"d\": 2.5\n    }\n  ]\n}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let deepest = nested(MAX_NESTING);
        assert_eq!(decode(&encoded(&deepest)).unwrap(), deepest);
        assert!(encode(&nested(MAX_NESTING + 1), &mut Vec::new()).is_err());
    }

    #[test]
    fn what_could_not_be_written_again_is_not_read() {
        let deeper = serde_json::to_vec(&nested(MAX_NESTING + 1)).unwrap();
        let message = decode(&deeper).unwrap_err().to_string();
        assert_eq!(message, "data is nested over 100 levels deep");
    }

    proptest! {
        #[test]
        fn numbers_are_exact(x in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL, n: u64, i: i64) {
            let value = json!([x, n, i]);
            let read: (f64, u64, i64) = serde_json::from_slice(&encoded(&value)).unwrap();
            prop_assert_eq!((read.0.to_bits(), read.1, read.2), (x.to_bits(), n, i));
        }
    }
}
