//! Settings that are one path or several.

use std::fmt;
use std::path::PathBuf;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

/// Deserializes a list of paths, or a single path: `input_ = "data"` or `input_ = ["data", "more"]`.
///
/// # Errors
/// If the value is neither.
pub fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    deserializer.deserialize_any(Paths)
}

struct Paths;

impl<'de> Visitor<'de> for Paths {
    type Value = Vec<PathBuf>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a path or a list of paths")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<Self::Value, E> {
        Ok(vec![path.into()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = list.next_element()? {
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;
    use serde_json::json;

    use crate::settings::from_value;

    #[derive(Debug, Deserialize)]
    struct Inputs {
        #[serde(default, deserialize_with = "super::paths")]
        input_: Vec<PathBuf>,
    }

    #[test]
    fn a_path_and_a_list_of_paths_are_read() {
        let read = |value| from_value::<Inputs>(&json!({ "input_": value }));
        assert_eq!(read(json!("a")).unwrap().input_, [PathBuf::from("a")]);
        let both = ["a", "b"].map(PathBuf::from);
        assert_eq!(read(json!(["a", "b"])).unwrap().input_, both);
        let message = read(json!(3)).unwrap_err().to_string();
        assert!(message.ends_with("expected a path or a list of paths"), "{message}");
        assert!(from_value::<Inputs>(&json!({})).unwrap().input_.is_empty());
    }
}
