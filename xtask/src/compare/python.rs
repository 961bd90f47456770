//! The Python environment of the peers: outside the repository, with pinned versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Peer;
use crate::error::Result;
use crate::python::VirtualEnvironment;

/// A virtual environment with the peers installed.
pub(super) struct Environment(VirtualEnvironment);

impl Environment {
    /// Creates the environment and installs the peers, unless they are installed already.
    pub(super) fn prepare(peers: &[Peer]) -> Result<Self> {
        let environment = VirtualEnvironment::named("peers")?;
        environment.prepare(&requirements(peers))?;
        Ok(Self(environment))
    }

    /// Returns the command of a peer's script, without arguments.
    pub(super) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.python());
        command.arg(scripts().join(name));
        command
    }
}

/// The directory with the peers' programs and requirements.
pub(super) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Returns the requirements files of these peers. Peers without Python have none.
fn requirements(peers: &[Peer]) -> Vec<PathBuf> {
    peers.iter().filter_map(|peer| Some(scripts().join(peer.requirements()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_without_python_need_no_packages() {
        assert!(requirements(&[Peer::Thrust]).is_empty());
        let files = requirements(&[Peer::Sb3, Peer::Thrust, Peer::Rllib]);
        assert!(files.len() == 2 && files.iter().all(|file| file.is_file()));
    }
}
