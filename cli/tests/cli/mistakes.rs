//! Wrong command lines and settings. Each gives a helpful message and exit code 2, or 1 if the cause is the machine.

use std::fmt::Write as _;
use std::fs;

use crate::program::start;

/// Files of settings with mistakes.
const FILES: [(&str, &str); 11] = [
    ("no_algorithm.toml", "[training]\nlr = 1e-3\n"),
    ("syntax.toml", "algorithm = \"PPO\"\n[training\nlr = 1\n"),
    ("twice.toml", "algorithm = \"PPO\"\n[training]\nlr = 1\nlr = 2\n"),
    ("algorithm.toml", "algorithm = \"PQO\"\n"),
    ("section.toml", "algorithm = \"PPO\"\n[trainning]\nlr = 1\n"),
    ("setting.toml", "algorithm = \"PPO\"\n[training]\nlearning_rate = 1\n"),
    ("type.toml", "algorithm = \"PPO\"\n[training]\nuse_gae = \"yes\"\n"),
    ("date.toml", "algorithm = \"PPO\"\n[training]\nlr = 2026-01-01\n"),
    ("env.toml", "algorithm = \"PPO\"\n"),
    ("lr.toml", "\"training.lr\" = { low = 1, high = 0.1 }\n"),
    ("unknown.toml", "\"training.learning_rate\" = { low = 1e-4, high = 1e-3 }\n"),
];

/// Command lines, separated by spaces.
const LINES: [&str; 73] = [
    "",
    "trian ppo CartPole-v1",
    "train",
    "train ppo",
    "train pqo CartPole-v1",
    "train cartpol",
    "train ppo CartPole-v9",
    "train ppo cartpole-v1",
    "train missing.toml",
    "train no_algorithm.toml",
    "train syntax.toml",
    "train twice.toml",
    "train algorithm.toml",
    "train section.toml",
    "train setting.toml",
    "train type.toml",
    "train date.toml",
    "train env.toml",
    "train ppo CartPole-v1 extra",
    "train ppo CartPole-v1 --sets training.lr=1",
    "train ppo CartPole-v1 --set training.lr",
    "train ppo CartPole-v1 --set lr=1e-3",
    "train ppo CartPole-v1 --set training.learning_rate=1e-3",
    "train ppo CartPole-v1 --set training.lr=fast",
    "train ppo CartPole-v1 --set training.lr=-1",
    "train ppo CartPole-v1 --set training.gamma=1.5",
    "train ppo CartPole-v1 --set training.minibatch_size=0",
    "train ppo CartPole-v1 --set training.minibatch_size=1e9",
    "train ppo CartPole-v1 --set env_runners.num_env_runners=0",
    "train ppo CartPole-v1 --set env_runners.env_to_module_connector=[{type=\"MeanFilter\"}]",
    "train ppo CartPole-v1 --set model_config.fcnet_hidden=[8]",
    "train ppo CartPole-v1 --set environment.env_config.gravity=9.8",
    "train ppo CartPole-v1 --set run.max_steps=10",
    "train ppo CartPole-v1 --set run.keep_checkpoints=0",
    "train ppo CartPole-v1 --set algorithm=DQN",
    "train ppo CartPole-v1 --steps many",
    "train ppo CartPole-v1 --steps 0",
    "train ppo CartPole-v1 --set run.max_iterations=0",
    "train ppo CartPole-v1 --seed -1",
    "train ppo CartPole-v1 --device gpu",
    "train dqn Pendulum-v1",
    "train sac CartPole-v1 --set training.gamme=0.9",
    "resume missing",
    "evaluate missing",
    "evaluate . --best",
    "plot missing",
    "view missing",
    "play missing --out episode.gif",
    "play missing --out episode.avi",
    "tune ppo CartPole-v1",
    "tune vpg CartPole-v1 --steps 100",
    "tune ppo CartPole-v1 --steps 100 --space missing.toml",
    "tune ppo CartPole-v1 --steps 100 --space lr.toml",
    "tune ppo CartPole-v1 --steps 100 --space unknown.toml",
    "tune ppo CartPole-v1 --steps 100 --trials 0",
    "export missing --out policy.onnx --format onx",
    "train ppo CartPole-v1 --runs env.toml",
    "train dqn CartPole-v1 --set training.epsilon[5][0]=1",
    "train dqn CartPole-v1 --set training.epsilon[1][0]=0",
    "train bc CartPole-v1",
    "train bc CartPole-v1 --set offline_data.input_=[\"missing\"]",
    "train ppo CartPole-v1 --set evaluation.evaluation_config.env=CartPole-v9",
    "tune bc --steps 100 --set offline_data.input_=[\"missing\"]",
    "train ppo CartPole-v1 --set multi_agent.policy_mapping=by_agnet",
    "config",
    "list games",
    "inspect env.toml",
    "evaluate env.toml",
    "export . --out policy",
    "resume . --checkpoint best",
    "view . --port 99999",
    "view . --address nowhere",
    "play missing --out episode.gif --fps 0",
];

#[test]
fn every_mistake_is_answered_with_a_message_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut answers = String::new();
    for line in LINES {
        let args: Vec<&str> = line.split_whitespace().collect();
        let output = start(dir.path(), &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty(), "{line}");
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
        let code = output.status.code();
        writeln!(answers, "$ rekindle {line}").unwrap();
        for text in stderr.lines() {
            // Lists of all names change whenever something is added.
            let shown = text.split_once("known: ").map_or(text, |(start, _)| start);
            let cut = if shown == text { "" } else { "known: …" };
            writeln!(answers, "{shown}{cut}").unwrap();
        }
        writeln!(answers, "exit code {}\n", code.unwrap()).unwrap();
    }
    // Nothing was started.
    assert!(!dir.path().join("runs").exists() && !dir.path().join("tune").exists());
    insta::assert_snapshot!(answers);
}
