//! Functions that the fuzz targets share.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Creates an empty directory for this process, in memory where the system has one.
pub fn folder(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = parent.join(format!("rekindle-fuzz-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a directory for the files of the fuzzer");
    folder
}

/// Returns the last lines of a manifest. Without the right digest, readers ignore the rest.
pub fn seal(text: &[u8]) -> Vec<u8> {
    format!("  \"sha256\": \"{}\"\n}}\n", sha256(text)).into_bytes()
}

/// Returns the manifest of a component that has these data and nothing else.
pub fn manifest_of_data(data: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "{{\n  \"format\": \"rekindle-checkpoint\",\n  \"format_version\": 1,\n  \
         \"library_version\": \"\",\n  \"files\": [\n    {{\n      \"name\": \"state.json\",\n      \
         \"bytes\": {},\n      \"sha256\": \"{}\"\n    }}\n  ],\n  \"components\": [],\n",
        data.len(),
        sha256(data),
    )
    .into_bytes();
    let seal = seal(&text);
    text.extend(seal);
    text
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
