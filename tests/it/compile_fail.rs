//! Compiler errors for mistakes in modules, encoders, catalogs and environments.
//!
//! Each file of `tests/compile_fail` holds one mistake and, in lines that begin with `// expect:`,
//! texts that the compiler's output must contain. `control.rs` holds no mistake and must compile.
//!
//! The test runs `rustc` with the libraries that it is linked with itself. A second Cargo project, which
//! crates for such tests create, would build Burn again. File names of libraries end in a hash that tests
//! do not know, and the directory may hold libraries with other features or of older sources. The newest
//! pair of libraries that compiles the control is the right one, because Cargo has just built it. Each file
//! takes a tenth of a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A compiler call that links this library and Burn.
struct Rustc {
    libraries: PathBuf,
    rekindle: PathBuf,
    burn: PathBuf,
    output: TempDir,
}

impl Rustc {
    fn find() -> Self {
        let test = std::env::current_exe().unwrap();
        let libraries = test.parent().unwrap().to_path_buf();
        let mut answers = String::new();
        for rekindle in newest_first(&libraries, "rekindle") {
            for burn in newest_first(&libraries, "burn") {
                let output = tempfile::tempdir().unwrap();
                let (libraries, rekindle) = (libraries.clone(), rekindle.clone());
                let rustc = Self { libraries, rekindle, burn, output };
                match rustc.compile(&file("control.rs")) {
                    Ok(()) => return rustc,
                    Err(answer) => answers += &answer,
                }
            }
        }
        panic!("the control compiles with none of the libraries in {libraries:?}\n{answers}")
    }

    /// Compiles a file. The error is the compiler's output.
    fn compile(&self, source: &Path) -> Result<(), String> {
        let library = |name: &str, path: &Path| format!("{name}={}", path.display());
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata"])
            .args(["--color", "never", "-L", &library("dependency", &self.libraries)])
            .args(["--extern", &library("rekindle", &self.rekindle)])
            .args(["--extern", &library("burn", &self.burn)])
            .arg("--out-dir")
            .arg(self.output.path())
            .arg(source)
            .output()
            .unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }
}

/// Returns the builds of a library in a directory, the newest first.
fn newest_first(folder: &Path, name: &str) -> Vec<PathBuf> {
    let is_build = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    };
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(is_build).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().modified().unwrap()));
    paths
}

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/compile_fail", name].iter().collect()
}

#[test]
fn every_mistake_is_named_with_what_to_write() {
    let rustc = Rustc::find();
    let mut mistakes = 0;
    for entry in fs::read_dir(file("")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("control.rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let expected: Vec<_> =
            source.lines().filter_map(|line| line.strip_prefix("// expect: ")).collect();
        assert!(!expected.is_empty(), "{path:?} does not say what to expect");
        let Err(answer) = rustc.compile(&path) else { panic!("{path:?} compiles") };
        for expected in expected {
            assert!(answer.contains(expected), "{path:?}: no `{expected}` in\n{answer}");
        }
        assert_eq!(answer.matches("\nerror[").count(), 0, "more than one error in\n{answer}");
        mistakes += 1;
    }
    assert!(mistakes >= 9, "{mistakes}");
}
