//! The JSON of Python, which has infinities and NaN.

use serde_json::Value;

use crate::error::Result;

/// The numbers that Python writes and JSON does not have.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses JSON as Python writes it. Infinities and NaN become text.
pub(super) fn parse(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(&quoted(text))?)
}

/// Puts infinities and NaN outside of strings into quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut is_string) = (text, false);
    while let Some(first) = rest.chars().next() {
        if !is_string && let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
            out.push('"');
            out.push_str(word);
            out.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        let mut len = first.len_utf8();
        match first {
            '"' => is_string = !is_string,
            '\\' if is_string => len += rest[len..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

/// Writes JSON as Python reads it: the text of infinities and NaN becomes numbers.
pub(super) fn to_python(value: &Value) -> String {
    let mut text = value.to_string();
    for word in WORDS {
        text = text.replace(&format!("\"{word}\""), word);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn infinities_outside_of_strings_are_text() {
        let value =
            parse(r#"{"a\"Infinity": [-Infinity, 1, NaN], "b": "NaN π \\", "c": Infinity}"#);
        let expected =
            json!({"a\"Infinity": ["-Infinity", 1, "NaN"], "b": "NaN π \\", "c": "Infinity"});
        assert_eq!(value.unwrap(), expected);
        assert!(parse("{\"a\": Inf").is_err() && parse("\"\\").is_err());
    }

    #[test]
    fn infinities_are_written_as_python_writes_them() {
        let value = json!({"low": ["-Infinity", 0, 0.5], "high": "Infinity"});
        assert_eq!(to_python(&value), r#"{"high":Infinity,"low":[-Infinity,0,0.5]}"#);
    }
}
