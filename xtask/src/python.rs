//! Virtual environments of Python with pinned packages, outside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::error::{Error, Result};
use crate::process;

/// The packages of the tests with Python.
const TEST_REQUIREMENTS: &str = "gymnasium/tests/python/requirements.txt";

/// A virtual environment. It is created when packages are first installed.
pub(crate) struct VirtualEnvironment {
    folder: PathBuf,
}

impl VirtualEnvironment {
    /// Returns the environment with this name in the cache directory.
    pub(crate) fn named(name: &str) -> Result<Self> {
        Ok(Self { folder: cache_folder()?.join(name) })
    }

    /// Installs the packages of these files, unless exactly these packages are installed already.
    ///
    /// pip's settings apply (`PIP_EXTRA_INDEX_URL`, `PIP_FIND_LINKS`, …). PyTorch's index of CPU builds
    /// makes the download of peers much smaller.
    pub(crate) fn prepare(&self, requirements: &[PathBuf]) -> Result<()> {
        if self.is_current(requirements) {
            return Ok(());
        }
        eprintln!("installing packages into {}", self.folder.display());
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&self.folder))?;
        let mut install = Command::new(self.python());
        install.args(["-m", "pip", "install", "--quiet"]);
        for file in requirements {
            install.arg("-r").arg(file);
        }
        // The standard output is reserved for reports.
        process::run(install.stdout(io::stderr()))?;
        for file in requirements {
            let stamp = self.stamp(file);
            fs::copy(file, &stamp).map_err(Error::io(&stamp))?;
        }
        Ok(())
    }

    /// Returns the interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    /// Returns whether the pinned versions of all packages are installed.
    fn is_current(&self, requirements: &[PathBuf]) -> bool {
        requirements.iter().all(|file| {
            let installed = fs::read(self.stamp(file)).ok();
            installed.is_some() && installed == fs::read(file).ok()
        })
    }

    /// The copy of the requirements that were installed.
    fn stamp(&self, file: &Path) -> PathBuf {
        self.folder.join(file.file_name().unwrap_or_default())
    }
}

/// The directory with the programs and requirements of other libraries.
pub(crate) fn peer_programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Returns `$XDG_CACHE_HOME/rekindle`, by default `~/.cache/rekindle`.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(cache.ok_or(Error::NoCacheFolder)?.join("rekindle"))
}

/// Returns an interpreter with the packages of the tests: that in the environment variable
/// `REKINDLE_PYTHON`, or a virtual environment. Without Python, it prints a warning.
pub(crate) fn provide_for_tests() -> Option<PathBuf> {
    if let Some(python) = env::var_os("REKINDLE_PYTHON").filter(|path| !path.is_empty()) {
        return Some(python.into());
    }
    if !cfg!(target_os = "linux") || !process::succeeds(Command::new("python3").arg("--version")) {
        eprintln!("\nwarning: skipping the tests with Python: they need Linux and `python3`");
        return None;
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(TEST_REQUIREMENTS);
    let prepared = VirtualEnvironment::named("python-tests").and_then(|environment| {
        environment.prepare(&[requirements])?;
        Ok(environment.python())
    });
    prepared
        .inspect_err(|error| {
            eprintln!(
                "\nwarning: skipping the tests with Python: {error}; name an interpreter that has the \
                 packages of {TEST_REQUIREMENTS} in REKINDLE_PYTHON"
            );
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_again_when_their_versions_change() {
        let folder = tempfile::tempdir().unwrap();
        let environment = VirtualEnvironment { folder: folder.path().join("venv") };
        fs::create_dir(&environment.folder).unwrap();
        let files = ["a.txt", "b.txt"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| fs::write(file, "numpy==2.0.0\n").unwrap());
        assert!(!environment.is_current(&files[..1]));
        fs::copy(&files[0], environment.stamp(&files[0])).unwrap();
        assert!(environment.is_current(&files[..1]));
        assert!(!environment.is_current(&files));
        fs::write(&files[0], "numpy==2.0.1\n").unwrap();
        assert!(!environment.is_current(&files[..1]));
    }
}
