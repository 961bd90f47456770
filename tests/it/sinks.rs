//! Sinks of an algorithm.

use std::sync::{Arc, Mutex};

use rekindle::metrics::{MetricsError, read_jsonl};
use rekindle::prelude::*;

fn build() -> Algorithm {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(32).minibatch_size(None).num_epochs(1))
        .callbacks(Marked)
        .seed(1);
    config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap()
}

/// Changes results, as users may.
struct Marked;

impl Callbacks for Marked {
    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        result.insert("mark", 7.0);
        Ok(())
    }
}

/// Keeps everything, and fails at some iteration.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<(u64, Metrics)>>>,
    flushed: Arc<Mutex<usize>>,
    fails_at: u64,
}

impl Sink for Recorder {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<(), MetricsError> {
        if iteration == self.fails_at {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(MetricsError::Console { source });
        }
        self.seen.lock().unwrap().push((iteration, metrics.clone()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MetricsError> {
        *self.flushed.lock().unwrap() += 1;
        Ok(())
    }
}

#[test]
fn every_sink_receives_every_result_and_one_that_fails_does_not_end_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let recorder = Recorder::default();
    let failing = Recorder { fails_at: 2, ..Recorder::default() };
    let mut algo = build()
        .with_sink(failing.clone())
        .with_sink(recorder.clone())
        .with_sink(JsonlSink::create(&path).unwrap());
    let results: Vec<_> = (0..3).map(|_| algo.train().unwrap()).collect();
    let numbered = || (1..=3).zip(results.clone());
    assert_eq!(*recorder.seen.lock().unwrap(), numbered().collect::<Vec<_>>());
    let without = numbered().filter(|(iteration, _)| *iteration != 2).collect::<Vec<_>>();
    assert_eq!(*failing.seen.lock().unwrap(), without);
    let lines = read_jsonl(&path).unwrap();
    assert_eq!(lines.len(), 3);
    for (line, result) in lines.iter().zip(&results) {
        for key in ["mark", "training_iteration", "env_runners/num_env_steps_sampled_lifetime"] {
            assert_eq!(line.get(key), result.get(key), "{key}");
            assert!(line.get(key).is_some(), "{key}");
        }
    }
    assert_eq!(*recorder.flushed.lock().unwrap(), 0);
    drop(algo);
    assert_eq!(*recorder.flushed.lock().unwrap(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_end_training() {
    let full = JsonlSink::append("/dev/full").unwrap();
    let recorder = Recorder::default();
    let mut algo = build().with_sink(full).with_sink(recorder.clone());
    algo.train().unwrap();
    algo.train().unwrap();
    assert_eq!(recorder.seen.lock().unwrap().len(), 2);
}

#[test]
fn a_resumed_run_appends_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, saved) = (folder.path().join("metrics.jsonl"), folder.path().join("saved"));
    let mut algo = build().with_sink(JsonlSink::create(&path).unwrap());
    algo.train().unwrap();
    algo.save_to_path(&saved).unwrap();
    drop(algo);
    let device = DeviceSpec::Cpu.open().unwrap();
    let algo = Algorithm::from_checkpoint::<PpoTraining>(&saved, &device).unwrap();
    algo.with_sink(JsonlSink::append(&path).unwrap()).train().unwrap();
    let lines = read_jsonl(&path).unwrap();
    let iterations: Vec<_> = lines.iter().map(|line| line.get("training_iteration")).collect();
    assert_eq!(iterations, [Some(1.0), Some(2.0)]);
}
