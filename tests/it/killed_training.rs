//! Processes that are killed in the middle of training lose nothing but the steps since their last checkpoint.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle::algorithms::DqnTraining;
use rekindle::checkpoint;
use rekindle::prelude::*;

use crate::support::device;

const CHECKPOINT: &str = "REKINDLE_TEST_TRAINING_CHECKPOINT";
/// The number of kills, if not [`FEW`].
const KILLS: &str = "REKINDLE_TEST_KILLS";
const FEW: u32 = 3;
/// The child ends by itself after this many iterations, if nobody kills it.
const MOST_ITERATIONS: u64 = 2000;

/// Not a test by itself: the process that `a_killed_run_goes_on_from_its_last_checkpoint` starts and kills. It
/// trains, and saves after each iteration.
#[test]
fn train_until_killed() {
    let Ok(path) = std::env::var(CHECKPOINT) else { return };
    let path = PathBuf::from(path);
    let mut algo = match checkpoint::exists(&path) {
        true => Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap(),
        false => crate::dqn::small().build(&device()).unwrap(),
    };
    while algo.iteration() < MOST_ITERATIONS {
        algo.train().unwrap();
        algo.save_to_path(&path).unwrap();
        writeln!(std::io::stdout(), "saved {}", algo.iteration()).unwrap();
    }
}

/// Ends the process also if the test fails.
struct Training(Child);

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Training {
    fn start(path: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["killed_training::train_until_killed", "--exact", "--nocapture"])
            .env(CHECKPOINT, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills the process some time after its first save, and returns the last iteration that it reported.
    fn kill_after(mut self, delay: Duration) -> u64 {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut saved = lines.filter_map(|line| {
            line.unwrap().split_once("saved ").map(|(_, iteration)| iteration.parse().unwrap())
        });
        let first = saved.next().unwrap();
        std::thread::sleep(delay);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        saved.last().unwrap_or(first)
    }
}

/// Replay, priorities, ε, the moments of the optimizer and all random streams are those of a run that nobody
/// killed. With 20 kills, which take about a minute:
/// `REKINDLE_TEST_KILLS=20 cargo test --test it killed_training`
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let kills = std::env::var(KILLS).map_or(FEW, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let iteration = || checkpoint::read(&path).unwrap().data["iteration"].as_u64().unwrap();
    let mut before = 0;
    for _ in 0..kills {
        let random = RandomState::new().build_hasher().finish();
        let reported = Training::start(&path).kill_after(Duration::from_micros(random % 300_000));
        let found = iteration();
        // The process may have saved the next one, and died before it said so.
        assert!(found == reported || found == reported + 1, "{found} after {reported}");
        assert!(found > before, "{found} after {before}");
        before = found;
    }
    let found = checkpoint::read(&path).unwrap();
    let mut straight = crate::dqn::small().build(&device()).unwrap();
    for _ in 0..iteration() {
        straight.train().unwrap();
    }
    let straight = straight.get_state().unwrap();
    for component in ["learner", "env_runners", "execution_plan"] {
        let of = |state: &State| state.component(component).unwrap().clone();
        assert!(of(&straight) == of(&found), "{component}");
    }
    assert_eq!(straight.data["env_steps"], found.data["env_steps"]);
}
