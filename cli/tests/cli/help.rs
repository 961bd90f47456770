//! The texts that the program prints about itself.

use crate::program::run;

#[test]
fn the_help_of_every_command_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = run(dir.path(), &["--help"]);
    for name in [
        "train", "resume", "evaluate", "config", "list", "inspect", "export", "plot", "view",
        "play", "tune",
    ] {
        text += &format!("\n----- {name} -----\n");
        text += &run(dir.path(), &[name, "--help"]);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn lists_name_what_settings_may_name() {
    let dir = tempfile::tempdir().unwrap();
    let all = run(dir.path(), &["list"]);
    for part in [
        "algorithms\n",
        "  PPO\n",
        "  CartPole-v1",
        "  MeanStdFilter\n",
        "  cpu    can be used\n",
        "  cartpole ",
    ] {
        assert!(all.contains(part), "no `{part}` in:\n{all}");
    }
    let algorithms = run(dir.path(), &["list", "algorithms"]);
    assert!(algorithms.lines().any(|line| line == "SAC"), "{algorithms}");
    assert!(!algorithms.contains("CartPole"), "{algorithms}");
}

#[test]
fn every_setting_is_a_key_of_the_printed_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = run(dir.path(), &["config", "ppo", "CartPole-v1", "--set", "training.lr=3e-4"]);
    for part in [
        "algorithm = \"PPO\"\n",
        "\n[environment]\n",
        "env = \"CartPole-v1\"\n",
        "\nlr = 0.0003\n",
        "\nminibatch_size = 128\n",
        "\ngrad_clip = \"none\"\n",
        "\n[training.optimizer]\n",
        "\n[run]\n",
        "\nmax_env_steps = \"none\"\n",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    std::fs::write(dir.path().join("again.toml"), &text).unwrap();
    assert_eq!(run(dir.path(), &["config", "again.toml"]), text);
}
