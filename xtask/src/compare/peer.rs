//! Libraries to compare with.

use std::process::Command;

use clap::ValueEnum;

use super::python::Environment;
use super::rust;
use crate::error::Result;

/// A library to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Stable-Baselines3 (PyTorch)
    Sb3,
    /// Ray RLlib, new API stack (PyTorch)
    Rllib,
    /// SBX: Stable-Baselines3's algorithms on JAX
    Sbx,
    /// Eager PyTorch without an RL library
    Torch,
    /// thrust-rl (Rust, Burn)
    Thrust,
    /// CleanRL's single-file programs (PyTorch)
    Cleanrl,
    /// TorchRL (PyTorch)
    Torchrl,
    /// ModuRL (Rust, candle)
    Modurl,
    /// Gymnasium's AsyncVectorEnv: a process for each environment
    GymnasiumAsync,
    /// Gymnasium's SyncVectorEnv: all environments in one process
    GymnasiumSync,
    /// Two bare loops of Python side by side
    BareLoops,
    /// d3rlpy: offline algorithms (PyTorch)
    D3rlpy,
    /// PufferLib's vectors of processes
    Puffer,
}

impl Peer {
    /// The peers that are compared unless others are named. PufferLib installs on few versions of Python.
    pub(super) fn by_default() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|peer| *peer != Self::Puffer).collect()
    }

    /// The pip requirements file in `xtask/peers/`, or `None` for peers in Rust.
    pub(super) fn requirements(self) -> Option<&'static str> {
        match self {
            Self::Sb3 => Some("requirements_sb3.txt"),
            Self::Rllib => Some("requirements_rllib.txt"),
            Self::Sbx => Some("requirements_sbx.txt"),
            Self::Torch => Some("requirements_torch.txt"),
            Self::Cleanrl => Some("requirements_cleanrl.txt"),
            Self::Torchrl => Some("requirements_torchrl.txt"),
            Self::GymnasiumAsync | Self::GymnasiumSync | Self::BareLoops => {
                Some("requirements_gymnasium.txt")
            }
            Self::D3rlpy => Some("requirements_d3rlpy.txt"),
            Self::Puffer => Some("requirements_puffer.txt"),
            Self::Thrust | Self::Modurl => None,
        }
    }
}

/// A peer's program, and the settings to choose the best one from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) peer: Peer,
    /// A script of `xtask/peers/`, or the directory of a Rust project there.
    pub(super) program: &'static str,
    pub(super) args: &'static [&'static str],
    /// Settings, the most promising first. `--quick` uses the first only.
    pub(super) settings: &'static [Setting],
}

/// Number of threads or processes of a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) label: &'static str,
    pub(super) args: &'static [&'static str],
}

const ONE: Setting = Setting { label: "1 thread", args: &["--threads", "1"] };
const TWO: Setting = Setting { label: "2 threads", args: &["--threads", "2"] };
const ONE_RUNNER: Setting = Setting { label: "1 env runner", args: &["--env-runners", "1"] };
const TWO_RUNNERS: Setting = Setting { label: "2 env runners", args: &["--env-runners", "2"] };

/// Settings of peers that run in one process.
pub(super) const THREADS: &[Setting] = &[ONE, TWO];
/// Settings of SBX and of large networks, which gain from a second thread.
pub(super) const TWO_THREADS: &[Setting] = &[TWO, ONE];
/// Settings of RLlib's algorithms. Without env runners, the driver samples.
pub(super) const RUNNERS: &[Setting] = &[ONE, TWO, ONE_RUNNER, TWO_RUNNERS];
/// The setting of RLlib's asynchronous algorithms, which need env runners.
pub(super) const ASYNCHRONOUS: &[Setting] = &[TWO_RUNNERS];
/// The setting of vectors of environments, which have as many processes as they need.
pub(super) const PROCESSES: &[Setting] = &[Setting { label: "processes", args: &[] }];
/// Settings of Stable-Baselines3 in Python environments.
pub(super) const VECTORS: &[Setting] = &[
    Setting { label: "processes", args: &["--vector", "subproc", "--threads", "2"] },
    Setting { label: "one process", args: &["--vector", "dummy", "--threads", "2"] },
];
/// The setting with the least memory.
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

    /// Returns the command without setting and cases. Builds the program if it is in Rust.
    pub(super) fn command(&self, python: &Environment) -> Result<Command> {
        let mut command = match self.peer.requirements() {
            Some(_) => python.script(self.peer, self.program),
            None => Command::new(rust::build(self.program)?),
        };
        command.args(self.args);
        Ok(command)
    }
}
