//! Peers in Rust: small projects outside the workspace, because they need other versions of crates.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::cargo::cargo;
use crate::error::Result;
use crate::process;
use crate::python::cache_folder;
use crate::python::peer_programs;

/// Builds a project of `xtask/peers/` into the cache directory and returns its executable.
pub(super) fn build(project: &str) -> Result<PathBuf> {
    let target = cache_folder()?.join(project);
    let mut build = cargo(&["build", "--release", "--locked", "--manifest-path"]);
    build.arg(peer_programs().join(project).join("Cargo.toml"));
    // The peer is built as its authors recommend, regardless of profile settings for this workspace.
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("CARGO_PROFILE_") {
            build.env_remove(key);
        }
    }
    process::run(build.env("CARGO_TARGET_DIR", &target).stdout(io::stderr()))?;
    let program = format!("{project}_peer{}", env::consts::EXE_SUFFIX);
    Ok(target.join("release").join(program))
}
