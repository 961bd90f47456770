//! Runs all parts, each as a process of its own that is killed at its time limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rekindle::prelude::*;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::plan::{Call, Part, Phase, plan};
use crate::report;
use crate::results::Results;
use crate::subject_spec;

const POLL: Duration = Duration::from_millis(20);

/// Runs every check and measurement, each under its own time limit: correctness takes at most 4 minutes, measurements
/// at most 5.
///
/// The folder gets `results.jsonl` as results come, `log.txt`, and `summary.md` after each part. Fails if a check
/// fails or exceeds its limit.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the results
    #[arg(long)]
    out: PathBuf,
    /// Python with PyTorch, and perhaps Stable-Baselines3; what it lacks is left out
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Small sizes, to try the programs; the figures say nothing of speed
    #[arg(long)]
    toy: bool,
    /// Parts to run [default: all]
    #[arg(long, value_delimiter = ',')]
    parts: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome<bool> {
    let device = subject_spec();
    let on_cuda = matches!(device, DeviceSpec::Cuda(_));
    let mut parts = plan(args.toy, if on_cuda { "cuda" } else { "cpu" });
    if let Some(unknown) = args.parts.iter().find(|name| parts.iter().all(|p| p.name != **name)) {
        let known: Vec<_> = parts.iter().map(|part| part.name).collect();
        return Err(
            format!("unknown part `{unknown}`: expected one of {}", known.join(", ")).into()
        );
    }
    parts.retain(|part| args.parts.is_empty() || args.parts.iter().any(|name| name == part.name));
    std::fs::create_dir_all(&args.out)?;
    let results = Results::create(&args.out)?;
    let runner = Runner {
        args,
        results: &results,
        log: File::create(args.out.join("log.txt"))?,
        device: device.to_string(),
    };
    let machine = report::Machine::read(&runner.device, args.toy);
    let mut left = BTreeMap::new();
    let mut passes = true;
    for part in &parts {
        let left =
            left.entry(part.phase == Phase::Measurement).or_insert(part.phase.limit(args.toy));
        let started = Instant::now();
        let outcome = runner.run(part, part.limit.min(*left))?;
        let took = started.elapsed();
        *left = left.saturating_sub(took);
        passes &= part.phase == Phase::Measurement || outcome == "passed";
        let line = json!({
            "outcome": outcome, "took_s": took.as_secs_f32(), "limit_s": part.limit.as_secs(),
        });
        results.push(part.name, &line.to_string())?;
        std::fs::write(args.out.join("summary.md"), report::summary(&machine, &results.lines()))?;
    }
    Ok(passes)
}

/// What all parts have in common.
struct Runner<'a> {
    args: &'a Args,
    results: &'a Results,
    log: File,
    device: String,
}

impl Runner<'_> {
    /// Runs a part and says how it ended.
    fn run(&self, part: &Part, limit: Duration) -> Outcome<String> {
        if limit.is_zero() {
            return Ok("left out: no time left".into());
        }
        for call in &part.calls {
            if let Call::Python { package, .. } = call
                && !self.has_package(package)
            {
                return Ok(format!("left out: `{}` has no {package}", self.args.python.display()));
            }
        }
        let deadline = Instant::now() + limit;
        let ended: Vec<Outcome<Ended>> = thread::scope(|scope| {
            let running = part.calls.iter().map(|call| {
                let child = self.command(call).and_then(|mut command| Ok(command.spawn()?));
                scope.spawn(move || match child {
                    Ok(child) => self.follow(part.name, child, deadline).map_err(|e| e.to_string()),
                    Err(error) => Err(error.to_string()),
                })
            });
            let running: Vec<_> = running.collect();
            let join =
                |thread: thread::ScopedJoinHandle<'_, Result<Ended, String>>| match thread.join() {
                    Ok(ended) => ended.map_err(Into::into),
                    Err(_) => Err("its output could not be followed".into()),
                };
            running.into_iter().map(join).collect()
        });
        let mut worst = Ended::Passed;
        for ended in ended {
            worst = worst.max(ended?);
        }
        Ok(match worst {
            Ended::Passed => "passed".into(),
            Ended::Failed => "failed".into(),
            Ended::TimedOut => format!("stopped after {} s", limit.as_secs()),
        })
    }

    fn command(&self, call: &Call) -> Result<Command, Box<dyn std::error::Error + Send + Sync>> {
        let mut command = match call {
            Call::Own(args) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--device", &self.device]).args(args);
                command
            }
            Call::Python { args, .. } => {
                let mut command = Command::new(&self.args.python);
                command.args(args).env("PYTHONUNBUFFERED", "1");
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log.try_clone()?);
        Ok(command)
    }

    /// Passes on the lines of a program until it ends or the deadline is reached.
    fn follow(&self, part: &str, mut child: Child, deadline: Instant) -> Outcome<Ended> {
        let stdout = child.stdout.take();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
                    let pushed =
                        line.map_err(Into::into).and_then(|line| self.results.push(part, &line));
                    if let Err(error) = pushed {
                        return Err(error.to_string());
                    }
                }
                Ok(())
            });
            let ended = loop {
                if let Some(status) = child.try_wait()? {
                    break if status.success() { Ended::Passed } else { Ended::Failed };
                }
                if Instant::now() >= deadline {
                    child.kill()?;
                    child.wait()?;
                    break Ended::TimedOut;
                }
                thread::sleep(POLL);
            };
            match reader.join() {
                Ok(Ok(())) => Ok(ended),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err("its output could not be read".into()),
            }
        })
    }

    fn has_package(&self, package: &str) -> bool {
        has_package(&self.args.python, package)
    }
}

fn has_package(python: &Path, package: &str) -> bool {
    // Finding a package is much faster than importing it.
    let find = format!(
        "import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    );
    let status = Command::new(python).args(["-c", &find]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// How a program ended, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Passed,
    Failed,
    TimedOut,
}
