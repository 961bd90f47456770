//! Memory stays flat over a long run.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![cfg(target_os = "linux")]

use rekindle::prelude::*;

/// Returns the resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_is_flat_over_1000_iterations_and_below_200_mb() {
    let mut algo = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0)
        .build(&DeviceSpec::Cpu.open().unwrap())
        .unwrap();
    let mut train = |iterations| {
        for _ in 0..iterations {
            algo.train().unwrap();
        }
        resident()
    };
    let early = train(200);
    let late = train(800);
    assert!(late < early + 4 * 1024, "{early} KiB grew to {late} KiB");
    assert!(late < 200 * 1024, "{late} KiB");
}
