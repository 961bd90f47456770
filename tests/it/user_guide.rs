//! The pages in `docs` name tests, files, methods and defaults that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rekindle::algorithms::{AppoTraining, CustomTraining, ImpalaTraining};
use rekindle::prelude::*;
use serde_json::{Map, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = ["docs", "docs/book"].into_iter().flat_map(|folder| {
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path())
    });
    let pages =
        docs.chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|p| root().join(p)));
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The links of a page: text and target.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("](").zip(text.split("](").skip(1)).filter_map(|(before, after)| {
        let text = before.rsplit_once('[').map_or(before, |(_, text)| text);
        Some((text, after.split_once(')')?.0))
    })
}

#[test]
fn every_link_to_a_file_leads_to_one_and_a_test_that_is_named_is_in_it() {
    let (mut files, mut names) = (0, 0);
    for (page, text) in pages() {
        for (label, target) in links(&text) {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{}: no file {target}", page.display());
            files += 1;
            // `a_name` in backticks is a function of the file, unless the file has this name.
            let name = label.trim_matches('`');
            let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let is_name = name.contains('_') && name.chars().all(of_name);
            let of_file = path.file_stem().is_some_and(|stem| stem == name);
            if label.starts_with('`') && is_name && !of_file && path.is_file() {
                let source = fs::read_to_string(&path).unwrap();
                assert!(source.contains(name), "{}: no `{name}` in {target}", page.display());
                names += 1;
            }
        }
    }
    assert!(files > 100 && names > 20, "{files} {names}");
}

/// Without `--locked`, `cargo install` takes the newest versions of dependencies, which no test has seen.
#[test]
fn programs_are_installed_with_the_versions_of_the_lock_file() {
    let mut count = 0;
    for (page, text) in pages() {
        for command in text.split("cargo install --path ").skip(1) {
            let command = command.split(['`', '\n']).next().unwrap();
            assert!(command.contains("--locked"), "{}: {command}", page.display());
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn code_in_the_book_is_part_of_tested_files() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut count = 0;
    for (page, text) in pages() {
        let folder = page.parent().unwrap();
        if folder.ends_with("docs") && text.contains("```rust") {
            // A test of the documentation runs the blocks of such a page.
            let name = page.file_name().unwrap().to_str().unwrap();
            let included = format!("#[doc = include_str!(\"../docs/{name}\")]");
            assert!(library.contains(&included), "{name} is not compiled");
        }
        if !folder.ends_with("docs/book") {
            continue;
        }
        for block in text.split("```rust").skip(1) {
            let (_, code) = block.split_once('\n').unwrap();
            let (code, _) = code.split_once("```").unwrap();
            for line in code.lines() {
                let include = line.strip_prefix("{{#include ").and_then(|l| l.strip_suffix("}}"));
                let include = include.unwrap_or_else(|| panic!("{}: {line}", page.display()));
                let (file, anchor) = include.rsplit_once(".rs").unwrap();
                let source = page.parent().unwrap().join(format!("{file}.rs"));
                let source =
                    fs::read_to_string(&source).unwrap_or_else(|e| panic!("{source:?}: {e}"));
                if let Some(anchor) = anchor.strip_prefix(':') {
                    for end in ["", "_END"] {
                        let mark = format!("// ANCHOR{end}: {anchor}\n");
                        assert_eq!(
                            source.matches(&mark).count(),
                            1,
                            "{}: {include}",
                            page.display()
                        );
                    }
                }
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count}");
}

/// The Rust files below a directory.
fn sources(directory: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, into);
        } else if is_source {
            into.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The methods that a page names as `Type::method`, outside of blocks of code.
fn methods(text: &str) -> BTreeSet<(String, String)> {
    let prose = text.split("```").step_by(2);
    let codes = prose.flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let pairs = codes.flat_map(|code| code.split("::").zip(code.split("::").skip(1)));
    let pairs = pairs.map(|(before, after)| {
        let name = before.rsplit(|c| !is_word(c)).next().unwrap_or_default();
        let method = after.split(|c| !is_word(c)).next().unwrap_or_default();
        (name.to_owned(), method.to_owned())
    });
    pairs
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter(|(_, method)| method.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// The directories of the crates that `rekindle` re-exports, which are its dependencies.
fn re_exported_crates() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.strip_prefix("rekindle-"));
    names.map(|line| line.split(['.', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn the_re_exported_crates_are_the_libraries_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("\nmembers = [").nth(1).and_then(|rest| rest.split(']').next());
    let members = members.unwrap().split('"').skip(1).step_by(2).map(str::to_owned);
    // They are built on `rekindle`.
    let programs = ["cli", "distributed/mpi", "python", "benches", "xtask"];
    let libraries: BTreeSet<_> = members.filter(|name| !programs.contains(&&**name)).collect();
    assert_eq!(re_exported_crates().into_iter().collect::<BTreeSet<_>>(), libraries);
}

#[test]
fn every_method_that_is_named_is_in_a_file_that_names_its_type() {
    let mut files = Vec::new();
    for name in re_exported_crates() {
        sources(&root().join(name).join("src"), &mut files);
    }
    let mut count = 0;
    for (page, text) in pages() {
        for (name, method) in methods(&text) {
            let declared = ["fn", "set"].map(|kind| format!("{kind} {method}"));
            let is_method = |source: &String| {
                source.contains(&name)
                    && declared.iter().any(|declared| {
                        let mut after = source.split(declared.as_str()).skip(1);
                        after.any(|after| after.starts_with(['(', '<', ':']))
                    })
            };
            assert!(files.iter().any(is_method), "{}: no `{name}::{method}`", page.display());
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// The settings, those of groups with dots between: `replay_buffer_config.capacity`.
fn defaults<T: serde::Serialize + Default>() -> Map<String, Value> {
    fn add(all: &mut Map<String, Value>, prefix: &str, settings: &Map<String, Value>) {
        for (name, value) in settings {
            let name = format!("{prefix}{name}");
            match value.as_object().filter(|group| !group.contains_key("type")) {
                Some(group) => add(all, &format!("{name}."), group),
                None => drop(all.insert(name, value.clone())),
            }
        }
    }
    let mut all = Map::new();
    add(&mut all, "", serde_json::to_value(T::default()).unwrap().as_object().unwrap());
    all
}

/// The tables of settings: of algorithms that learn from experience as it is sampled, of those that replay it, and of
/// those that learn from recorded data.
fn tables() -> [String; 3] {
    let mut ppo = defaults::<PpoTraining>();
    // Not written where it is unset.
    ppo.entry("target_kl").or_insert(Value::Null);
    let on_policy = [
        ("PPO", ppo),
        ("IMPALA", defaults::<ImpalaTraining>()),
        ("APPO", defaults::<AppoTraining>()),
        ("A2C", defaults::<A2cTraining>()),
        ("VPG", defaults::<VpgTraining>()),
        ("PQN", defaults::<PqnTraining>()),
        ("`from_loss`", defaults::<CustomTraining>()),
    ];
    let with_replay = [
        ("DQN", defaults::<DqnTraining>()),
        ("SAC", defaults::<SacTraining>()),
        ("TQC", defaults::<TqcTraining>()),
        ("TD3", defaults::<Td3Training>()),
        ("DDPG", defaults::<DdpgTraining>()),
    ];
    let offline = [
        ("BC", defaults::<BcTraining>()),
        ("MARWIL", defaults::<MarwilTraining>()),
        ("CQL", defaults::<CqlTraining>()),
        ("IQL", defaults::<IqlTraining>()),
        ("TD3+BC", defaults::<Td3BcTraining>()),
    ];
    [table(&on_policy), table(&with_replay), table(&offline)]
}

fn table(columns: &[(&str, Map<String, Value>)]) -> String {
    let names: BTreeSet<&String> = columns.iter().flat_map(|(_, column)| column.keys()).collect();
    let heads: Vec<_> = columns.iter().map(|(head, _)| *head).collect();
    let mut table =
        format!("| setting | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for name in names {
        let cells = columns.iter().map(|(_, column)| match column.get(name) {
            None => String::new(),
            Some(Value::Object(rule)) => rule["type"].as_str().unwrap().to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) => "none".to_owned(),
            Some(value) => value.to_string(),
        });
        let cells: Vec<_> = cells.collect();
        table += &format!("| `{name}` | {} |\n", cells.join(" | "));
    }
    table
}

#[test]
fn the_tables_of_settings_have_every_default() {
    let page = fs::read_to_string(root().join("docs/algorithms.md")).unwrap();
    let missing: Vec<_> = tables().into_iter().filter(|table| !page.contains(table)).collect();
    assert!(missing.is_empty(), "docs/algorithms.md should have:\n{}", missing.join("\n"));
}
