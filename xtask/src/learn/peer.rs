//! Runs of Stable-Baselines3 beside the tasks that train for a number of steps.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::budgets::Budget;
use super::seeds::Seeds;
use crate::error::{Error, Result};
use crate::process;
use crate::python::{VirtualEnvironment, peer_programs};

const PROGRAM: &str = "learning_sb3.py";
const REQUIREMENTS: [&str; 2] = ["requirements_gymnasium.txt", "requirements_sb3.txt"];

/// A complete run of Stable-Baselines3, as its program writes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PeerRun {
    /// Name and version.
    pub(super) system: String,
    pub(super) seed: u64,
    pub(super) steps: u64,
    /// Mean return of the last 100 training episodes.
    pub(super) training_return: f64,
    /// Mean and standard deviation of the returns of the greedy episodes.
    pub(super) greedy_return: (f64, f64),
    pub(super) wall_s: f64,
}

impl PeerRun {
    const FILE: &str = "result.json";

    /// Trains a seed with the program of the peer, or continues it, unless it is complete and `resume` is set.
    fn of(mut program: Command, folder: &Path, resume: bool) -> Result<Self> {
        let record = folder.join(Self::FILE);
        if !(resume && record.is_file()) {
            program.arg("--folder").arg(folder);
            if resume {
                program.arg("--resume");
            }
            let seen = process::observe(&mut program)?;
            process::check(&program, seen.status)?;
        }
        let text = fs::read_to_string(&record).map_err(Error::io(&record))?;
        serde_json::from_str(&text).map_err(|e| Error::malformed(record.display(), e))
    }
}

/// Trains all seeds of a task with Stable-Baselines3.
pub(super) fn train(
    budget: &Budget,
    seeds: &Seeds,
    out: &Path,
    resume: bool,
) -> Result<Vec<PeerRun>> {
    let environment = VirtualEnvironment::named("peers")?;
    environment.prepare(&REQUIREMENTS.map(|file| peer_programs().join(file)))?;
    let run = |seed: u64| {
        let folder = out.join(budget.name).join(format!("sb3-seed-{seed}"));
        let mut program = Command::new(environment.python());
        program.arg(peer_programs().join(PROGRAM)).arg(budget.name);
        program.arg("--seed").arg(seed.to_string());
        PeerRun::of(program, &folder, resume)
    };
    seeds.iter().map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_peer_exist() {
        for file in REQUIREMENTS.into_iter().chain([PROGRAM]) {
            assert!(peer_programs().join(file).is_file(), "{file}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_complete_run_is_kept_and_another_continues() {
        let temporary = tempfile::tempdir().unwrap();
        let record = temporary.path().join(PeerRun::FILE);
        let run = |script: &str, resume| {
            let mut program = Command::new("sh");
            program.args(["-c", script, "sh"]);
            PeerRun::of(program, temporary.path(), resume)
        };
        let result = |steps: u64| {
            format!(
                r#"echo '{{"system": "SB3", "seed": 0, "steps": {steps}, "training_return": 1.5,
                   "greedy_return": [2.0, 0.5], "wall_s": 3.0}}' > {}"#,
                record.display()
            )
        };
        let first = run(&format!("[ $# = 2 ] && {}", result(10)), false).unwrap();
        assert_eq!((first.steps, first.greedy_return), (10, (2.0, 0.5)));
        assert_eq!(run("exit 1", true).unwrap().steps, 10);
        assert!(run("exit 1", false).is_err());
        fs::remove_file(&record).unwrap();
        assert_eq!(run(&format!("[ $3 = --resume ] && {}", result(20)), true).unwrap().steps, 20);
    }
}
