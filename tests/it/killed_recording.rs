//! Processes that are killed while they record leave complete files.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rekindle::offline::{MinariData, OfflineSource, OutputFormat, ParquetData};
use rekindle::prelude::*;

use crate::support::device;

const OUTPUT: &str = "REKINDLE_TEST_RECORDING_OUTPUT";
/// Whether the recording is a dataset of Minari.
const MINARI: &str = "REKINDLE_TEST_RECORDING_MINARI";
/// The number of kills, if not [`FEW`].
const KILLS: &str = "REKINDLE_TEST_KILLS";
const FEW: u64 = 3;
/// The child ends by itself after this many iterations, if nobody kills it.
const MOST_ITERATIONS: u64 = 5000;

/// Not a test by itself: the process that `everything_before_the_last_file_is_read_after_a_kill` starts and kills.
#[test]
fn record_until_killed() {
    let Ok(output) = std::env::var(OUTPUT) else { return };
    let format = match std::env::var(MINARI).is_ok() {
        true => OutputFormat::Minari,
        false => OutputFormat::Parquet,
    };
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(4)
                .output(PathBuf::from(&output))
                .output_format(format)
                .output_max_file_size(20_000)
        })
        .training(|t| t.train_batch_size(256).minibatch_size(256).num_epochs(1))
        .model("fcnet_hiddens", vec![8])
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    while algo.iteration() < MOST_ITERATIONS {
        algo.train().unwrap();
        writeln!(std::io::stdout(), "saved {}", algo.env_steps()).unwrap();
    }
}

/// Kills a recording process some time after its first iteration, and returns the steps that it reported.
fn kill_after(output: &Path, format: OutputFormat, delay: Duration) -> usize {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if format == OutputFormat::Minari {
        command.env(MINARI, "1");
    }
    let mut child = command
        .args(["killed_recording::record_until_killed", "--exact", "--nocapture"])
        .env(OUTPUT, output)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut steps = lines.filter_map(|line| {
        line.unwrap().split_once("saved ").map(|(_, steps)| steps.parse().unwrap())
    });
    let first = steps.next().unwrap();
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    steps.last().unwrap_or(first)
}

/// With 50 kills, which take about half a minute:
/// `REKINDLE_TEST_KILLS=50 cargo test --test it killed_recording`
#[test]
fn everything_before_the_last_file_is_read_after_a_kill() {
    let kills = std::env::var(KILLS).map_or(FEW, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let folder = tempfile::tempdir().unwrap();
        let delay = Duration::from_millis(100 + 37 * (kill % 10));
        let format = if kill % 2 == 0 { OutputFormat::Parquet } else { OutputFormat::Minari };
        let reported = kill_after(folder.path(), format, delay);
        let open = || -> rekindle::offline::Result<Box<dyn OfflineSource>> {
            Ok(match format {
                OutputFormat::Minari => Box::new(MinariData::open(folder.path())?),
                _ => Box::new(ParquetData::open(folder.path())?),
            })
        };
        let data = match open() {
            Ok(data) => data,
            // Killed before the first file was full.
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains("has no files") || message.contains("has no Minari dataset"),
                    "{message}"
                );
                continue;
            }
        };
        let steps = (0..data.num_parts()).map(|part| {
            let recorded = data.read(part).unwrap();
            recorded.values().flatten().map(Rollout::env_steps).sum::<usize>()
        });
        // Missing are at most the episodes that go on and those that do not fill a file: of about 100 bytes a step.
        let (steps, most) = (steps.sum::<usize>(), reported + 256);
        assert!(steps <= most && steps + 4 * 500 + 300 >= reported, "{steps} of {reported}");
    }
}
