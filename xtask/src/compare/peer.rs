//! The libraries to compare with.

use std::process::Command;

use clap::ValueEnum;

use super::python::Environment;
use super::rust;
use crate::error::Result;

/// A library to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Stable-Baselines3: PyTorch.
    Sb3,
    /// Ray RLlib, new API stack: PyTorch.
    Rllib,
    /// SBX: Stable-Baselines3's algorithms on JAX.
    Sbx,
    /// PyTorch alone, eager.
    Torch,
    /// thrust-rl: Rust, Burn.
    Thrust,
}

impl Peer {
    /// What pip installs, a file of `xtask/peers/`; `None` for peers in Rust.
    pub(super) fn requirements(self) -> Option<&'static str> {
        match self {
            Self::Sb3 => Some("requirements_sb3.txt"),
            Self::Rllib => Some("requirements_rllib.txt"),
            Self::Sbx => Some("requirements_sbx.txt"),
            Self::Torch => Some("requirements_torch.txt"),
            Self::Thrust => None,
        }
    }
}

/// A peer's program and the settings among which it gets its best one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) peer: Peer,
    /// A script of `xtask/peers/`, or the folder of a Rust project there.
    pub(super) program: &'static str,
    pub(super) args: &'static [&'static str],
    /// The likeliest to be best first; `--quick` tries no other.
    pub(super) settings: &'static [Setting],
}

/// How many processors a peer may use, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) label: &'static str,
    pub(super) args: &'static [&'static str],
}

const ONE: Setting = Setting { label: "1 thread", args: &["--threads", "1"] };
const TWO: Setting = Setting { label: "2 threads", args: &["--threads", "2"] };
const ONE_RUNNER: Setting = Setting { label: "1 env runner", args: &["--env-runners", "1"] };
const TWO_RUNNERS: Setting = Setting { label: "2 env runners", args: &["--env-runners", "2"] };

/// Settings of peers without processes of their own.
pub(super) const THREADS: &[Setting] = &[ONE, TWO];
/// Settings of SBX: JAX gains from a second thread.
pub(super) const JAX_THREADS: &[Setting] = &[TWO, ONE];
/// Settings of RLlib's algorithms; without env runners the driver samples.
pub(super) const RUNNERS: &[Setting] = &[ONE, TWO, ONE_RUNNER, TWO_RUNNERS];
/// The least memory.
pub(super) const LEAN: &[Setting] = &[ONE];

impl Entry {
    pub(super) const fn new(peer: Peer, program: &'static str) -> Self {
        Self { peer, program, args: &[], settings: THREADS }
    }

    pub(super) const fn args(mut self, args: &'static [&'static str]) -> Self {
        self.args = args;
        self
    }

    pub(super) const fn settings(mut self, settings: &'static [Setting]) -> Self {
        self.settings = settings;
        self
    }

    /// The program, ready for a setting and cases; builds it if it is in Rust.
    pub(super) fn command(&self, python: &Environment) -> Result<Command> {
        let mut command = match self.peer.requirements() {
            Some(_) => python.script(self.program),
            None => Command::new(rust::build(self.program)?),
        };
        command.args(self.args);
        Ok(command)
    }
}
