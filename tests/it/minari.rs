//! Datasets of Minari: recording, learning from them, and what Minari itself reads and writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::env_runner::SegmentEnd;
use rekindle::offline::{MinariData, OfflineData, OfflineSource, OutputFormat};
use rekindle::prelude::*;
use serde_json::Value;

use crate::support::device;

fn recorded(folder: &Path, env: &str) {
    let config = PpoConfig::new()
        .environment(env)
        .env_runners(|e| {
            e.num_envs_per_env_runner(2).output(folder).output_format(OutputFormat::Minari)
        })
        .training(|t| t.train_batch_size(256).minibatch_size(128).num_epochs(1))
        .model("fcnet_hiddens", vec![8])
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    (0..4).for_each(|_| drop(algo.train().unwrap()));
}

fn all(data: &impl OfflineSource) -> Vec<Rollout> {
    let parts = (0..data.num_parts()).map(|part| data.read(part).unwrap());
    parts.flat_map(|part| part.into_values().flatten()).collect()
}

#[test]
fn a_recorded_dataset_trains_as_the_setting_input() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path(), "Pendulum-v1");
    let config = IqlConfig::new()
        .offline_data(|o| o.input_(folder.path()).dataset_num_iters_per_learner(3))
        .training(|t| t.train_batch_size(32))
        .model("fcnet_hiddens", vec![8])
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    let metrics = algo.train().unwrap();
    assert_eq!(algo.env_steps(), 96);
    let waited = metrics.get("timers/offline_data_wait_timer").unwrap();
    assert!(waited > 0.0 && waited < 10.0, "{waited}");
    // Actions of the environment are those of the module, times 2.
    let raw = MinariData::open(folder.path()).unwrap().normalize_actions(false);
    let units = MinariData::open(folder.path()).unwrap();
    for (raw, units) in all(&raw).iter().zip(all(&units)) {
        let doubled = units.actions.as_f32().unwrap().iter().map(|a| 2.0 * a);
        assert!(raw.actions.as_f32().unwrap().iter().copied().eq(doubled));
        assert!(units.extras.contains_key("action_logp"));
    }
}

#[test]
fn several_agents_have_no_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| e.output(folder.path()).output_format(OutputFormat::Minari))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent));
    let error = config.build(&device()).unwrap_err().to_string();
    assert!(error.contains("holds the experience of the module `default_policy` alone"), "{error}");
}

/// Runs `scripts/minari/datasets.py`, and returns what it prints.
fn python(command: &str, folder: &Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/minari/datasets.py");
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).arg(script).arg(command).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The numbers of nested lists, row-major. NaN is null in JSON.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(parts) => parts.iter().flat_map(numbers).collect(),
        Value::Bool(bit) => vec![f64::from(u8::from(*bit))],
        Value::Null => vec![f64::NAN],
        number => vec![number.as_f64().unwrap()],
    }
}

fn plain(buffer: &Buffer) -> Vec<f64> {
    match (buffer.as_f32(), buffer.as_i64(), buffer.as_u8()) {
        (Ok(numbers), ..) => numbers.iter().map(|x| f64::from(*x)).collect(),
        (_, Ok(numbers), _) => numbers.iter().map(|x| *x as f64).collect(),
        (.., numbers) => numbers.unwrap().iter().map(|x| f64::from(*x)).collect(),
    }
}

/// The first choices of the MultiDiscrete in recorded datasets. Here they count from 0.
const STARTS: [f64; 2] = [1.0, -1.0];

/// Checks that Minari reads the same episodes as this library. `starts` are those of the part `state.2`.
fn assert_equal_in_python(folder: &Path, starts: [f64; 2]) {
    let data = MinariData::open(folder).unwrap().normalize_actions(false);
    let printed = python("print", folder);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let episodes = all(&data);
    assert_eq!(lines.len(), episodes.len());
    for (line, episode) in lines.iter().zip(&episodes) {
        let mut observations = episode.observations.clone();
        observations.extend_from(&episode.final_observations, 0..1).unwrap();
        for (path, leaf) in observations.leaves() {
            let pointer = match path.is_empty() {
                true => "/observations".to_owned(),
                false => format!("/observations/{}", path.replace('.', "/")),
            };
            let mut expected = numbers(line.pointer(&pointer).unwrap());
            if path == "state.2" {
                expected.iter_mut().zip(starts.iter().cycle()).for_each(|(x, start)| *x -= start);
            }
            assert_eq!(expected, plain(leaf), "{pointer}");
        }
        assert_eq!(numbers(&line["actions"]), plain(&episode.actions));
        let rewards: Vec<_> = episode.rewards.iter().map(|x| f64::from(*x)).collect();
        assert_eq!(numbers(&line["rewards"]), rewards);
        let end = |end| {
            let mut flags = vec![0.0; episode.rewards.len()];
            *flags.last_mut().unwrap() = f64::from(u8::from(episode.segments[0].end == end));
            flags
        };
        assert_eq!(numbers(&line["terminations"]), end(SegmentEnd::Terminated));
        assert_eq!(numbers(&line["truncations"]), end(SegmentEnd::Truncated));
        if let Some(logp) = episode.extras.get("action_logp") {
            // The log-probabilities of clipped actions are NaN.
            let known = |numbers: &[f64]| -> Vec<Option<f64>> {
                numbers.iter().map(|x| (!x.is_nan()).then_some(*x)).collect()
            };
            let found = numbers(&line["infos"]["action_logp"]);
            assert_eq!(known(&found[1..]), known(&plain(logp)));
        }
    }
}

#[test]
#[ignore = "needs Python with Minari; `cargo xtask test` runs it"]
fn minari_reads_what_is_recorded_here() {
    for env in ["CartPole-v1", "Pendulum-v1"] {
        let folder = tempfile::tempdir().unwrap();
        recorded(folder.path(), env);
        assert_equal_in_python(folder.path(), [0.0; 2]);
    }
}

#[test]
#[ignore = "needs Python with Minari; `cargo xtask test` runs it"]
fn minari_reads_saved_data_of_nested_spaces() {
    let of_minari = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/offline/tests/minari"));
    let source = MinariData::open(of_minari.join("hdf5-v0")).unwrap();
    let spaces = source.module_spaces()[DEFAULT_MODULE_ID].clone();
    let mut data = OfflineData::new(spaces.0, spaces.1);
    all(&source).iter().for_each(|rollout| data.push_rollout(DEFAULT_MODULE_ID, rollout).unwrap());
    let folder = tempfile::tempdir().unwrap();
    data.save_minari(folder.path()).unwrap();
    assert_equal_in_python(folder.path(), [0.0; 2]);
}

#[test]
#[ignore = "needs Python with Minari; `cargo xtask test` runs it"]
fn datasets_that_minari_records_are_read_equal_but_jpeg_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    python("record", folder.path());
    for form in ["hdf5", "arrow", "parquet"] {
        assert_equal_in_python(&folder.path().join(format!("{form}-v0")), STARTS);
    }
    for form in ["jpeg", "jpeg-arrow"] {
        let error = MinariData::open(folder.path().join(format!("{form}-v0"))).unwrap_err();
        let message = error.to_string();
        let expected = "episode 0: column `observations`: its images are stored as JPEG";
        assert!(message.contains(expected), "{message}");
    }
    for (form, codec, remedy) in [
        ("arrow-lz4", "LZ4", "without compression"),
        ("arrow-zstd", "ZSTD", "without compression"),
        ("parquet-zstd", "ZSTD", "with Snappy or without compression"),
    ] {
        let error = MinariData::open(folder.path().join(format!("{form}-v0"))).unwrap_err();
        let message = error.to_string();
        let expected =
            format!("it is compressed with {codec}, which is not read; write it {remedy}");
        assert!(message.contains(&expected), "{message}");
    }
}
