//! A search for settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{run, start};

const SPACE: &str = r#"
"training.lr" = { low = 1e-4, high = 1e-2, log = true }
"training.gamma" = { low = 1e-3, high = 0.1, log = true, one_minus = true }
"training.num_epochs" = { low = 1, high = 3, integer = true }
"model_config.fcnet_hiddens" = [[4], [8, 8]]
"#;

/// Starts a search of few small trials.
fn tune(dir: &Path, folder: &str, trials: &str) -> String {
    fs::write(dir.join("space.toml"), SPACE).unwrap();
    let small = ["--set=training.train_batch_size=64", "--set=training.minibatch_size=none"];
    let search = ["--space=space.toml", "--seeds=2", "--evaluations=2", "--startup-trials=2"];
    let args = ["tune", "ppo", "CartPole-v1", "--steps=256", "--seed=3", "--out", folder];
    let short = ["--set=evaluation.evaluation_duration=3", "--trials", trials];
    run(dir, &[&args[..], &small, &search, &short].concat())
}

/// The operations of a journal without times and workers.
fn journal(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("journal.log")).unwrap();
    let operation = |line: &str| {
        let mut operation: Value = serde_json::from_str(line).unwrap();
        operation.as_object_mut().unwrap().retain(|key, _| {
            !["datetime_start", "datetime_complete", "worker_id", "study_name"]
                .contains(&key.as_str())
        });
        operation
    };
    text.lines().map(operation).collect()
}

#[test]
fn a_search_that_continues_does_what_one_at_once_does() {
    let dir = tempfile::tempdir().unwrap();
    let printed = tune(dir.path(), "whole", "5");
    assert_eq!(printed.lines().filter(|line| line.starts_with("trial")).count(), 5, "{printed}");
    assert!(printed.contains("best: trial "), "{printed}");
    assert_eq!(printed.lines().last(), Some("whole"));

    tune(dir.path(), "parts", "2");
    let rest = run(dir.path(), &["tune", "parts", "--trials", "5"]);
    assert_eq!(rest.lines().filter(|line| line.starts_with("trial")).count(), 3, "{rest}");
    let [whole, parts] = ["whole", "parts"].map(|name| journal(&dir.path().join(name)));
    assert_eq!(whole, parts);
    let best = fs::read_to_string(dir.path().join("whole/best.toml")).unwrap();
    assert_eq!(best, fs::read_to_string(dir.path().join("parts/best.toml")).unwrap());
    run(dir.path(), &["train", "whole/best.toml", "--steps", "64", "--quiet"]);

    let again = run(dir.path(), &["tune", "parts"]);
    assert!(!again.contains("trial    "), "{again}");
    let refused = start(dir.path(), &["tune", "parts", "--steps", "9"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
#[ignore = "needs Python with Optuna; `cargo xtask test` runs it"]
fn optuna_reads_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    tune(dir.path(), "study", "4");
    let script = r#"
import json, sys
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = JournalStorage(JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="study", storage=storage)
trials = [t for t in study.trials if t.state.is_finished()]
print(json.dumps({
    "direction": study.direction.name,
    "states": [t.state.name for t in trials],
    "values": [t.value for t in trials],
    "steps": [len(t.intermediate_values) for t in trials],
    "params": [t.params for t in trials],
    "seconds": [(t.datetime_complete - t.datetime_start).total_seconds() for t in trials],
    "best": study.best_trial.number,
}))
# Another program may go on with the study.
study.tell(study.ask(trials[0].distributions), 1e6)
"#;
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let journal = dir.path().join("study/journal.log");
    let output = Command::new(python).args(["-c", script]).arg(&journal).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["direction"], "MAXIMIZE");
    assert_eq!(found["states"].as_array().unwrap().len(), 4, "{found}");
    for (index, state) in found["states"].as_array().unwrap().iter().enumerate() {
        let steps = if state == "COMPLETE" { 2 } else { 1 };
        assert_eq!(found["steps"][index], steps, "{found}");
        assert!(found["values"][index].as_f64().unwrap() > 1.0, "{found}");
        let params = &found["params"][index];
        let lr = params["training.lr"].as_f64().unwrap();
        assert!((1e-4..=1e-2).contains(&lr), "{found}");
        assert!(["[4]", "[8,8]"].contains(&params["model_config.fcnet_hiddens"].as_str().unwrap()));
        assert!(params["training.num_epochs"].is_i64(), "{found}");
        let seconds = found["seconds"][index].as_f64().unwrap();
        assert!((0.0..600.0).contains(&seconds), "{found}");
    }
    let printed = run(dir.path(), &["tune", "study", "--trials", "6"]);
    assert!(printed.contains("best: trial 4 with 1000000.00"), "{printed}");
}
