//! Runs that end early: by a lost process, a signal, or a process that hangs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rekindle::algorithms::read_last_result;
use rekindle::checkpoint;
use rekindle::prelude::*;

use crate::job::{Ended, Job, PROGRAM, mpirun, send, settings, wait_for};

/// PPO with few weights. An iteration takes a few milliseconds.
const PPO: &str = r#"
algorithm = "PPO"
[environment]
env = "CartPole-v1"
[debugging]
seed = 5
[model_config]
fcnet_hiddens = [16]
[env_runners]
num_envs_per_env_runner = 4
[training]
train_batch_size = 80
minibatch_size = 40
num_epochs = 2
[run]
checkpoint_interval = 5
keep_checkpoints = 1000
"#;

/// IMPALA with few weights.
const IMPALA: &str = r#"
algorithm = "IMPALA"
[environment]
env = "CartPole-v1"
[debugging]
seed = 6
[model_config]
fcnet_hiddens = [16]
[env_runners]
num_envs_per_env_runner = 4
[training]
train_batch_size = 80
[run]
checkpoint_interval = 5
"#;

/// A folder with a file of settings.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), settings).unwrap();
        Self(folder)
    }

    fn runs(&self) -> PathBuf {
        self.0.path().join("runs")
    }

    fn train(&self, processes: usize, learners: usize, more: &[&str]) -> Command {
        let mut command = mpirun(processes);
        command.arg(PROGRAM).arg("train").arg(self.0.path().join("config.toml"));
        command.args(["--num-learners", &learners.to_string(), "--runs"]).arg(self.runs());
        command.args(more);
        command
    }

    fn resume(&self, processes: usize, learners: usize, more: &[&str]) -> Command {
        let mut command = mpirun(processes);
        command.arg(PROGRAM).arg("resume").arg(self.run());
        command.args(["--num-learners", &learners.to_string()]).args(more);
        command
    }

    /// The folder of the only run, which has begun.
    fn run(&self) -> PathBuf {
        wait_for("the folder of a run", || {
            let of_algorithm = fs::read_dir(self.runs()).ok()?.next()?.ok()?.path();
            let mut runs = fs::read_dir(of_algorithm).ok()?;
            let run = runs.next()?.ok()?.path();
            assert!(runs.next().is_none(), "two runs");
            Some(run)
        })
    }

    /// Waits for the first checkpoint.
    fn checkpoint(&self) -> PathBuf {
        let latest = self.run().join("checkpoints/latest");
        wait_for("a checkpoint", || checkpoint::exists(&latest).then(|| latest.clone()))
    }

    fn is_done(&self) -> bool {
        self.run().join("DONE").is_file()
    }
}

/// The learner, iteration and steps in a checkpoint.
fn saved(checkpoint: &Path) -> (State, u64, u64) {
    let state = checkpoint::read(checkpoint).unwrap();
    let number = |name: &str| state.data[name].as_u64().unwrap();
    (state.component("learner").unwrap().clone(), number("iteration"), number("env_steps"))
}

/// Learners alone repeat a run bit for bit. Returns what a run of so many iterations ends with.
fn undisturbed(processes: usize, iterations: u64) -> (State, u64, u64) {
    let folder = Folder::new(PPO);
    let limit = format!("run.max_iterations={iterations}");
    Job::start(folder.train(processes, processes, &["--set", &limit])).end().ok();
    assert!(folder.is_done());
    saved(&folder.checkpoint())
}

fn assert_same(found: (State, u64, u64), expected: (State, u64, u64)) {
    assert_eq!((found.1, found.2), (expected.1, expected.2));
    assert!(found.0 == expected.0, "the learner differs after {} iterations", found.1);
}

/// Failure tests 3 and 8: the job ends soon, and continues with the weights that it would have had, also with another
/// number of processes.
#[test]
#[ignore = "needs MPI"]
fn a_job_whose_learner_is_killed_ends_soon_and_continues_step_by_step() {
    for victim in [0, 1] {
        let folder = Folder::new(PPO);
        let job = Job::start(folder.train(2, 2, &["--set", "run.max_iterations=100000"]));
        folder.checkpoint();
        let killed = Instant::now();
        send(job.rank(victim), "KILL");
        let ended = job.end_within(Duration::from_secs(10));
        println!(
            "learner {victim} killed: the job ended after {:.2} s",
            killed.elapsed().as_secs_f64()
        );
        assert!(ended.code != Some(0) && !folder.is_done(), "{ended:?}");

        let (_, iteration, _) = saved(&folder.checkpoint());
        let limit = format!("run.max_iterations={}", iteration + 7);
        Job::start(folder.resume(2, 2, &["--set", &limit])).end().ok();
        assert!(folder.is_done());
        assert_same(saved(&folder.checkpoint()), undisturbed(2, iteration + 7));
        if victim == 1 {
            continue;
        }
        // Once more, with four learners and with one: the same up to rounding, and steps and iterations go on.
        for (processes, more) in [(4, 8), (1, 9)] {
            let limit = format!("run.max_iterations={}", iteration + more);
            let ended =
                Job::start(folder.resume(processes, processes, &["--set", &limit])).end().ok();
            let (_, found, steps) = saved(&folder.checkpoint());
            assert_eq!((found, steps), (iteration + more, 80 * (iteration + more)), "{ended:?}");
        }
    }
}

/// Failure test 3 with a runner.
#[test]
#[ignore = "needs MPI"]
fn a_job_whose_runner_is_killed_ends_soon_and_continues_with_more_runners() {
    let folder = Folder::new(IMPALA);
    let job = Job::start(folder.train(3, 1, &["--set", "run.max_iterations=100000"]));
    folder.checkpoint();
    let killed = Instant::now();
    send(job.rank(2), "KILL");
    let ended = job.end_within(Duration::from_secs(10));
    println!("runner killed: the job ended after {:.2} s", killed.elapsed().as_secs_f64());
    assert!(ended.code != Some(0) && !folder.is_done(), "{ended:?}");
    let (_, before, _) = saved(&folder.checkpoint());
    let limit = format!("run.max_iterations={}", before + 10);
    Job::start(folder.resume(4, 2, &["--set", &limit])).end().ok();
    let (_, after, steps) = saved(&folder.checkpoint());
    assert!(folder.is_done());
    assert_eq!((after, steps), (before + 10, 80 * (before + 10)));
}

/// Failure test 6: SIGUSR1 in the middle of training, to `mpirun` and to one process alone.
#[test]
#[ignore = "needs MPI"]
fn a_signal_saves_the_state_at_a_step_on_which_all_agree() {
    for to_one_process in [false, true] {
        let folder = Folder::new(PPO);
        let settings =
            ["--set", "run.max_iterations=100000", "--set", "run.checkpoint_interval=none"];
        let job = Job::start(folder.train(2, 2, &settings));
        let metrics = folder.run().join("metrics.jsonl");
        wait_for("an iteration", || (fs::metadata(&metrics).ok()?.len() > 0).then_some(()));
        match to_one_process {
            true => send(job.rank(1), "USR1"),
            false => job.signal("USR1"),
        }
        let ended = job.end_within(Duration::from_secs(20));
        assert!(ended.errors.contains("interrupted: saved after"), "{ended:?}");
        assert!(!folder.is_done());
        let (learner, iteration, steps) = saved(&folder.checkpoint());
        assert_same((learner, iteration, steps), undisturbed(2, iteration));
        let limit = format!("run.max_iterations={}", iteration + 3);
        Job::start(folder.resume(2, 2, &["--set", &limit])).end().ok();
        assert_same(saved(&folder.checkpoint()), undisturbed(2, iteration + 3));
    }
}

/// Failure test 6 with runners: the learner hears of the signal with a batch.
#[test]
#[ignore = "needs MPI"]
fn a_signal_to_a_runner_saves_the_state() {
    let folder = Folder::new(IMPALA);
    let settings = ["--set", "run.max_iterations=100000", "--set", "run.checkpoint_interval=none"];
    let job = Job::start(folder.train(2, 1, &settings));
    let metrics = folder.run().join("metrics.jsonl");
    wait_for("an iteration", || (fs::metadata(&metrics).ok()?.len() > 0).then_some(()));
    send(job.rank(1), "USR1");
    let ended = job.end_within(Duration::from_secs(20));
    assert!(ended.errors.contains("interrupted: saved after"), "{ended:?}");
    let (_, iteration, steps) = saved(&folder.checkpoint());
    assert_eq!(steps, 80 * iteration);
}

/// Returns the launch wrapper with the settings of a job.
fn wrapper(folder: &Folder, processes: usize, learners: usize, more: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/cluster/launch");
    let mut command = Command::new(script);
    settings(&mut command);
    command.env("REKINDLE_MPI", PROGRAM);
    command.env("REKINDLE_MPIRUN_ARGS", format!("-n {processes} --oversubscribe"));
    command.arg(folder.runs()).arg(folder.0.path().join("config.toml"));
    command.args(["--num-learners", &learners.to_string()]).args(more);
    command
}

/// Failure test 6 through the wrapper: SIGTERM, which `mpirun` answers by killing, becomes SIGUSR1. The state is large
/// enough that saving it takes longer than `mpirun` waits.
#[test]
#[ignore = "needs MPI"]
fn the_wrapper_saves_on_sigterm_continues_and_tells_the_end_by_the_marker() {
    let large = PPO.replace("fcnet_hiddens = [16]", "fcnet_hiddens = [2048, 2048]");
    let folder = Folder::new(&large);
    let endless = ["--set", "run.max_iterations=100000", "--set", "run.checkpoint_interval=none"];
    let job = Job::start(wrapper(&folder, 2, 2, &endless));
    let metrics = folder.run().join("metrics.jsonl");
    wait_for("an iteration", || (fs::metadata(&metrics).ok()?.len() > 0).then_some(()));
    let sent = Instant::now();
    job.signal("TERM");
    let ended = job.end_within(Duration::from_secs(60));
    println!("saved {:.1} s after SIGTERM", sent.elapsed().as_secs_f64());
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(!folder.is_done());
    let (_, before, _) = saved(&folder.checkpoint());

    // The second launch finds the run. Its exit code is 0 because the file DONE is there.
    let limit = format!("run.max_iterations={}", before + 2);
    let ended = Job::start(wrapper(&folder, 3, 3, &["--set", &limit])).end().ok();
    assert!(folder.is_done(), "{ended:?}");
    assert_eq!(saved(&folder.checkpoint()).1, before + 2);
    // There is nothing to do any more.
    let ended = Job::start(wrapper(&folder, 2, 2, &["--set", &limit])).end().ok();
    assert!(ended.output.contains("nothing to do"), "{ended:?}");

    // A lost process is a failure, whatever `mpirun` returns.
    let job = Job::start(wrapper(&folder, 2, 2, &["--set", "run.max_iterations=100000"]));
    wait_for("the run", || (!folder.is_done()).then_some(()));
    send(job.rank(1), "KILL");
    let ended = job.end_within(Duration::from_secs(20));
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

/// Failure test 9: a process that hangs.
#[test]
#[ignore = "needs MPI"]
fn a_job_with_a_process_that_hangs_ends_with_a_message() {
    for (settings, processes, learners, victim, message) in [
        (PPO, 2, 2, 1, "no answer within 3 s; another member hangs"),
        (PPO, 2, 2, 0, "no answer within 3 s; another member hangs"),
        (IMPALA, 3, 1, 2, "for 3 s: it hangs"),
    ] {
        let folder = Folder::new(settings);
        let more = ["--set", "run.max_iterations=100000", "--timeout", "3"];
        let job = Job::start(folder.train(processes, learners, &more));
        folder.checkpoint();
        let stopped = Instant::now();
        send(job.rank(victim), "STOP");
        let ended = job.end_within(Duration::from_secs(13));
        println!(
            "rank {victim} stopped: the job ended after {:.1} s",
            stopped.elapsed().as_secs_f64()
        );
        assert!(ended.errors.contains(message), "{ended:?}");
        assert!(ended.code != Some(0) && !folder.is_done());
    }
}

fn count(ended: &Ended, text: &str) -> usize {
    ended.errors.matches(text).count()
}

/// Failure test 13: what the engine cannot do is an error at the start, which is printed once.
#[test]
#[ignore = "needs MPI"]
fn settings_that_mpi_cannot_honour_are_errors_at_the_start() {
    let folder = Folder::new(PPO);
    let restart = "fault_tolerance.restart_failed_env_runners=true";
    let started = Job::start(folder.train(3, 2, &["--set", restart]));
    let ended = started.end();
    assert_eq!(count(&ended, "`fault_tolerance.restart_failed_env_runners`"), 1, "{ended:?}");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let ended = Job::start(folder.train(2, 3, &[])).end();
    assert_eq!(count(&ended, "`--num-learners` is 3"), 1, "{ended:?}");
    assert!(!folder.runs().exists(), "nothing was begun");
    // An error of one process in the middle ends all.
    let ended = Job::start(folder.train(2, 2, &["--set", "environment.env=CartPole-v9"])).end();
    assert!(ended.code == Some(1) || ended.code == Some(2), "{ended:?}");
    assert_eq!(count(&ended, "CartPole-v9"), 1, "{ended:?}");
}

/// A learner and runners, and several learners with runners, with the plans that take batches.
#[test]
#[ignore = "needs MPI"]
fn learners_and_runners_train_together() {
    for (settings, processes, learners) in
        [(PPO, 2, 1), (IMPALA, 3, 1), (PPO, 4, 2), (IMPALA, 4, 2)]
    {
        let folder = Folder::new(settings);
        let more = ["--set", "run.max_iterations=20", "--quiet"];
        let ended = Job::start(folder.train(processes, learners, &more)).end().ok();
        assert_eq!(ended.output.trim(), folder.run().display().to_string());
        assert!(folder.is_done());
        let (_, iteration, steps) = saved(&folder.checkpoint());
        assert_eq!((iteration, steps), (20, 1600));
        let config = fs::read_to_string(folder.run().join("config.toml")).unwrap();
        assert!(config.contains("restart_failed_env_runners = false"), "{config}");
    }
}

/// An environment whose process dies of a segmentation fault now and then.
const SIMULATOR: &str = r#"
import os, signal
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Simulator(gym.Env):
    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if self.np_random.random() < 0.005:
            os.kill(os.getpid(), signal.SIGSEGV)
        self.t += 1
        return np.full(1, self.t, np.float32), 1.0, self.t == 10, False, {}
"#;

/// Failure test 14: environments of Python run in processes of their own, so the runner's process survives their end.
#[test]
#[ignore = "needs MPI, and Python with Gymnasium in REKINDLE_PYTHON"]
fn a_runner_survives_a_simulator_with_a_segmentation_fault() {
    if std::env::var_os("REKINDLE_PYTHON").is_none() {
        println!("left out: no Python with Gymnasium in REKINDLE_PYTHON");
        return;
    }
    let folder = Folder::new(PPO);
    let modules = folder.0.path().to_str().unwrap().to_owned();
    fs::write(folder.0.path().join("simulator.py"), SIMULATOR).unwrap();
    let path = format!("environment.env_config.python_path=[\"{modules}\"]");
    let more = [
        "--set",
        "environment.env=python:simulator:Simulator",
        "--set",
        &path,
        "--set",
        "environment.env_config.show_output=false",
        "--set",
        "fault_tolerance.restart_failed_sub_environments=true",
        "--set",
        "run.max_iterations=30",
    ];
    Job::start(folder.train(2, 1, &more)).end().ok();
    assert!(folder.is_done());
    let last = read_last_result(folder.run()).unwrap();
    let restarts = last.get("env_runners/num_env_restarts_lifetime").unwrap();
    println!("{restarts} simulators died");
    assert!(restarts >= 3.0, "{restarts}");
    // Steps of episodes that were cut short by a fault count nowhere.
    assert_eq!(last.get("env_runners/episode_len_max"), Some(10.0));
}
