//! Tasks that train for a number of steps and are compared with published results.
//!
//! They need a Python with the packages of their environments. A run that was interrupted continues from its last
//! checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::peer::PeerRun;
use super::seeds::Seeds;
use crate::error::{Error, Result};
use crate::process;
use crate::statistics::{grouped, mean_and_deviation};

/// A task with a number of steps.
#[derive(Debug)]
pub(super) struct Budget {
    /// Name in `cargo xtask learn`, and of the configuration in `cli/configs`.
    pub(super) name: &'static str,
    pub(super) algorithm: &'static str,
    pub(super) env: &'static str,
    /// What others publish, as a sentence.
    pub(super) published: &'static str,
    /// Whether `xtask/peers/learning_sb3.py` trains it, too.
    pub(super) has_peer: bool,
}

pub(super) const BUDGETS: &[Budget] = &[
    Budget {
        name: "ppo-hopper",
        algorithm: "PPO",
        env: "Hopper-v5",
        published: "CleanRL reports 2383 ± 272 on Hopper-v4 after the same number of steps (3 seeds).",
        has_peer: true,
    },
    Budget {
        name: "ppo-half-cheetah",
        algorithm: "PPO",
        env: "HalfCheetah-v5",
        published: "CleanRL reports 1443 ± 46 on HalfCheetah-v4 after the same number of steps (3 seeds).",
        has_peer: true,
    },
    Budget {
        name: "ppo-walker2d",
        algorithm: "PPO",
        env: "Walker2d-v5",
        published: "CleanRL reports 2288 ± 572 on Walker2d-v4 after the same number of steps (3 seeds).",
        has_peer: true,
    },
    Budget {
        name: "sac-hopper",
        algorithm: "SAC",
        env: "Hopper-v5",
        published: "CleanRL reports 2310 ± 343 on Hopper-v4 after 1 000 000 steps (3 seeds).",
        has_peer: true,
    },
    Budget {
        name: "sac-half-cheetah",
        algorithm: "SAC",
        env: "HalfCheetah-v5",
        published: "CleanRL reports 9635 ± 1424 on HalfCheetah-v4 after 1 000 000 steps (3 seeds).",
        has_peer: true,
    },
    Budget {
        name: "ppo-pong",
        algorithm: "PPO",
        env: "ALE/Pong-v5",
        published: "CleanRL reports 20.36 ± 0.20 on PongNoFrameskip-v4 after 10 000 000 steps (3 seeds).",
        has_peer: false,
    },
];

/// The option of `rekindle resume` for runs in Python environments.
const ALLOW_PYTHON: &str = "--allow-python";

impl Budget {
    /// Returns the heading of the section in `docs/results.md`.
    pub(super) fn section(&self) -> String {
        format!("{} with {}", self.env, self.algorithm)
    }

    /// Returns the name of the plot.
    pub(super) fn figure(&self) -> String {
        format!("{}.svg", self.name.replace('-', "_"))
    }
}

/// A complete run of a task.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    seed: u64,
    /// The folder of the run.
    pub(super) folder: PathBuf,
    steps: u64,
    /// Mean return of the last 100 training episodes.
    training_return: f64,
    /// Mean and standard deviation of the returns of the greedy episodes.
    greedy_return: (f64, f64),
    wall_s: f64,
}

impl Run {
    const FILE: &str = "budget.json";

    /// Trains a seed, or continues it, unless it is complete and `resume` is set.
    pub(super) fn of(
        config: &Path,
        program: &Path,
        seed: u64,
        folder: &Path,
        resume: bool,
    ) -> Result<Self> {
        let record = folder.join(Self::FILE);
        if resume && let Ok(text) = fs::read_to_string(&record) {
            return serde_json::from_str(&text).map_err(|e| Error::malformed(record.display(), e));
        }
        let mut command = Command::new(program);
        match unfinished(folder).filter(|_| resume) {
            Some(run) => command.arg("resume").arg(run).arg(ALLOW_PYTHON),
            None => {
                command.arg("train").arg(config).arg("--runs").arg(folder);
                command.arg("--seed").arg(seed.to_string())
            }
        };
        let seen = process::observe(command.arg("--quiet"))?;
        process::check(&command, seen.status)?;
        let run = Self::read(seed, Path::new(seen.stdout.trim_end()))?;
        let text =
            serde_json::to_string(&run).map_err(|e| Error::malformed(record.display(), e))?;
        fs::write(&record, text).map_err(Error::io(&record))?;
        Ok(run)
    }

    /// Reads the folder of a run that has ended.
    fn read(seed: u64, folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<(PathBuf, String)> {
            let path = folder.join(name);
            let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
            Ok((path, text))
        };
        let last = |text: &str| -> Value {
            let line = text.lines().rfind(|line| !line.trim().is_empty());
            serde_json::from_str(line.unwrap_or_default()).unwrap_or_default()
        };
        let (path, text) = read("metrics.jsonl")?;
        let metrics = last(&text);
        let number = |key: &str| {
            let missing =
                || Error::malformed(path.display(), format!("no `{key}` in the last line"));
            metrics[key].as_f64().ok_or_else(missing)
        };
        let (evaluations, text) = read("evaluations.jsonl")?;
        let evaluation = last(&text);
        let of_evaluation = |key: &str| {
            let missing = || Error::malformed(evaluations.display(), format!("no `{key}`"));
            evaluation[key].as_f64().ok_or_else(missing)
        };
        Ok(Self {
            seed,
            folder: folder.to_owned(),
            steps: number("env_runners/num_env_steps_sampled_lifetime")? as u64,
            training_return: number("env_runners/episode_return_mean")?,
            greedy_return: (
                of_evaluation("episode_return_mean")?,
                of_evaluation("episode_return_std")?,
            ),
            wall_s: number("time_total_s")?,
        })
    }
}

/// Returns the folder of a run with a checkpoint, if there is one.
fn unfinished(folder: &Path) -> Option<PathBuf> {
    let algorithms = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let runs = algorithms.filter_map(|path| fs::read_dir(path).ok()).flatten();
    let runs = runs.filter_map(|entry| Some(entry.ok()?.path()));
    runs.filter(|run| run.join("checkpoints/latest").exists()).max()
}

/// Writes the section of a task.
///
/// `peers` are runs of another library, for rows of their own.
pub(super) fn section(budget: &Budget, runs: &[Run], peers: &[PeerRun], made: &str) -> String {
    let Budget { name, algorithm, env, published, .. } = budget;
    let mut text = format!(
        "{algorithm}, `cli/configs/{name}.toml`, with the whole number of steps. {published}\n\n\
         ![{algorithm} on {env}]({})\n\n\
         | seed | steps | mean return of the last 100 episodes | greedy return | training time |\n\
         |:---|---:|---:|---:|---:|\n",
        budget.figure()
    );
    for run in runs {
        let (mean, deviation) = run.greedy_return;
        text += &format!(
            "| {} | {} | {:.1} | {mean:.1} ± {deviation:.1} | {:.0} s |\n",
            run.seed,
            grouped(run.steps as f64),
            run.training_return,
            run.wall_s,
        );
    }
    let column = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<_>>();
    text += &format!(
        "| **mean ± std** | {} | {} | {} | {} |\n",
        mean_and_deviation(&column(|run| run.steps as f64), grouped),
        mean_and_deviation(&column(|run| run.training_return), |value| format!("{value:.1}")),
        mean_and_deviation(&column(|run| run.greedy_return.0), |value| format!("{value:.1}")),
        mean_and_deviation(&column(|run| run.wall_s), |value| format!("{value:.0} s")),
    );
    for run in peers {
        let (mean, deviation) = run.greedy_return;
        text += &format!(
            "| {}, seed {} | {} | {:.1} | {mean:.1} ± {deviation:.1} | {:.0} s |\n",
            run.system,
            run.seed,
            grouped(run.steps as f64),
            run.training_return,
            run.wall_s,
        );
    }
    format!("{text}\n{made}\n")
}

/// Trains all seeds of a task.
pub(super) fn train(
    budget: &Budget,
    program: &Path,
    seeds: &Seeds,
    out: &Path,
    resume: bool,
) -> Result<Vec<Run>> {
    let config = Path::new(super::CONFIGS).join(format!("{}.toml", budget.name));
    let run = |seed: u64| {
        let folder = out.join(budget.name).join(format!("seed-{seed}"));
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let started = std::time::Instant::now();
        let run = Run::of(&config, program, seed, &folder, resume)?;
        let wall = Duration::from_secs(started.elapsed().as_secs());
        eprintln!("{} seed {seed}: {:.1} after {wall:?}", budget.name, run.training_return);
        Ok(run)
    };
    seeds.iter().map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of_run(within: &Path) -> PathBuf {
        let folder = within.join("ppo/env__3__1");
        fs::create_dir_all(folder.join("checkpoints/latest")).unwrap();
        let line = |steps: u32, mean: f64| {
            format!(
                "{{\"env_runners/num_env_steps_sampled_lifetime\":{steps},\
                 \"env_runners/episode_return_mean\":{mean},\"time_total_s\":12.5}}\n"
            )
        };
        fs::write(folder.join("metrics.jsonl"), line(100, 1.0) + &line(200, 2.5)).unwrap();
        let evaluation = "{\"episode_return_mean\":3.5,\"episode_return_std\":0.5}\n";
        fs::write(folder.join("evaluations.jsonl"), evaluation).unwrap();
        folder
    }

    #[test]
    fn a_run_is_described_by_its_last_results() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder_of_run(temporary.path());
        assert_eq!(unfinished(temporary.path()), Some(folder.clone()));
        let run = Run::read(3, &folder).unwrap();
        assert_eq!((run.steps, run.training_return, run.greedy_return), (200, 2.5, (3.5, 0.5)));
        let peer = PeerRun {
            system: "Peer 1.0".to_owned(),
            seed: 4,
            steps: 300,
            training_return: 4.5,
            greedy_return: (5.5, 1.5),
            wall_s: 20.0,
        };
        let text = section(&BUDGETS[0], &[run], &[peer], "Made by a test.");
        assert!(text.contains("| Peer 1.0, seed 4 | 300 | 4.5 | 5.5 ± 1.5 | 20 s |"), "{text}");
        assert!(text.contains("| 3 | 200 | 2.5 | 3.5 ± 0.5 | 12 s |"), "{text}");
        assert!(text.contains("CleanRL reports 2383 ± 272"), "{text}");
    }

    #[test]
    fn the_program_has_the_option_that_allows_python() {
        let help = include_str!(
            "../../../cli/tests/cli/snapshots/cli__help__the_help_of_every_command_is_complete.snap"
        );
        assert!(help.contains(ALLOW_PYTHON));
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupted_run_continues_and_a_complete_one_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder_of_run(temporary.path());
        let program = temporary.path().join("rekindle");
        let script = format!("#!/bin/sh\n[ $1 = resume ] && echo {}\n", folder.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let run = |resume| Run::of(Path::new("a.toml"), &program, 3, temporary.path(), resume);
        assert!(run(false).is_err(), "the program was asked to train anew");
        assert_eq!(run(true).unwrap().steps, 200);
        fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
        assert_eq!(run(true).unwrap().greedy_return, (3.5, 0.5));
    }
}
