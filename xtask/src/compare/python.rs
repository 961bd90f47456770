//! The Python environment of the peers: outside the repository, with pinned versions.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::Peer;
use crate::error::Result;
use crate::python::{VirtualEnvironment, peer_programs};

/// Virtual environments with the peers installed.
pub(super) struct Environment {
    peers: VirtualEnvironment,
    /// PufferLib and d3rlpy need other versions than the others.
    puffer: VirtualEnvironment,
    d3rlpy: VirtualEnvironment,
}

impl Environment {
    /// Creates the environment and installs the peers, unless they are installed already.
    pub(super) fn prepare(peers: &[Peer]) -> Result<Self> {
        let environment = Self {
            peers: VirtualEnvironment::named("peers")?,
            puffer: VirtualEnvironment::named("peers-puffer")?,
            d3rlpy: VirtualEnvironment::named("peers-d3rlpy")?,
        };
        for peer in [Peer::Puffer, Peer::D3rlpy] {
            if peers.contains(&peer) {
                environment.of(peer).prepare(&requirements(&[peer]))?;
            }
        }
        // rekindle's side steps environments of the Gymnasium of the others.
        let others = peers.iter().map(|peer| match peer {
            Peer::Puffer | Peer::D3rlpy => Peer::GymnasiumSync,
            other => *other,
        });
        environment.peers.prepare(&requirements(&others.collect::<Vec<_>>()))?;
        Ok(environment)
    }

    /// Returns the interpreter of rekindle's side.
    pub(super) fn interpreter(&self) -> PathBuf {
        self.peers.python()
    }

    /// Returns the command of a peer's script, without arguments.
    pub(super) fn script(&self, peer: Peer, name: &str) -> Command {
        let mut command = Command::new(self.of(peer).python());
        command.arg(peer_programs().join(name));
        command
    }

    /// Returns the environment of a peer.
    fn of(&self, peer: Peer) -> &VirtualEnvironment {
        match peer {
            Peer::Puffer => &self.puffer,
            Peer::D3rlpy => &self.d3rlpy,
            _ => &self.peers,
        }
    }
}

/// Returns the requirements files of these peers. Peers without Python have none.
fn requirements(peers: &[Peer]) -> Vec<PathBuf> {
    // Several peers may share a file.
    let files = peers.iter().filter_map(|peer| Some(peer_programs().join(peer.requirements()?)));
    files.collect::<BTreeSet<_>>().into_iter().collect()
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
