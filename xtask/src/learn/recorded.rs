//! Tasks that learn from recordings for a number of updates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::recordings::{EXPERT, NOVICE, REPLAY, Recording, START};
use super::seeds::Seeds;
use super::tasks::{EVALUATION_RETURN, Task};
use super::training::{Program, Training};
use crate::error::{Error, Result};
use crate::process;
use crate::statistics::Spread;

/// A task that learns from recordings.
#[derive(Debug)]
pub(super) struct RecordedTask {
    /// Name in `cargo xtask learn`, and of the configuration in `cli/configs`.
    pub(super) name: &'static str,
    pub(super) algorithm: &'static str,
    pub(super) env: &'static str,
    /// What it learns from.
    pub(super) recordings: &'static [&'static Recording],
    pub(super) goal: Goal,
}

/// What the greedy returns of the last policies must show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// Their median over seeds is at least this.
    AtLeast(f64),
    /// A control: their median stays below this.
    Below(f64),
    /// Their median over seeds is higher than before this number of steps in the environment. The task is learned by an
    /// example.
    Improves { example: &'static str, steps: &'static str },
}

use Goal::{AtLeast, Below, Improves};

pub(super) const TASKS: &[RecordedTask] = &[
    RecordedTask {
        name: "bc-cartpole",
        algorithm: "BC",
        env: "CartPole-v1",
        recordings: &[&EXPERT],
        goal: AtLeast(450.0),
    },
    RecordedTask {
        name: "bc-cartpole-mixture",
        algorithm: "BC",
        env: "CartPole-v1",
        recordings: &[&EXPERT, &NOVICE],
        goal: Below(250.0),
    },
    RecordedTask {
        name: "marwil-cartpole-mixture",
        algorithm: "MARWIL",
        env: "CartPole-v1",
        recordings: &[&EXPERT, &NOVICE],
        goal: AtLeast(350.0),
    },
    RecordedTask {
        name: "cql-cartpole-mixture",
        algorithm: "Discrete CQL",
        env: "CartPole-v1",
        recordings: &[&EXPERT, &NOVICE],
        goal: AtLeast(400.0),
    },
    RecordedTask {
        name: "iql-pendulum",
        algorithm: "IQL",
        env: "Pendulum-v1",
        recordings: &[&REPLAY],
        goal: AtLeast(-200.0),
    },
    RecordedTask {
        name: "cql-pendulum",
        algorithm: "CQL",
        env: "Pendulum-v1",
        recordings: &[&REPLAY],
        goal: AtLeast(-300.0),
    },
    RecordedTask {
        name: "iql-pendulum-online",
        algorithm: "IQL",
        env: "Pendulum-v1",
        recordings: &[&START],
        goal: Improves { example: "offline_to_online", steps: "10 000" },
    },
];

/// The results of one seed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    seed: u64,
    /// Mean greedy return from recordings, and after learning on in the environment.
    returns: Vec<f64>,
    wall_s: f64,
    peak_memory: Option<u64>,
}

impl RecordedTask {
    /// Whether the program `rekindle` learns the task.
    #[cfg(test)]
    pub(super) fn has_config(&self) -> bool {
        !matches!(self.goal, Improves { .. })
    }

    /// Returns the heading of the section in `docs/results.md`.
    pub(super) fn section(&self) -> String {
        let Self { env, algorithm, .. } = self;
        match self.goal {
            Improves { .. } => format!("{env} with {algorithm}, from recordings and online"),
            _ if self.recordings.len() > 1 => format!("{env} with {algorithm}, from a mixture"),
            _ => format!("{env} with {algorithm}, from recordings"),
        }
    }

    /// Learns all seeds.
    pub(super) fn learn(
        &self,
        program: &Path,
        example: Option<&Path>,
        seeds: &Seeds,
        out: &Path,
        resume: bool,
    ) -> Result<Vec<Run>> {
        let data = self.recordings.iter().map(|recording| recording.make(program));
        let data: Vec<PathBuf> = data.collect::<Result<_>>()?;
        let folder = |seed: u64| out.join(self.name).join(format!("seed-{seed}"));
        match example {
            Some(example) => {
                let run = |seed| self.by_example(example, &data, seed, &folder(seed), resume);
                seeds.iter().map(run).collect()
            }
            None => {
                let config = Path::new(super::CONFIGS).join(format!("{}.toml", self.name));
                let program = Program::Rekindle { program: program.to_owned(), config };
                let task = self.task();
                let run = |seed| {
                    let training = Training::run(&task, &program, seed, &folder(seed), resume)?;
                    Ok(Run {
                        seed,
                        returns: vec![training.greedy_return.0],
                        wall_s: training.wall.as_secs_f64(),
                        peak_memory: training.peak_memory,
                    })
                };
                seeds.iter().map(run).collect()
            }
        }
    }

    fn by_example(
        &self,
        example: &Path,
        data: &[PathBuf],
        seed: u64,
        folder: &Path,
        resume: bool,
    ) -> Result<Run> {
        let record = folder.join("run.json");
        if resume && let Ok(text) = fs::read_to_string(&record) {
            return serde_json::from_str(&text).map_err(|e| Error::malformed(record.display(), e));
        }
        let mut command = Command::new(example);
        command.args(data).arg("--seed").arg(seed.to_string());
        let seen = process::observe(&mut command)?;
        process::check(&command, seen.status)?;
        let returns = greedy_returns(&seen.stdout);
        if returns.len() != 2 {
            let problem = "expected two lines `greedy return …  MEAN`";
            return Err(Error::malformed(example.display(), problem));
        }
        let (wall_s, peak_memory) = (seen.wall.as_secs_f64(), seen.peak_memory);
        let run = Run { seed, returns, wall_s, peak_memory };
        let text =
            serde_json::to_string(&run).map_err(|e| Error::malformed(record.display(), e))?;
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        fs::write(&record, text).map_err(Error::io(&record))?;
        Ok(run)
    }

    fn task(&self) -> Task {
        Task {
            name: self.name,
            example: "",
            choice: None,
            algorithm: self.algorithm,
            env: self.env,
            section: "",
            metric: EVALUATION_RETURN,
            // It is the last policy that counts, and no step is sampled.
            threshold: f64::INFINITY,
            max_steps: u64::MAX,
        }
    }

    /// Whether the runs show what they must.
    pub(super) fn is_reached(&self, runs: &[Run]) -> bool {
        let median = |index: usize| {
            let of_run = |run: &Run| run.returns.get(index).copied().unwrap_or(f64::NAN);
            Spread::of(&runs.iter().map(of_run).collect::<Vec<_>>()).median
        };
        match self.goal {
            AtLeast(bar) => median(0) >= bar,
            Below(bar) => median(0) < bar,
            Improves { .. } => median(1) > median(0),
        }
    }

    /// Writes a row per seed, and the median over seeds.
    pub(super) fn describe(&self, runs: &[Run], made: &str) -> String {
        let Self { name, algorithm, goal, .. } = self;
        let source = match goal {
            Improves { example, .. } => format!("examples/{example}.rs"),
            _ => format!("cli/configs/{name}.toml"),
        };
        let data = self.recordings.iter().map(|of| format!("`{}` ({})", of.name, of.about));
        let data = data.collect::<Vec<_>>().join(" and ");
        let expected = match goal {
            AtLeast(bar) => {
                format!("The median greedy return of the last policies must reach {bar}")
            }
            Below(bar) => format!(
                "The task shows what is not learned: the median greedy return of the last policies stays below {bar}"
            ),
            Improves { steps, .. } => {
                format!(
                    "The median greedy return must be higher after {steps} steps in the environment"
                )
            }
        };
        let verdict = if self.is_reached(runs) { "reached" } else { "not reached" };
        let returns = match goal {
            Improves { steps, .. } => {
                vec!["greedy return from recordings".into(), format!("after {steps} steps")]
            }
            _ => vec!["greedy return".to_owned()],
        };
        let (count, heads) = (returns.len(), returns.join(" | "));
        let mut text = format!(
            "{algorithm}, `{source}`, from {data}. {expected}: {verdict}.\n\n\
             | seed | {heads} | wall time | peak memory |\n|:---|{}---:|---:|\n",
            "---:|".repeat(count)
        );
        let row = |head: &str, returns: &[f64], wall: String, memory: String| {
            let returns: Vec<_> = returns.iter().map(|mean| format!("{mean:.1}")).collect();
            format!("| {head} | {} | {wall} | {memory} |\n", returns.join(" | "))
        };
        for run in runs {
            let memory =
                run.peak_memory.map_or("–".into(), |n| format!("{:.0} MiB", mebibytes(n)));
            let wall = format!("{:.1} s", run.wall_s);
            text += &row(&run.seed.to_string(), &run.returns, wall, memory);
        }
        let median = |of: &dyn Fn(&Run) -> Option<f64>| {
            Spread::of(&runs.iter().filter_map(of).collect::<Vec<_>>()).median
        };
        let returns: Vec<f64> =
            (0..count).map(|index| median(&|run| run.returns.get(index).copied())).collect();
        let walls: Vec<f64> = runs.iter().map(|run| run.wall_s).collect();
        let memory = median(&|run| run.peak_memory.map(mebibytes));
        text += &row(
            "**median**",
            &returns,
            format!("{:.1} s", Spread::of(&walls).median),
            if memory.is_nan() { "–".into() } else { format!("{memory:.0} MiB") },
        );
        format!("{text}\n{made}\n")
    }
}

/// Reads the lines `greedy return …  MEAN`.
fn greedy_returns(stdout: &str) -> Vec<f64> {
    let lines = stdout.lines().filter(|line| line.starts_with("greedy return"));
    lines.filter_map(|line| line.split_whitespace().next_back()?.parse().ok()).collect()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, returns: &[f64]) -> Run {
        Run { seed, returns: returns.into(), wall_s: 10.0, peak_memory: Some(80 << 20) }
    }

    #[test]
    fn the_median_over_seeds_decides() {
        let runs = [run(0, &[460.0]), run(1, &[500.0]), run(2, &[90.0])];
        assert!(TASKS[0].is_reached(&runs));
        assert!(!TASKS[1].is_reached(&runs));
        let text = TASKS[0].describe(&runs, "Made by a test.");
        let expected = "\
BC, `cli/configs/bc-cartpole.toml`, from `cartpole-expert` (20 000 steps of PPO after 150 000 steps of training). The median greedy return of the last policies must reach 450: reached.

| seed | greedy return | wall time | peak memory |
|:---|---:|---:|---:|
| 0 | 460.0 | 10.0 s | 80 MiB |
| 1 | 500.0 | 10.0 s | 80 MiB |
| 2 | 90.0 | 10.0 s | 80 MiB |
| **median** | 460.0 | 10.0 s | 80 MiB |

Made by a test.
";
        assert_eq!(text, expected);
        let online = TASKS.last().unwrap();
        let stdout = "recorded\ngreedy return from recordings  -800.5\ngreedy return after 10000 steps  -150\n";
        assert_eq!(greedy_returns(stdout), [-800.5, -150.0]);
        assert!(online.is_reached(&[run(0, &greedy_returns(stdout))]));
        assert!(online.describe(&[run(0, &[-800.5, -150.0])], "").contains("| -800.5 | -150.0 |"));
    }

    #[test]
    fn names_and_headings_are_unique() {
        for (index, task) in TASKS.iter().enumerate() {
            for other in &TASKS[..index] {
                assert_ne!(task.name, other.name);
                assert_ne!(task.section(), other.section());
            }
            let others = super::super::TASKS.iter();
            assert!(others.clone().all(|of| of.name != task.name && of.section != task.section()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_seed_that_is_complete_is_not_learned_again() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let (example, folder) = (temporary.path().join("example"), temporary.path().join("seed-3"));
        let write = |script: &str| {
            fs::write(&example, script).unwrap();
            fs::set_permissions(&example, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let online = TASKS.last().unwrap();
        let learn = |resume| online.by_example(&example, &[], 3, &folder, resume);
        write("#!/bin/sh\necho greedy return first -3\necho greedy return then 4\n");
        assert_eq!(learn(true).unwrap().returns, [-3.0, 4.0]);
        write("#!/bin/sh\nexit 1\n");
        assert!(learn(false).is_err());
        assert_eq!(learn(true).unwrap().returns, [-3.0, 4.0]);
    }
}
