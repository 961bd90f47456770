//! Learning from recordings without an environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::program::{run, start, train};

/// Records PPO's first policy in the directory `data`. Returns the folder of the run.
fn record(dir: &Path) -> PathBuf {
    let small = ["--set=training.train_batch_size=400", "--set=training.minibatch_size=none"];
    let args = ["ppo", "CartPole-v1", "--seed=1", "--set=run.max_iterations=1"];
    train(dir, &[&args[..], &small, &["--set=env_runners.output=data"]].concat())
}

const DATA: &str = "--set=offline_data.input_=[\"data\"]";

#[test]
fn a_run_without_an_environment_is_trained_resumed_and_evaluated_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let args = ["train", "bc", "--seed=2", DATA, "--set=run.max_iterations=2"];
    let printed = run(dir.path(), &args);
    assert!(printed.contains("evaluation: none without an environment"), "{printed}");
    let folder = printed.lines().last().unwrap();
    assert!(folder.starts_with("runs/bc/recordings__2__"), "{folder}");

    let printed = run(dir.path(), &["resume", folder, "--set=run.max_iterations=3"]);
    assert!(printed.contains("(iteration 3, "), "{printed}");
    let printed = run(dir.path(), &["evaluate", folder, "--env=CartPole-v1", "-n", "2"]);
    assert!(printed.contains("episodes     2"), "{printed}");

    for args in [
        &["evaluate", folder][..],
        &["evaluate", folder, "--json"],
        &["play", folder, "--out=episode.gif"],
    ] {
        let refused = start(dir.path(), args);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{told}");
        let expected = "error: the run learned from recordings, and has no environment to play in; name one with --env\n";
        assert_eq!(told, expected);
    }
    // Training does not begin with an environment that its end would not find.
    let misspelt = "--set=evaluation.evaluation_config.env=CartPole-v9";
    for args in [
        &["train", "bc", "--seed=2", DATA, "--set=run.max_iterations=1", misspelt][..],
        &["resume", folder, "--set=run.max_iterations=4", misspelt],
    ] {
        let refused = start(dir.path(), args);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("`CartPole-v9`"), "{told}");
        assert!(!told.contains("training failed"), "{told}");
    }
}

#[test]
fn metrics_of_runs_from_recordings_are_plotted_and_a_stop_that_never_comes_is_named() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let args = ["train", "bc", "--seed=2", DATA, "--set=run.max_iterations=2"];
    let trained = start(dir.path(), &[&args[..], &["--set=run.stop_value=5"]].concat());
    let [told, printed] =
        [trained.stderr, trained.stdout].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(
        told.contains("no iteration had the metric `env_runners/episode_return_mean`"),
        "{told}"
    );
    let folder = printed.lines().last().unwrap();
    let loss = "--metric=learners/default_policy/total_loss";
    run(dir.path(), &["plot", folder, loss, "--out=loss.svg"]);
    let plot = fs::read_to_string(dir.path().join("loss.svg")).unwrap();
    assert!(plot.contains("total_loss"), "{plot}");

    let many = "--set=evaluation.off_policy_estimation={resamples=100001}";
    let refused = start(dir.path(), &[&args[..], &[many]].concat());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("`off_policy_estimation.resamples` is 100001"), "{told}");
    // A pipe without a writer would be waited for.
    let pipe = dir.path().join("pipe.parquet");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = start(dir.path(), &["train", "bc", "--set=offline_data.input_=pipe.parquet"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("pipe.parquet: it is not a regular file"), "{told}");
}

#[test]
fn estimates_are_printed_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path());
    let estimation = "--set=evaluation.off_policy_estimation={methods=[\"wis\",\"is\"]}";
    let args = ["train", "bc", "--seed=2", DATA, "--set=run.max_iterations=2", estimation];
    let key = "evaluation/off_policy_estimation/default_policy/wis";
    let mut first = None;
    for interval in ["none", "1"] {
        let interval = format!("--set=evaluation.evaluation_interval={interval}");
        let printed = run(dir.path(), &[&args[..], &["--verbose", &interval]].concat());
        let line = |start: &str| {
            let mut lines = printed.lines();
            lines.find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{printed}"))
        };
        let of_wis = line("evaluation: estimate wis ").strip_prefix("evaluation: ").unwrap();
        let of_is = line("evaluation: estimate is ");
        assert!(!printed.contains("no episodes") && !printed.contains("NaN"), "{printed}");
        // Both runs end with the same policy.
        assert_eq!(first.get_or_insert_with(|| of_wis.to_owned()), of_wis);
        let header: Vec<_> = line("  iter").split_whitespace().collect();
        assert!(header.windows(3).any(|names| names == ["eval", "wis", "is"]), "{header:?}");

        let folder = printed.lines().last().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(folder).join(name)).unwrap();
        let evaluations = read("evaluations.jsonl");
        let last: Value = serde_json::from_str(evaluations.lines().last().unwrap()).unwrap();
        let wis = &last["off_policy_estimation"]["default_policy"]["wis"];
        let number = |name: &str| wis[name].as_f64().unwrap();
        let expected = format!(
            "estimate wis {:.2} [{:.2}, {:.2}]",
            number("value"),
            number("low"),
            number("high")
        );
        assert_eq!(of_wis, expected);
        let is_during = interval.ends_with('1');
        assert_eq!(read("progress.csv").contains(key), is_during);
        assert_eq!(evaluations.lines().count(), if is_during { 3 } else { 1 });

        let evaluated = run(dir.path(), &["evaluate", folder]);
        let [estimate, of_is] = [expected, of_is.replace("evaluation: ", "")]
            .map(|text| text.replacen("estimate ", "estimate     ", 1));
        assert_eq!(evaluated, format!("episodes     0\n{of_is}\n{estimate}\n"));
        let evaluated = run(dir.path(), &["evaluate", folder, "--json"]);
        let value: Value = serde_json::from_str(&evaluated).unwrap();
        assert_eq!(value["off_policy_estimation"], last["off_policy_estimation"]);
        assert!(value["mean_return"].is_null(), "{value}");
    }
}

#[test]
fn looking_at_a_run_that_recorded_creates_nothing_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let folder = record(dir.path());
    let path = folder.to_str().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    run(&elsewhere, &["evaluate", path, "-n=1"]);
    run(&elsewhere, &["inspect", path]);
    run(&elsewhere, &["export", path, "--out=policy"]);
    run(&elsewhere, &["play", path, "--out=episode.gif"]);
    let names = fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["episode.gif", "policy"]);
}
