//! The recordings that tasks learn from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process;

/// The directory that the configurations in `cli/configs` name.
const FOLDER: &str = "runs/recordings";

/// Recorded steps of a policy.
#[derive(Debug)]
pub(super) struct Recording {
    /// Name of its directory.
    pub(super) name: &'static str,
    /// The steps and their policy, in words.
    pub(super) about: &'static str,
    /// Arguments of `rekindle train` and, if they are not empty, of `rekindle resume` after it. The last of the two
    /// records.
    train: &'static [&'static str],
    resume: &'static [&'static str],
}

pub(super) const EXPERT: Recording = Recording {
    name: "cartpole-expert",
    about: "20 000 steps of PPO after 150 000 steps of training",
    train: &["cartpole", "--set", "run.stop_value=1000", "--steps", "150_000"],
    resume: &["--steps", "170_000"],
};

pub(super) const NOVICE: Recording = Recording {
    name: "cartpole-novice",
    about: "40 000 steps of DQN before its first update, with an ε of 0.1",
    train: &[
        "DQN",
        "CartPole-v1",
        "--steps",
        "40_000",
        "--set",
        "training.num_steps_sampled_before_learning_starts=40_000",
        "--set",
        "training.epsilon=0.1",
    ],
    resume: &[],
};

pub(super) const REPLAY: Recording = Recording {
    name: "pendulum-replay",
    about: "the first 10 000 steps of SAC",
    train: &[
        "sac-pendulum",
        "--steps",
        "10_000",
        "--set",
        "run.stop_value=0",
        "--set",
        "model_config.fcnet_hiddens=[64,64]",
        "--set",
        "training.train_batch_size=64",
    ],
    resume: &[],
};

pub(super) const START: Recording = Recording {
    name: "pendulum-start",
    about: "the first 3 000 steps of SAC",
    train: &[
        "sac-pendulum",
        "--steps",
        "3_000",
        "--set",
        "run.stop_value=0",
        "--set",
        "model_config.fcnet_hiddens=[64,64]",
        "--set",
        "training.train_batch_size=64",
    ],
    resume: &[],
};

impl Recording {
    /// Seed of all recordings, which no task learns with.
    const SEED: &str = "100";

    /// Returns the directory of the recording, and records into it unless it exists.
    pub(super) fn make(&self, program: &Path) -> Result<PathBuf> {
        let path = Path::new(FOLDER).join(self.name);
        if path.is_dir() {
            return Ok(path);
        }
        // Beside the directory until it is complete.
        let (partial, runs) = (path.with_extension("partial"), path.with_extension("run"));
        for old in [&partial, &runs].into_iter().filter(|old| old.exists()) {
            fs::remove_dir_all(old).map_err(Error::io(old))?;
        }
        let output = format!("env_runners.output={:?}", partial.display().to_string());
        let mut train = Command::new(program);
        train.arg("train").args(self.train).args(["--seed", Self::SEED, "--quiet"]);
        train.arg("--runs").arg(&runs);
        if self.resume.is_empty() {
            process::run(train.args(["--set", &output]))?;
        } else {
            let folder = process::capture(&mut train)?;
            let mut resume = Command::new(program);
            resume.arg("resume").arg(folder.trim_end()).args(self.resume);
            process::run(resume.args(["--quiet", "--set", &output]))?;
        }
        fs::rename(&partial, &path).map_err(Error::io(&path))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_those_that_the_configurations_read() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/configs");
        for task in super::super::recorded::TASKS.iter().filter(|task| task.has_config()) {
            let text = fs::read_to_string(configs.join(format!("{}.toml", task.name))).unwrap();
            let line = text.lines().find(|line| line.starts_with("input_ =")).unwrap();
            let read: Vec<_> = line.split('"').skip(1).step_by(2).collect();
            let made = task.recordings.iter().map(|of| format!("{FOLDER}/{}", of.name));
            assert_eq!(read, made.collect::<Vec<_>>(), "{}", task.name);
        }
    }
}
