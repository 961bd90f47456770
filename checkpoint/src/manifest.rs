//! `manifest.json`: the contents of one component's directory.
//!
//! A manifest lists the component's own files by length and SHA-256, and its components by the SHA-256 of
//! their manifests. So the root manifest covers every byte of the tree (a Merkle tree), and each directory
//! can be loaded alone. A manifest ends with a digest of itself, because no other file covers the manifest
//! of the directory that is loaded.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{CheckpointError, Result};
use crate::name::{STATE_FILE, TENSORS_FILE, check_component};

/// Maximum size in bytes of a manifest, and of the header of a tensor file: some 100 000 entries.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024 * 1024;

/// Maximum depth of components below a root.
pub(super) const MAX_DEPTH: usize = 32;

const FORMAT: &str = "rekindle-checkpoint";
const FORMAT_VERSION: u64 = 1;

/// The text around the last entry of a manifest, the digest of all lines before it.
const SEAL_START: &str = "  \"sha256\": \"";
const SEAL_END: &str = "\"\n}\n";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: String,
    format_version: u64,
    /// For information; reading does not depend on it.
    library_version: String,
    pub(super) files: Vec<FileEntry>,
    pub(super) components: Vec<ComponentEntry>,
}

/// The entries that the manifests of every format version have.
#[derive(Deserialize)]
struct Header {
    format: String,
    format_version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) name: FileName,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

/// The files that a component may have. A manifest cannot name others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum FileName {
    #[serde(rename = "state.json")]
    State,
    #[serde(rename = "tensors.safetensors")]
    Tensors,
}

impl FileName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::State => STATE_FILE,
            Self::Tensors => TENSORS_FILE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComponentEntry {
    pub(super) name: String,
    /// The digest of the component's manifest.
    pub(super) sha256: Digest,
    /// Whether the component was saved as a shard. Absent in older checkpoints.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) shard: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Manifest {
    /// Creates a manifest of this library version. Both lists must be sorted by name.
    pub(super) fn new(files: Vec<FileEntry>, components: Vec<ComponentEntry>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            library_version: env!("CARGO_PKG_VERSION").to_owned(),
            files,
            components,
        }
    }

    pub(super) fn component(&self, name: &str) -> Option<&ComponentEntry> {
        self.components.iter().find(|entry| entry.name == name)
    }

    /// Returns the bytes of the manifest's file.
    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        // Reopen the object to append the digest as its last entry.
        bytes.truncate(bytes.len() - "\n}".len());
        bytes.extend_from_slice(b",\n");
        let seal = Digest::of(&bytes);
        bytes.extend_from_slice(format!("{SEAL_START}{seal}{SEAL_END}").as_bytes());
        Ok(bytes)
    }

    /// Parses the bytes of a manifest's file. The `path` appears only in messages.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let malformed = |reason| CheckpointError::malformed(path, reason);

        let header: Header = serde_json::from_slice(bytes).map_err(malformed)?;
        if header.format != FORMAT {
            let path = path.to_path_buf();
            return Err(CheckpointError::UnknownFormat { path, found: header.format });
        }
        if header.format_version != FORMAT_VERSION {
            return Err(CheckpointError::UnsupportedVersion {
                path: path.to_path_buf(),
                found: header.format_version,
                supported: FORMAT_VERSION,
            });
        }
        if !is_sealed(bytes) {
            return Err(CheckpointError::ChecksumMismatch { path: path.to_path_buf() });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Checks names and order. Strictly ascending lists exclude duplicates as well.
    fn check(&self, path: &Path) -> Result<()> {
        for entry in &self.components {
            check_component(&entry.name).map_err(|e| CheckpointError::malformed(path, e))?;
        }
        let sorted = self.files.is_sorted_by(|a, b| a.name < b.name)
            && self.components.is_sorted_by(|a, b| a.name < b.name);
        if sorted {
            Ok(())
        } else {
            Err(CheckpointError::malformed(path, "an entry is repeated or out of order"))
        }
    }
}

/// Whether the bytes end with the digest of the lines before it.
fn is_sealed(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_suffix(SEAL_END.as_bytes()) else { return false };
    let Some((rest, digest)) = rest.split_last_chunk::<{ Digest::HEX_LEN }>() else { return false };
    let Some(covered) = rest.strip_suffix(SEAL_START.as_bytes()) else { return false };
    Digest::from_hex(digest) == Some(Digest::of(covered))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Manifest {
        let sha256 = Digest::of(b"abc");
        let files = vec![
            FileEntry { name: FileName::State, bytes: 2, sha256 },
            FileEntry { name: FileName::Tensors, bytes: 80, sha256 },
        ];
        let component =
            |name: &str| ComponentEntry { name: name.to_owned(), sha256, shard: name == "b" };
        Manifest::new(files, vec![component("a"), component("b")])
    }

    fn decode(bytes: &[u8]) -> Result<Manifest> {
        Manifest::decode(Path::new("manifest.json"), bytes)
    }

    #[test]
    fn the_text_is_fixed() {
        let mut manifest = Manifest::new(vec![], vec![]);
        manifest.library_version = "0.1.0".to_owned();
        let text = String::from_utf8(manifest.encode().unwrap()).unwrap();
        let expected = r#"{
  "format": "rekindle-checkpoint",
  "format_version": 1,
  "library_version": "0.1.0",
  "files": [],
  "components": [],
  "sha256": "SEAL"
}
"#;
        let covered = &expected[..expected.find("  \"sha256\"").unwrap()];
        let seal = Digest::of(covered.as_bytes()).to_string();
        assert_eq!(text, expected.replace("SEAL", &seal));
        assert_eq!(decode(text.as_bytes()).unwrap(), manifest);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = example().encode().unwrap();
        assert_eq!(decode(&bytes).unwrap(), example());
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << bit;
                assert!(decode(&changed).is_err(), "byte {i}, bit {bit}");
            }
            assert!(decode(&bytes[..i]).is_err());
        }
    }

    #[test]
    fn a_well_sealed_manifest_can_still_be_refused() {
        for change in [
            |m: &mut Manifest| m.components[0].name = "..".to_owned(),
            |m: &mut Manifest| m.components[0].name = "/etc".to_owned(),
            |m: &mut Manifest| m.components[0].name = "b".to_owned(),
            |m: &mut Manifest| m.components.reverse(),
            |m: &mut Manifest| m.files[0].name = FileName::Tensors,
        ] {
            let mut manifest = example();
            change(&mut manifest);
            let error = decode(&manifest.encode().unwrap()).unwrap_err();
            assert!(matches!(error, CheckpointError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn other_formats_and_versions_are_told_apart_from_damage() {
        let decode = |text: &str| decode(text.as_bytes()).unwrap_err();
        let error = decode(r#"{"format": "torch", "format_version": 1}"#);
        assert!(matches!(error, CheckpointError::UnknownFormat { .. }));
        let error = decode(r#"{"format": "rekindle-checkpoint", "format_version": 2}"#);
        assert!(matches!(error, CheckpointError::UnsupportedVersion { found: 2, .. }));
        let error = decode(r#"{"format": "rekindle-checkpoint", "format_version": 1}"#);
        assert!(matches!(error, CheckpointError::ChecksumMismatch { .. }));
        let error = decode(r#"{"name": "a web application"}"#);
        assert!(matches!(error, CheckpointError::Malformed { .. }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(decode(&bytes).is_err());
        }

        /// Keeps the JSON and the seal valid, so that the later checks are reached.
        #[test]
        fn arbitrary_entries_never_panic(name in ".*", bytes: u64, twice: bool) {
            let mut manifest = example();
            manifest.components[0].name = name;
            manifest.files[0].bytes = bytes;
            if twice {
                manifest.files.extend(manifest.files.clone());
            }
            let _ = decode(&manifest.encode().unwrap());
        }
    }
}
