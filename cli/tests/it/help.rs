//! The texts that the program prints about itself.

use crate::program::run;

#[test]
fn the_help_of_every_command_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = run(dir.path(), &["--help"]);
    for name in ["train", "resume", "evaluate", "config", "list", "inspect", "plot", "view"] {
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
    insta::assert_snapshot!(algorithms);
}

#[test]
fn every_setting_is_a_key_of_the_printed_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = run(dir.path(), &["config", "ppo", "CartPole-v1", "--set", "training.lr=3e-4"]);
    insta::assert_snapshot!(text);
    std::fs::write(dir.path().join("again.toml"), &text).unwrap();
    assert_eq!(run(dir.path(), &["config", "again.toml"]), text);
}
