//! N iterations and N more after a resume equal 2N, for every algorithm.

use std::fs;
use std::path::Path;

use crate::program::{results, run, train};

/// The arguments of a small run of an algorithm. Evaluations in between must not change anything.
fn args(algorithm: &str) -> Vec<String> {
    let (env, settings): (&str, &[&str]) = match algorithm {
        "ppo" | "a2c" | "vpg" => ("CartPole-v1", &["training.train_batch_size=64"]),
        "impala" | "appo" => (
            "CartPole-v1",
            &[
                "training.deterministic=true",
                "training.train_batch_size=40",
                "training.fragment_length=10",
                "env_runners.num_env_runners=2",
            ],
        ),
        "pqn" => ("CartPole-v1", &["training.train_batch_size=64", "training.minibatch_size=32"]),
        "bc" | "marwil" => ("CartPole-v1", &["offline_data.dataset_num_iters_per_learner=5"]),
        "cql" | "iql" | "td3bc" => (
            "Pendulum-v1",
            &["training.train_batch_size=8", "offline_data.dataset_num_iters_per_learner=5"],
        ),
        "dqn" => (
            "CartPole-v1",
            &[
                "training.train_batch_size=8",
                "training.num_steps_sampled_before_learning_starts=16",
                "reporting.min_sample_timesteps_per_iteration=32",
            ],
        ),
        _ => (
            "Pendulum-v1",
            &[
                "training.train_batch_size=8",
                "training.num_steps_sampled_before_learning_starts=16",
                "reporting.min_sample_timesteps_per_iteration=32",
            ],
        ),
    };
    let common = [
        "model_config.fcnet_hiddens=[8]",
        "evaluation.evaluation_interval=1",
        "evaluation.evaluation_duration=1",
        "run.tensorboard=none",
    ];
    let mut args = vec![algorithm.to_owned(), env.to_owned(), "--seed=5".to_owned()];
    let minibatch: &[&str] = if algorithm == "ppo" { &["training.minibatch_size=32"] } else { &[] };
    let sets = settings.iter().chain(&common).chain(minibatch);
    args.extend(sets.map(|setting| format!("--set={setting}")));
    if is_offline(algorithm) {
        args.push(format!("--set=offline_data.input_=[\"{DATA}\"]"));
    }
    args
}

/// The directory of recorded experience.
const DATA: &str = "data";

fn is_offline(algorithm: &str) -> bool {
    ["bc", "cql", "iql", "marwil", "td3bc"].contains(&algorithm)
}

/// Records experience in the environment of an offline algorithm.
fn record(dir: &Path, env: &str) {
    let output = format!("--set=env_runners.output={DATA}");
    let small = ["--set=training.train_batch_size=400", "--set=training.minibatch_size=none"];
    let args = ["ppo", env, "--seed=1", "--set=run.max_iterations=2", &output];
    train(dir, &[&args[..], &small].concat());
}

/// The manifest of a part of the latest checkpoint: it holds the digest of every byte.
fn digest(run: &Path, part: &str) -> String {
    let path = run.join("checkpoints/latest").join(part).join("manifest.json");
    fs::read_to_string(path).unwrap()
}

fn check(algorithm: &str) {
    let dir = tempfile::tempdir().unwrap();
    let args = args(algorithm);
    if is_offline(algorithm) {
        record(dir.path(), &args[1]);
    }
    let with = |limit: &'static str| -> Vec<&str> {
        args.iter().map(String::as_str).chain([limit]).collect()
    };
    let whole = train(dir.path(), &with("--set=run.max_iterations=4"));
    let parts = train(dir.path(), &with("--set=run.max_iterations=2"));
    let path = parts.to_str().unwrap();
    run(dir.path(), &["resume", path, "--set", "run.max_iterations=4", "--quiet"]);
    assert_eq!(results(&parts).len(), 4, "{algorithm}");
    assert_eq!(results(&parts), results(&whole), "{algorithm}");
    assert_eq!(digest(&parts, "learner"), digest(&whole, "learner"), "{algorithm}");
}

macro_rules! exact {
    ($($name:ident),*) => {
        const CHECKED: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

exact!(a2c, appo, bc, cql, ddpg, dqn, impala, iql, marwil, ppo, pqn, sac, td3, td3bc, tqc, vpg);

#[test]
fn no_algorithm_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let listed = run(dir.path(), &["list", "algorithms"]).to_lowercase();
    // It trains modules that learn by themselves, and the program has none.
    let listed: Vec<_> = listed.lines().filter(|name| *name != "learnonbatch").collect();
    assert_eq!(listed, CHECKED);
}
