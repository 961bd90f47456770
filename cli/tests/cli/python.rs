//! Runs in environments of Python.

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
