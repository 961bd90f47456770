use std::collections::BTreeSet;

use burn::prelude::Device;

use super::*;
use crate::{Experiment, PpoConfig};

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(64).minibatch_size(None).num_epochs(1))
        .evaluation(|e| e.evaluation_interval(2).evaluation_duration(3))
        .seed(7)
}

fn start(root: &Path, run: RunConfig) -> Algorithm {
    config().build(&Device::flex()).unwrap().with_run_folder(root, run).unwrap()
}

fn folder(algorithm: &Algorithm) -> PathBuf {
    algorithm.run_folder().unwrap().path().to_owned()
}

/// The names in a directory, without those that contain a time.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let name = |name: std::ffi::OsString| {
        let name = name.into_string().unwrap();
        match name.split_once(".tfevents.") {
            Some((start, _)) => format!("{start}.tfevents"),
            None => name,
        }
    };
    entries.map(name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The results of a run, without durations and speeds.
fn results(path: &Path) -> Vec<Vec<(String, String)>> {
    let is_repeatable = |key: &str| {
        !["time", "throughput", "duration", "/sample"].iter().any(|part| key.contains(part))
    };
    let result = |metrics: Metrics| {
        let repeatable = metrics.into_iter().filter(|(key, _)| is_repeatable(key));
        repeatable.map(|(key, value)| (key, value.to_string())).collect()
    };
    read_run(path).unwrap().into_iter().map(result).collect()
}

#[test]
fn a_run_leaves_its_settings_metrics_evaluations_and_checkpoints() {
    let root = tempfile::tempdir().unwrap();
    let run = RunConfig::default().checkpoint_interval(1).keep_checkpoints(2).keep_best(false);
    let mut algorithm = start(root.path(), run);
    for _ in 0..4 {
        algorithm.train().unwrap();
    }
    algorithm.save_run().unwrap();
    assert!(!algorithm.run_folder().unwrap().best_checkpoint().exists());
    let path = folder(&algorithm);
    let name = path.strip_prefix(root.path()).unwrap().display().to_string();
    assert!(name.starts_with("ppo/CartPole-v1__7__"), "{name}");
    let expected = [
        ".lock",
        "README.md",
        "checkpoints",
        "config.toml",
        "evaluations.jsonl",
        "events.out.tfevents",
        "metrics.jsonl",
        "progress.csv",
        "results.json",
    ];
    assert_eq!(names(&path), expected);
    let expected = ["iteration-00000003", "iteration-00000004", "latest"];
    assert_eq!(names(&path.join("checkpoints")), expected);
    assert_eq!(read_run(&path).unwrap().len(), 4);
    assert_eq!(fs::read_to_string(path.join("progress.csv")).unwrap().lines().count(), 5);
    let evaluations = fs::read_to_string(path.join("evaluations.jsonl")).unwrap();
    assert_eq!(evaluations.lines().count(), 2);
    let card = fs::read_to_string(path.join("README.md")).unwrap();
    assert!(card.contains("- {type: mean_reward, value: \""), "{card}");
}

#[test]
fn the_settings_in_the_folder_repeat_the_run() {
    let root = tempfile::tempdir().unwrap();
    let mut algorithm = start(root.path(), RunConfig::default());
    algorithm.train().unwrap();
    let first = folder(&algorithm);
    let experiment = Experiment::read(first.join("config.toml")).unwrap();
    assert_eq!(experiment.run().unwrap(), RunConfig::default());
    let again = experiment.build(&Device::flex()).unwrap();
    let mut again = again.with_run_folder(root.path(), RunConfig::default()).unwrap();
    again.train().unwrap();
    let second = folder(&again);
    assert_ne!(first, second);
    assert_eq!(results(&first), results(&second));
    let text = |path: &Path| fs::read_to_string(path.join("config.toml")).unwrap();
    assert_eq!(text(&first), text(&second));
}

#[test]
fn a_resumed_run_repeats_what_came_after_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let run = || RunConfig::default().checkpoint_interval(2);
    let mut whole = start(root.path(), run());
    for _ in 0..6 {
        whole.train().unwrap();
    }
    let mut broken = start(root.path(), run());
    for _ in 0..3 {
        broken.train().unwrap();
    }
    let path = folder(&broken);
    drop(broken);
    let restored = Algorithm::restore(path.join("checkpoints/latest"), &Device::flex()).unwrap();
    assert_eq!(restored.iteration(), 2);
    let mut restored = restored.with_existing_run_folder(&path, run()).unwrap();
    for _ in 0..4 {
        restored.train().unwrap();
    }
    assert_eq!(results(&path), results(&folder(&whole)));
    let evaluations = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path.join("evaluations.jsonl")).unwrap();
        text.lines().map(|line| line.split("\"time\"").next().unwrap().to_owned()).collect()
    };
    assert_eq!(evaluations(&path), evaluations(&folder(&whole)));
    let rows = fs::read_to_string(path.join("progress.csv")).unwrap().lines().count();
    assert_eq!(rows, 7);
}

#[test]
fn the_best_evaluation_keeps_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let mut algorithm = start(root.path(), RunConfig::default());
    let folder = root.path().join("checkpoints");
    let checkpoints = Checkpoints::new(folder.clone(), 1);
    fs::create_dir(&folder).unwrap();
    for is_best in [false, true, false, false] {
        algorithm.train().unwrap();
        checkpoints.save(&algorithm, is_best).unwrap();
    }
    let expected = ["best", "iteration-00000002", "iteration-00000004", "latest"];
    assert_eq!(names(&folder), expected);
    let best = Algorithm::restore(checkpoints.best(), &Device::flex()).unwrap();
    assert_eq!(best.iteration(), 2);
}

#[test]
fn only_a_higher_return_is_better() {
    let dir = tempfile::tempdir().unwrap();
    let mut evaluations = Evaluations::resume(dir.path().join("none"), 0).unwrap();
    let evaluation =
        |returns: &[f64]| Evaluation { returns: returns.to_vec(), ..Evaluation::default() };
    let outcomes = [&[1.0, 3.0][..], &[2.0], &[], &[f64::NAN], &[2.5], &[2.0]]
        .map(|returns| evaluations.is_best(&evaluation(returns)));
    assert_eq!(outcomes, [true, false, false, false, true, false]);
}

#[test]
fn a_folder_has_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let algorithm = start(root.path(), RunConfig::default());
    let path = folder(&algorithm);
    let other = config().build(&Device::flex()).unwrap();
    let error = other.with_existing_run_folder(&path, RunConfig::default()).unwrap_err();
    assert!(matches!(error, AlgorithmError::RunInProgress { .. }), "{error}");
    drop(algorithm);
    let other = config().build(&Device::flex()).unwrap();
    other.with_existing_run_folder(&path, RunConfig::default()).unwrap();
}

#[test]
fn a_run_goes_on_where_checkpoints_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let mut algorithm = start(root.path(), RunConfig::default().checkpoint_interval(1));
    let path = folder(&algorithm);
    fs::remove_dir(path.join("checkpoints")).unwrap();
    fs::write(path.join("checkpoints"), "in the way").unwrap();
    algorithm.train().unwrap();
    algorithm.train().unwrap();
    assert_eq!(read_run(&path).unwrap().len(), 2);
    let message = algorithm.save_run().unwrap_err().to_string();
    assert!(message.contains("checkpoints"), "{message}");
}

#[test]
fn names_of_folders_are_harmless() {
    for (name, expected) in [
        ("CartPole-v1", "CartPole-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("../../etc", "-..-etc"),
        ("..", "run"),
        ("a b\n\u{202e}<script>", "a-b---script-"),
    ] {
        assert_eq!(file_name(name), expected);
    }
    assert!(file_name(&"x".repeat(1000)).len() <= 100);
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let algorithm = config().build(&Device::flex()).unwrap();
    let error = algorithm.with_run_folder(root.path(), RunConfig::default().keep_checkpoints(0));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`run.keep_checkpoints` is 0"), "{message}");
    assert_eq!(names(root.path()), Vec::<String>::new());
}

#[test]
fn a_final_evaluation_marks_the_saved_state_as_best() {
    let root = tempfile::tempdir().unwrap();
    let mut algorithm = config()
        .evaluation(|e| e.evaluation_interval(100))
        .build(&Device::flex())
        .unwrap()
        .with_run_folder(root.path(), RunConfig::default())
        .unwrap();
    algorithm.train().unwrap();
    let saved = algorithm.save_run().unwrap().unwrap();
    let best = algorithm.run_folder().unwrap().best_checkpoint();
    assert!(!best.exists());
    algorithm.evaluate_run().unwrap();
    assert_eq!(fs::read_link(best).unwrap().as_os_str(), saved.file_name().unwrap());
}

#[test]
fn a_saved_run_continues_with_changes_and_ignores_an_edited_file() {
    let root = tempfile::tempdir().unwrap();
    let mut algorithm = start(root.path(), RunConfig::default().max_iterations(2));
    let path = folder(&algorithm);
    algorithm.train().unwrap();
    algorithm.train().unwrap();
    algorithm.save_run().unwrap();
    drop(algorithm);
    let over = SavedRun::open(&path, "latest").unwrap().resume(&Device::flex()).unwrap();
    assert_eq!((over.stop, over.algorithm.iteration()), (Some(Stop::Iterations), 2));
    assert!(over.algorithm.run_folder().is_none() && over.last_result.is_empty());

    let config = path.join("config.toml");
    let edited = fs::read_to_string(&config).unwrap().replace("gamma = 0.99\n", "gamma = 0.5\n");
    fs::write(&config, &edited).unwrap();
    let change = |assignment: &'static str| {
        let mut saved = SavedRun::open(&path, "latest").unwrap();
        saved.change(|experiment| experiment.set(assignment)).map(|()| saved)
    };
    // The value of the edited file differs from that of the checkpoint.
    for (assignment, gamma) in [("run.max_iterations=3", 0.99), ("training.gamma=0.5", 0.5)] {
        let mut resumed = change(assignment).unwrap().resume(&Device::flex()).unwrap();
        assert_eq!(resumed.stop, None);
        assert_eq!(resumed.last_result.get("training_iteration"), Some(2.0));
        assert_eq!(to_value(resumed.algorithm.given()).unwrap()["training"]["gamma"], gamma);
        resumed.last_result = resumed.algorithm.train().unwrap();
        let stop = resumed.config.is_over(&resumed.algorithm, &resumed.last_result);
        assert_eq!(stop, Some(Stop::Iterations));
    }
    let error = change("training.gamma=2").unwrap_err();
    assert!(error.to_string().contains("`gamma` is 2"), "{error}");
    let error = SavedRun::open(root.path(), "latest").unwrap_err();
    assert!(matches!(error, AlgorithmError::NotARun { .. }), "{error}");
    let error = SavedRun::open(&path, "7").unwrap_err();
    assert!(matches!(error, AlgorithmError::NoCheckpoint { .. }), "{error}");
}
