//! The layout of the workspace: small files, one style of modules, and crates that depend downwards
//! only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from the lowest to the highest. Each depends only on crates before it.
const CRATES: [&str; 19] = [
    "checkpoint",
    "metrics",
    "parallel",
    "onnx",
    "env",
    "gymnasium",
    "core",
    "kernels",
    "catalog",
    "rl-module",
    "env-runner",
    "learner",
    "offline",
    "algorithms",
    "cli",
    "distributed/mpi",
    "python",
    "benches",
    "xtask",
];
const MAX_LINES: usize = 600;
const MAX_MEDIAN: usize = 170;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files under a directory.
fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn files_are_short_and_modules_are_not_named_mod() {
    let mut files = Vec::new();
    for name in CRATES {
        rust_files(&root().join(name).join("src"), &mut files);
    }
    for name in ["src", "tests", "examples"] {
        rust_files(&root().join(name), &mut files);
    }
    let mut all = files.clone();
    for tests in CRATES.map(|name| root().join(name).join("tests")) {
        if tests.exists() {
            rust_files(&tests, &mut all);
        }
    }
    for file in &all {
        // Cargo would build `tests/common.rs` and `examples/common.rs` as programs.
        let allowed = !file.ends_with("mod.rs") || file.ends_with("common/mod.rs");
        assert!(allowed, "{file:?}: name the file after its directory and move it next to it");
    }
    let mut lengths: Vec<_> = files
        .iter()
        .map(|file| (fs::read_to_string(file).unwrap().lines().count(), file))
        .collect();
    lengths.sort();
    let (longest, file) = lengths.last().unwrap();
    assert!(*longest <= MAX_LINES, "{file:?} has {longest} lines: split it");
    let median = lengths[lengths.len() / 2].0;
    assert!(median <= MAX_MEDIAN, "half of the files have more than {median} lines");
}

#[test]
fn the_crates_are_the_members_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("\nmembers = [").nth(1).and_then(|rest| rest.split(']').next());
    let members: BTreeSet<_> = members.unwrap().split('"').skip(1).step_by(2).collect();
    assert_eq!(members, BTreeSet::from(CRATES));
}

#[test]
fn crates_depend_only_on_crates_below() {
    for (floor, name) in CRATES.iter().enumerate() {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("rekindle-")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let below = CRATES[..floor].contains(&dependency);
            assert!(below, "`{name}` depends on `{dependency}`, which is not below it");
        }
    }
}

#[test]
fn every_package_that_is_published_says_what_it_is() {
    for name in CRATES.into_iter().filter(|name| !["python", "benches", "xtask"].contains(name)) {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        for part in [
            "description = ",
            "rust-version.workspace = true",
            "license.workspace = true",
            "readme = \"README.md\"",
            "[package.metadata.docs.rs]",
        ] {
            assert!(manifest.contains(part), "`{name}` has no `{part}`");
        }
        let readme = fs::read_to_string(root().join(name).join("README.md")).unwrap();
        assert!(readme.lines().count() >= 3, "the README of `{name}` has no line about it");
    }
}

#[test]
fn every_package_that_others_install_has_the_licenses() {
    for name in CRATES.into_iter().filter(|name| !["benches", "xtask"].contains(name)) {
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            // Links to the files of the root, which Cargo packs as files.
            let text = |folder: PathBuf| fs::read_to_string(folder.join(license)).unwrap();
            assert_eq!(text(root().join(name)), text(root()), "`{name}` has no {license}");
        }
    }
}
