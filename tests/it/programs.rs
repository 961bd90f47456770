//! Examples and benchmarks print errors for people.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> impl Iterator<Item = PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { path.join("main.rs") } else { path })
}

/// Rust prints the error of `main` in its `Debug` form, which for `MainError` is its message.
#[test]
fn every_main_that_can_fail_returns_a_main_error() {
    let mut programs = 0;
    for path in sources("examples").chain(sources("benches/src/bin")) {
        let Ok(source) = fs::read_to_string(&path) else { continue };
        let Some(main) = source.lines().find(|line| line.contains("fn main()")) else { continue };
        assert!(main.contains("MainError") || !main.contains("->"), "{path:?}: `{main}`");
        programs += 1;
    }
    assert!(programs > 20, "{programs} programs found");
}

/// Warnings go nowhere in a program without a subscriber of `tracing`.
#[test]
fn every_example_shows_warnings_and_answers_help() {
    let mut programs = 0;
    for path in sources("examples") {
        let Ok(source) = fs::read_to_string(&path) else { continue };
        // A program for deployment has no more than it needs.
        let is_bare =
            ["plot_runs.rs", "deployed_policy.rs"].iter().any(|name| path.ends_with(name));
        if !source.contains("fn main()") || is_bare {
            continue;
        }
        let learns = source.contains("mod common;");
        assert!(learns || source.contains("program::show_warnings()"), "{path:?}: no warnings");
        let helps = ["Args::parse()", "program::no_arguments("];
        assert!(learns || helps.iter().any(|help| source.contains(help)), "{path:?}: no help");
        programs += 1;
    }
    assert!(programs > 20, "{programs} programs found");
}
