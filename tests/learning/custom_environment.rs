//! The example's custom environment is correct, can be learned and can be saved.

#[path = "../../examples/custom_environment.rs"]
mod example;

use std::sync::Once;

use rekindle::env::check_env;
use rekindle::prelude::*;

fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| example::register_grid_world().unwrap());
}

#[test]
fn the_grid_world_of_the_example_passes_the_check() {
    register();
    check_env(&mut make("GridWorld-v0").unwrap()).unwrap();
}

#[test]
fn the_grid_world_of_the_example_is_learned_to_its_optimum_within_60_000_steps() {
    register();
    let (algo, mean) = example::train(60_000, 0).unwrap();
    assert!(mean >= 1.0, "reached {mean} after {} steps", algo.env_steps());
}

#[test]
fn a_restored_run_in_the_grid_world_of_the_example_continues_exactly() {
    register();
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut straight = example::config(1).build(&device).unwrap();
    straight.train().unwrap();
    straight.save_to_path(folder.path().join("algo")).unwrap();
    let path = folder.path().join("algo");
    let mut restored = Algorithm::from_checkpoint::<PpoTraining>(&path, &device).unwrap();
    for _ in 0..2 {
        straight.train().unwrap();
        restored.train().unwrap();
    }
    let learner =
        |algo: &Algorithm| algo.get_state().unwrap().component("learner").unwrap().clone();
    assert_eq!(learner(&straight), learner(&restored));
}
