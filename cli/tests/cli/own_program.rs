//! A program with environments, modules, catalogs and losses of its own has the same commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "../../examples/own_program.rs"]
#[expect(dead_code, reason = "the test calls what `main` calls")]
mod example;

/// Runs the program to its successful end.
fn run(args: &[&str]) {
    let code = rekindle_cli::run_with([&["own_program"], args].concat(), || Ok(()));
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS), "{args:?}");
}

/// Returns the only folder in a directory.
fn only(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let only = entries.next().unwrap();
    assert!(entries.next().is_none(), "{folder:?}");
    only
}

#[test]
fn parts_of_its_own_are_trained_resumed_evaluated_and_exported() {
    // Once, because the commands run in one process here.
    example::register_all().unwrap();
    for (algorithm, part, setting) in [
        (
            "CarefulPPO",
            "lab.half",
            "env_runners.env_to_module_connector=[{type=\"Custom\",name=\"lab.half\"}]",
        ),
        ("PPO", "lab.TwoMlps", "rl_module_spec={module=\"lab.TwoMlps\"}"),
        (
            "PPO",
            "lab.WideCatalog",
            "rl_module_spec={module=\"rekindle.ActorCritic\",catalog=\"lab.WideCatalog\"}",
        ),
        ("LabPG", "", "model_config.fcnet_hiddens=[8]"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().to_str().unwrap();
        let small =
            ["--set=training.train_batch_size=256", "--set=evaluation.evaluation_duration=1"];
        let env = "Lab/ShortCartPole-v0";
        let args = ["train", algorithm, env, "--steps=256", "--seed=1", "--quiet", "--runs", runs];
        run(&[&args[..], &small, &["--set", setting]].concat());
        let folder = only(&only(dir.path()));
        let path = folder.to_str().unwrap();
        let settings = fs::read_to_string(folder.join("config.toml")).unwrap();
        assert!(settings.contains(part) && settings.contains(env), "{settings}");
        run(&["resume", path, "--steps=512", "--quiet"]);
        let results = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        assert_eq!(results.lines().count(), 2, "{algorithm}");
        assert_eq!(results.contains("\"patience\":"), algorithm == "CarefulPPO");
        let bundle = dir.path().join("policy");
        run(&["export", path, "--out", bundle.to_str().unwrap()]);
        run(&["evaluate", bundle.to_str().unwrap(), "--env", env, "-n=1"]);
    }
}
