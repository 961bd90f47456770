//! The names of a checkpoint's files, and the rule for names of components.
//!
//! A component's name is the name of a directory on every machine the checkpoint is copied to, and
//! a manifest is untrusted. Names that mean something to a file system are therefore rejected both
//! when saving and when reading. The rule follows RLlib's `ModuleID`, but is stricter on dots.

use crate::error::{CheckpointError, Result};

pub(super) const MANIFEST_FILE: &str = "manifest.json";
pub(super) const STATE_FILE: &str = "state.json";
pub(super) const TENSORS_FILE: &str = "tensors.safetensors";

/// Length of the longest name of a directory on common file systems.
const MAX_BYTES: usize = 255;

/// Device names of Windows; they are reserved with any extension and in any case.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Checks the name of a component: the name of a directory on every machine that the checkpoint may be copied
/// to.
///
/// # Errors
/// [`CheckpointError::InvalidName`] with the reason.
pub fn check_component(name: &str) -> Result<()> {
    match broken_rule(name) {
        None => Ok(()),
        Some(reason) => Err(CheckpointError::InvalidName { name: name.to_owned(), reason }),
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if name.is_empty() {
        Some("it is empty")
    } else if name.chars().any(|c| c.is_control() || r#"<>:"/\|?*"#.contains(c)) {
        Some(r#"it contains one of < > : " / \ | ? * or a control character"#)
    } else if name.len() > MAX_BYTES {
        Some("it has more than 255 bytes, which file systems refuse")
    } else if name.starts_with('.') {
        Some("it begins with a dot")
    } else if name.ends_with(['.', ' ']) {
        Some("it ends in a dot or a space")
    } else if [MANIFEST_FILE, STATE_FILE, TENSORS_FILE].contains(&lower.as_str()) {
        Some("it is the name of a file of the checkpoint")
    } else if is_device(lower.split('.').next().unwrap_or_default().trim_end()) {
        Some("it is the name of a device on Windows")
    } else {
        None
    }
}

fn is_device(stem: &str) -> bool {
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    DEVICES.contains(&stem)
        || port.is_some_and(|n| {
            let mut chars = n.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_ids_are_allowed() {
        for name in ["default_policy", "p0", "policy-1.5", "Ünïcode", "a b", "console", "com10"] {
            assert!(check_component(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_with_a_meaning_to_a_file_system_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "...",
            ".tmp",
            "a/b",
            "/a",
            "a\\b",
            "C:",
            "a\0",
            "a\n",
            "a.",
            "a ",
            "a*",
            "a?",
            "<a",
            "a>",
            "a|b",
            "\"a\"",
            "con",
            "NUL",
            "nul.txt",
            "Com1",
            "lpt9.x",
            "com¹",
            "aux .x",
            "manifest.json",
            "State.JSON",
            "tensors.safetensors",
        ] {
            let error = check_component(name).unwrap_err();
            assert!(matches!(error, CheckpointError::InvalidName { .. }), "{name:?}");
        }
    }
}
