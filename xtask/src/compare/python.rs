//! The Python environment of the peers: outside the repository, with pinned versions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use super::Peer;
use crate::error::{Error, Result};
use crate::process;

/// A virtual environment with the peers installed.
pub(super) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Creates the environment and installs the peers, unless they are installed already.
    ///
    /// pip's settings apply (`PIP_EXTRA_INDEX_URL`, `PIP_FIND_LINKS`, …). PyTorch's index of CPU builds
    /// makes the download much smaller.
    pub(super) fn prepare(peers: &[Peer]) -> Result<Self> {
        let environment = Self { folder: cache_folder()?.join("peers") };
        if environment.is_current(peers) {
            return Ok(environment);
        }
        eprintln!("installing the peers into {}", environment.folder.display());
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&environment.folder))?;
        let mut install = environment.python();
        install.args(["-m", "pip", "install", "--quiet"]);
        for file in requirements(peers) {
            install.arg("-r").arg(scripts().join(file));
        }
        // The standard output is reserved for reports.
        process::run(install.stdout(io::stderr()))?;
        for file in requirements(peers) {
            let stamp = environment.stamp(file);
            fs::copy(scripts().join(file), &stamp).map_err(Error::io(&stamp))?;
        }
        Ok(environment)
    }

    /// Returns the command of a peer's script, without arguments.
    pub(super) fn script(&self, name: &str) -> Command {
        let mut command = self.python();
        command.arg(scripts().join(name));
        command
    }

    fn python(&self) -> Command {
        let program = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        Command::new(self.folder.join(program))
    }

    /// Returns whether the pinned versions of all peers are installed.
    fn is_current(&self, peers: &[Peer]) -> bool {
        requirements(peers).all(|file| {
            let installed = fs::read(self.stamp(file)).ok();
            installed.is_some() && installed == fs::read(scripts().join(file)).ok()
        })
    }

    /// The copy of the requirements that were installed.
    fn stamp(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}

/// The directory with the peers' programs and requirements.
pub(super) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn requirements(peers: &[Peer]) -> impl Iterator<Item = &'static str> {
    peers.iter().filter_map(|peer| peer.requirements())
}

/// Returns `$XDG_CACHE_HOME/rekindle`, by default `~/.cache/rekindle`.
pub(super) fn cache_folder() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(cache.ok_or(Error::NoCacheFolder)?.join("rekindle"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_installed_again_when_their_versions_change() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment { folder: folder.path().to_owned() };
        assert!(!environment.is_current(&[Peer::Sb3]));
        let file = Peer::Sb3.requirements().unwrap();
        fs::copy(scripts().join(file), environment.stamp(file)).unwrap();
        assert!(environment.is_current(&[Peer::Sb3]));
        assert!(environment.is_current(&[Peer::Sb3, Peer::Thrust]));
        assert!(!environment.is_current(&[Peer::Sb3, Peer::Rllib]));
        fs::write(environment.stamp(file), "stable-baselines3==0.0\n").unwrap();
        assert!(!environment.is_current(&[Peer::Sb3]));
    }
}
