//! One run of a task and its results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::Task;
use crate::error::{Error, Result};
use crate::process;

/// Beginning of the line with the result of the greedy evaluation.
const GREEDY: &str = "greedy return";
const STEPS: &str = "env_runners/num_env_steps_sampled_lifetime";

/// The program that trains a task.
#[derive(Debug)]
pub(super) enum Program {
    /// A learning example.
    Example(PathBuf),
    /// `rekindle train` with a file of settings.
    Rekindle {
        /// The program.
        program: PathBuf,
        /// The file.
        config: PathBuf,
    },
}

/// The file in which `rekindle` leaves the result of the last evaluation.
#[derive(Deserialize)]
struct Results {
    mean_reward: f64,
    std_reward: f64,
}

/// The results of one seed.
#[derive(Debug)]
pub(super) struct Training {
    pub(super) seed: u64,
    /// The directory with `metrics.jsonl`.
    pub(super) folder: PathBuf,
    /// Environment steps until the threshold was reached, or `None` if it was not.
    pub(super) steps_to_threshold: Option<u64>,
    /// Mean return of the greedy episodes, and the standard deviation if the example prints it.
    pub(super) greedy_return: (f64, Option<f64>),
    pub(super) wall: Duration,
    /// Peak memory in bytes, or `None` where the system does not report it.
    pub(super) peak_memory: Option<u64>,
}

impl Training {
    /// Runs a task, unless its folder has a complete run and `resume` is set. Missing the threshold is a
    /// result; ending without results is an error.
    pub(super) fn run(
        task: &Task,
        program: &Program,
        seed: u64,
        folder: &Path,
        resume: bool,
    ) -> Result<Self> {
        let mut command = match program {
            Program::Example(example) => {
                let mut command = Command::new(example);
                command.args(task.choice).arg("--out").arg(folder);
                command
            }
            Program::Rekindle { program, config } => {
                let mut command = Command::new(program);
                command.arg("train").arg(config).arg("--quiet").arg("--runs").arg(folder);
                command
            }
        };
        command.arg("--seed").arg(seed.to_string());
        let earlier = if resume { Observed::read(folder)? } else { None };
        let (seen, status) = match earlier {
            Some(earlier) => (earlier, None),
            None => {
                let seen = process::observe(&mut command)?;
                let observed = Observed {
                    stdout: seen.stdout,
                    wall_s: seen.wall.as_secs_f64(),
                    peak_memory: seen.peak_memory,
                };
                (observed, Some(seen.status))
            }
        };
        let check = |command: &Command| match status {
            Some(status) => process::check(command, status),
            None => Ok(()),
        };
        let (run, greedy_return) = match program {
            Program::Example(_) => {
                let Some(greedy_return) = parse_greedy_return(&seen.stdout) else {
                    check(&command)?;
                    let problem = format!("expected a line `{GREEDY}, mean 100  MEAN ± DEVIATION`");
                    return Err(Error::malformed(task.example, problem));
                };
                (folder.to_owned(), greedy_return)
            }
            Program::Rekindle { .. } => {
                check(&command)?;
                // The program prints the folder of the run.
                let run = PathBuf::from(seen.stdout.trim_end());
                let path = run.join("results.json");
                let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
                let results: Results = serde_json::from_str(&text)
                    .map_err(|error| Error::malformed(path.display(), error))?;
                (run, (results.mean_reward, Some(results.std_reward)))
            }
        };
        if status.is_some() {
            seen.write(folder)?;
        }
        let path = run.join("metrics.jsonl");
        let metrics = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let steps_to_threshold = steps_to_threshold(&metrics, task.metric, task.threshold)
            .map_err(|problem| Error::malformed(path.display(), problem))?;
        Ok(Self {
            seed,
            folder: run,
            steps_to_threshold,
            greedy_return,
            wall: Duration::from_secs_f64(seen.wall_s),
            peak_memory: seen.peak_memory,
        })
    }
}

/// Output and cost of a complete run. The folder of the run keeps them for `--resume`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Observed {
    stdout: String,
    wall_s: f64,
    /// In bytes, or null where the system does not report it.
    peak_memory: Option<u64>,
}

impl Observed {
    const FILE: &str = "observed.json";

    /// Reads the record of a folder, or returns `None` if the folder has no complete run.
    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Error::malformed(path.display(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(Self::FILE);
        let text = serde_json::to_string(self).map_err(|e| Error::malformed(path.display(), e))?;
        fs::write(&path, text).map_err(Error::io(&path))
    }
}

/// Reads the line of the greedy evaluation, for example
/// `greedy return, mean 100        498.2  ± 7.1, min 455, max 500`. The part from `±` is optional.
fn parse_greedy_return(stdout: &str) -> Option<(f64, Option<f64>)> {
    let line = stdout.lines().rev().find(|line| line.starts_with(GREEDY))?;
    let (before, after) = line.split_once('±').unwrap_or((line, ""));
    let mean = before.split_whitespace().next_back()?.parse().ok()?;
    Some((mean, after.split(',').next()?.trim().parse().ok()))
}

/// Returns the environment steps of the first line of `metrics.jsonl` whose metric is at least
/// `threshold`.
fn steps_to_threshold(metrics: &str, metric: &str, threshold: f64) -> Result<Option<u64>, String> {
    /// A metric is null or absent until its first value, for example until the first episode ends.
    type Iteration = BTreeMap<String, Option<f64>>;
    for (index, line) in metrics.lines().enumerate() {
        let iteration: Iteration =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        let value = |key: &str| iteration.get(key).copied().flatten();
        if value(metric).is_some_and(|value| value >= threshold) {
            let steps = value(STEPS).ok_or_else(|| format!("line {}: no `{STEPS}`", index + 1))?;
            return Ok(Some(steps as u64));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: &str = "env_runners/episode_return_mean";
    const METRICS: &str = r#"{"training_iteration":1,"env_runners/num_env_steps_sampled_lifetime":1024,"env_runners/episode_return_mean":null}
{"training_iteration":2,"env_runners/num_env_steps_sampled_lifetime":2048}
{"training_iteration":3,"env_runners/num_env_steps_sampled_lifetime":3072.0,"env_runners/episode_return_mean":475.5}
{"training_iteration":4,"env_runners/num_env_steps_sampled_lifetime":4096,"env_runners/episode_return_mean":480}
"#;

    #[test]
    fn the_first_iteration_above_the_threshold_counts() {
        assert_eq!(steps_to_threshold(METRICS, RETURN, 475.0), Ok(Some(3072)));
        assert_eq!(steps_to_threshold(METRICS, RETURN, 500.0), Ok(None));
        assert_eq!(steps_to_threshold("", RETURN, 500.0), Ok(None));
    }

    #[test]
    fn a_broken_line_is_numbered() {
        let broken = METRICS.replacen("{\"training_iteration\":2", "{\"training", 1);
        assert!(steps_to_threshold(&broken, RETURN, 475.0).unwrap_err().starts_with("line 2:"));
    }

    #[test]
    fn the_greedy_return_is_read_from_the_table() {
        let stdout = "steps trained                 90112\n\
                      greedy return, mean 100      -178.2  ± 101.4, min -390, max -1\n\
                      solved: at least -300\n";
        assert_eq!(parse_greedy_return(stdout), Some((-178.2, Some(101.4))));
        assert_eq!(parse_greedy_return("greedy return, mean 100  7.5\n"), Some((7.5, None)));
        assert_eq!(parse_greedy_return("solved\n"), None);
    }

    #[cfg(unix)]
    #[test]
    fn an_example_is_run_and_read() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let example = folder.path().join("example");
        let script =
            "#!/bin/sh\necho \"greedy return, mean 100  480.0 ± 2.5, seed $4 in $2\"\nexit 1\n";
        fs::write(&example, script).unwrap();
        fs::set_permissions(&example, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("metrics.jsonl"), METRICS).unwrap();

        let program = Program::Example(example.clone());
        let run =
            |resume| Training::run(&super::super::TASKS[0], &program, 4, folder.path(), resume);
        let training = run(false).unwrap();
        assert_eq!((training.seed, training.steps_to_threshold), (4, Some(3072)));
        assert_eq!(training.greedy_return, (480.0, Some(2.5)));

        fs::write(&example, "#!/bin/sh\nexit 7\n").unwrap();
        let error = run(false).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        let resumed = run(true).unwrap();
        assert_eq!((resumed.wall, resumed.greedy_return), (training.wall, (480.0, Some(2.5))));

        // The program `rekindle` prints where its results are.
        let script = "#!/bin/sh\n[ \"$1 $2 $6 $7\" = 'train a.toml --seed 4' ] && echo $5\n";
        fs::write(&example, script).unwrap();
        fs::write(folder.path().join("results.json"), r#"{"mean_reward": 9.5, "std_reward": 0.5}"#)
            .unwrap();
        let program = Program::Rekindle { program: example, config: "a.toml".into() };
        let training =
            Training::run(&super::super::TASKS[0], &program, 4, folder.path(), false).unwrap();
        assert_eq!(
            (training.steps_to_threshold, training.greedy_return),
            (Some(3072), (9.5, Some(0.5)))
        );
        assert_eq!(training.folder, folder.path());
    }

    #[test]
    fn a_complete_run_is_kept_and_an_incomplete_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Observed::read(folder.path()).unwrap().is_none());
        let seen = Observed { stdout: "greedy return 1.0".into(), wall_s: 2.5, peak_memory: None };
        seen.write(folder.path()).unwrap();
        assert_eq!(Observed::read(folder.path()).unwrap(), Some(seen));
        fs::write(folder.path().join(Observed::FILE), "{").unwrap();
        let message = Observed::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("observed.json"), "{message}");
    }
}
