//! Runs in environments of Python.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{results, run, start, train};

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_run_with_python_goes_on_only_if_it_is_allowed_to() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--set=training.train_batch_size=64", "--set=training.minibatch_size=none"];
    let args = [&["ppo", "gymnasium:CartPole-v1", "--seed=1", "--steps=128"], &small[..]].concat();
    let folder = train(dir.path(), &args);
    let path = folder.to_str().unwrap();
    for (args, done) in [
        (&["resume", path, "--steps=256"][..], "done: the limit of steps"),
        (&["evaluate", path, "-n=2"], "episodes     2"),
        (&["export", path, "--out=policy"], "policy"),
    ] {
        let refused = start(dir.path(), args);
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.contains("of the environment `gymnasium:CartPole-v1`"), "{message}");
        assert!(message.contains("`--allow-python`"), "{message}");
        let printed = run(dir.path(), &[args, &["--allow-python"]].concat());
        assert!(printed.starts_with(done), "{args:?}: {printed}");
    }
    assert_eq!(results(&folder).len(), 4);
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn a_game_of_pettingzoo_is_played() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "ppo",
        "pettingzoo:classic.rps_v2",
        "--seed=1",
        "--steps=64",
        "--set=training.train_batch_size=64",
        "--set=training.minibatch_size=none",
        "--set=multi_agent.policies=[\"player_0\", \"player_1\"]",
        "--set=multi_agent.policy_mapping=by_agent",
        "--set=evaluation.evaluation_duration=1",
    ];
    let folder = train(dir.path(), &args);
    let path = folder.to_str().unwrap();
    let refused = start(dir.path(), &["play", path, "--out=game.gif"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`--allow-python`"));
    let shown = run(dir.path(), &["play", path, "--out=game.gif", "--allow-python"]);
    assert!(shown.contains("episode 1: return 0.00 in 15 steps (player_0 "), "{shown}");
    assert!(fs::read(dir.path().join("game.gif")).unwrap().starts_with(b"GIF89a"));
}

const READ_SCALARS: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
reader.Reload()
tags = reader.Tags()["scalars"]
print(json.dumps({tag: [[event.step, event.value] for event in reader.Scalars(tag)] for tag in tags}))
"#;

#[test]
#[ignore = "needs Python with TensorBoard; `cargo xtask test` runs it"]
fn tensorboard_reads_every_scalar_also_of_a_resumed_run() {
    const STEPS: &str = "env_runners/num_env_steps_sampled_lifetime";
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "ppo",
        "CartPole-v1",
        "--seed=1",
        "--set=training.train_batch_size=64",
        "--set=training.minibatch_size=none",
        "--set=run.checkpoint_interval=2",
        "--set=run.keep_checkpoints=9",
        "--set=run.max_iterations=5",
    ];
    let folder = train(dir.path(), &args);
    let path = folder.to_str().unwrap();
    // The results of iterations 3 to 5 are written again.
    run(dir.path(), &["resume", path, "--checkpoint=2", "--set=run.max_iterations=6"]);
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).args(["-c", READ_SCALARS, path]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = fs::read_to_string(Path::new(path).join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    let mut expected = serde_json::Map::new();
    for line in &lines {
        for (name, value) in line.as_object().unwrap() {
            // TensorBoard's numbers have 32 bits.
            let Some(number) = value.as_f64().map(|number| number as f32) else { continue };
            let point = serde_json::json!([line[STEPS].as_f64().unwrap() as u64, number]);
            let points = expected.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
            points.as_array_mut().unwrap().push(point);
        }
    }
    assert!(expected.len() > 20);
    for (name, points) in &expected {
        let found = found[name].as_array().unwrap_or_else(|| panic!("no scalar {name}"));
        let points = points.as_array().unwrap();
        assert_eq!(found.len(), points.len(), "{name}");
        for (found, point) in found.iter().zip(points) {
            assert_eq!(found[0], point[0], "{name}");
            assert_eq!(
                found[1].as_f64().unwrap() as f32,
                point[1].as_f64().unwrap() as f32,
                "{name}"
            );
        }
    }
}

/// Runs an exported policy on the test vectors of its bundle.
const RUN_ONNX: &str = r#"
import json, pathlib, sys
import numpy as np, onnxruntime
state = json.loads(pathlib.Path(sys.argv[2], "state.json").read_text())
(observations,) = state["test_observations"]["column"].values()
(actions,) = state["test_actions"]["column"].values()
rows = state["test_observations"]["rows"]
observations = np.array(observations["data"], np.float32).reshape(rows, *observations["shape"])
policy = onnxruntime.InferenceSession(sys.argv[1])
(found,) = policy.run(["actions"], {"obs": observations})
expected = np.array(actions["data"]).reshape(found.shape)
assert rows > 4 and np.allclose(found, expected, atol=1e-5), (found, expected)
"#;

#[test]
#[ignore = "needs Python with onnxruntime; `cargo xtask test` runs it"]
fn onnxruntime_acts_with_an_exported_run() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--set=training.train_batch_size=256", "--set=training.minibatch_size=none"];
    for env in ["CartPole-v1", "Pendulum-v1"] {
        let filter = "--set=env_runners.env_to_module_connector=[{type=\"MeanStdFilter\"}]";
        let args = [&["ppo", env, "--seed=1", "--steps=512", filter], &small[..]].concat();
        let folder = train(dir.path(), &args);
        let path = folder.to_str().unwrap();
        let [file, bundle] = ["onnx", "bundle"].map(|format| {
            let out = format!("{env}.{format}");
            run(dir.path(), &["export", path, "--format", format, "--out", &out]);
            out
        });
        let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut command = Command::new(python);
        let output = command
            .args(["-c", RUN_ONNX, &file, &bundle])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{env}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Chromium opens the page while a run trains.
#[test]
#[ignore = "needs Chromium and Python; `cargo xtask test` runs it"]
fn the_live_page_works_in_chromium() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/view/check.py");
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg(script).arg(env!("CARGO_BIN_EXE_rekindle")).current_dir(dir.path());
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
}
