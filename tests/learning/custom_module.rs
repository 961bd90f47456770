//! The example's custom module learns.

#[path = "../../examples/custom_module.rs"]
mod example;

use rekindle::prelude::*;

#[test]
fn the_custom_module_of_the_example_learns_cartpole_to_100_within_40_000_steps() {
    let (algo, mean) = example::train(40_000, 0).unwrap();
    assert!(mean >= 100.0, "reached {mean}, a random policy has about 22");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy");
    let module = algo.module("default_policy").unwrap();
    module.save_to_path(&path).unwrap();
    let device = DeviceSpec::Cpu.open().unwrap();
    let restored = example::MyActorCritic::from_checkpoint(&path, &device).unwrap();
    let weights = rekindle::core::weights::state_dict(&restored).unwrap();
    assert_eq!(weights, module.state_dict().unwrap());
}

#[test]
fn a_users_module_is_under_40_lines() {
    let source = include_str!("../../examples/custom_module.rs");
    let module = source.split("// A user's module starts here").nth(1).unwrap();
    let module = module.split("// … and ends here.").next().unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = module.lines().skip(1).filter(is_code).count();
    assert!(lines < 40, "{lines} lines");
}
