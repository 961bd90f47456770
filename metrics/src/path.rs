//! Metric keys: paths of non-empty segments separated by `/`.

use crate::error::{MetricsError, Result};

/// Separates the segments of a key.
pub(super) const SEPARATOR: char = '/';

/// Checks that `key` is a path of non-empty segments.
pub(super) fn check(key: &str) -> Result<()> {
    if key.split(SEPARATOR).any(str::is_empty) {
        return Err(MetricsError::InvalidKey { key: key.to_owned() });
    }
    Ok(())
}

/// Returns the path of `key` under `prefix`, where an empty prefix is the top level.
pub(super) fn join(prefix: &str, key: &str) -> String {
    let mut path = prefix.to_owned();
    extend(&mut path, key);
    path
}

/// Extends a path, which is empty at the top level, by `key`.
pub(super) fn extend(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push(SEPARATOR);
    }
    path.push_str(key);
}

/// Whether `key` is `path` itself or lies under it.
pub(super) fn is_at_or_under(key: &str, path: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_non_empty_segments() {
        for key in ["loss", "learners/default_policy/loss"] {
            assert!(check(key).is_ok(), "{key}");
        }
        for key in ["", "/loss", "loss/", "learners//loss"] {
            assert!(matches!(check(key), Err(MetricsError::InvalidKey { .. })), "{key}");
        }
    }

    #[test]
    fn only_whole_segments_count_as_a_prefix() {
        assert!(is_at_or_under("a/b", "a"));
        assert!(is_at_or_under("a", "a"));
        assert!(!is_at_or_under("ab", "a"));
    }
}
