//! Runs all parts, each as a process of its own that is killed at its time limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
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

/// Time to read what a program wrote before it ended, if a process that it started keeps its output open.
const LAST_LINES: Duration = Duration::from_secs(1);

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
        let outcome = runner.run(part, part.limit.min(*left));
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
    fn run(&self, part: &Part, limit: Duration) -> String {
        if limit.is_zero() {
            return "left out: no time left".into();
        }
        for call in &part.calls {
            if let Call::Python { package, .. } = call
                && !self.has_package(package)
            {
                return format!("left out: `{}` has no {package}", self.args.python.display());
            }
        }
        let deadline = Instant::now() + limit;
        let ended: Vec<Result<Ended, String>> = thread::scope(|scope| {
            let follow = |call| scope.spawn(move || self.follow(part.name, call, deadline));
            let running: Vec<_> = part.calls.iter().map(follow).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err("its output could not be followed".into()))
            };
            running.into_iter().map(join).collect()
        });
        // A part that cannot be run must not keep the others from running.
        let errors: Vec<&str> =
            ended.iter().filter_map(|ended| ended.as_ref().err().map(String::as_str)).collect();
        if !errors.is_empty() {
            return format!("failed: {}", errors.join("; "));
        }
        match ended.into_iter().flatten().max() {
            Some(Ended::TimedOut) => format!("stopped after {} s", limit.as_secs()),
            Some(Ended::Failed) => "failed".into(),
            Some(Ended::Passed) | None => "passed".into(),
        }
    }

    fn command(&self, call: &Call) -> io::Result<Command> {
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

    /// Runs a program, and keeps its lines until it ends or the deadline is reached.
    fn follow(&self, part: &str, call: &Call, deadline: Instant) -> Result<Ended, String> {
        let started = self.command(call).and_then(|mut command| command.spawn());
        let mut child = started.map_err(|error| format!("its program did not start: {error}"))?;
        let ended = self.watch(part, &mut child, deadline);
        // Its time is up, or its results cannot be kept. A program that has ended is left alone.
        child.kill().ok();
        child.wait().ok();
        ended.map_err(|error| error.to_string())
    }

    fn watch(&self, part: &str, child: &mut Child, deadline: Instant) -> io::Result<Ended> {
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take();
        // Nothing waits for this thread: processes that a program started may keep its output open after its end.
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n')) {
                let Ok(line) = line else { break };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let ended = loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => self.results.push(part, &line)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
            }
            if let Some(status) = child.try_wait()? {
                break if status.success() { Ended::Passed } else { Ended::Failed };
            }
            if Instant::now() >= deadline {
                child.kill()?;
                break Ended::TimedOut;
            }
        };
        let until = Instant::now() + LAST_LINES;
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.results.push(part, &line)?;
        }
        Ok(ended)
    }

    fn has_package(&self, package: &str) -> bool {
        // Finding a package is much faster than importing it.
        let find = format!(
            "import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
        );
        let mut python = Command::new(&self.args.python);
        let status = python.args(["-c", &find]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// How a program ended, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Passed,
    Failed,
    TimedOut,
}
