//! Learning from recordings without an environment.

use crate::program::{run, train};

#[test]
fn a_run_without_an_environment_is_trained_resumed_and_evaluated_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--set=training.train_batch_size=400", "--set=training.minibatch_size=none"];
    let args = ["ppo", "CartPole-v1", "--seed=1", "--set=run.max_iterations=1"];
    train(dir.path(), &[&args[..], &small, &["--set=env_runners.output=data"]].concat());

    let data = "--set=offline_data.input_=[\"data\"]";
    let args = ["train", "bc", "--seed=2", data, "--set=run.max_iterations=2"];
    let printed = run(dir.path(), &args);
    assert!(printed.contains("evaluation: none without an environment"), "{printed}");
    let folder = printed.lines().last().unwrap();
    assert!(folder.starts_with("runs/bc/recordings__2__"), "{folder}");

    let printed = run(dir.path(), &["resume", folder, "--set=run.max_iterations=3"]);
    assert!(printed.contains("(iteration 3, "), "{printed}");
    let printed = run(dir.path(), &["evaluate", folder, "--env=CartPole-v1", "-n", "2"]);
    assert!(printed.contains("episodes     2"), "{printed}");
}
