//! Curiosity finds what plain PPO does not.

#[path = "../../examples/curiosity.rs"]
mod example;

#[test]
fn curiosity_reaches_a_return_of_0_9_in_the_deep_sea_within_30_000_steps_and_ppo_alone_does_not() {
    example::register_all().unwrap();
    let (steps, mean) = example::train(&example::curious(7), 30_000).unwrap();
    assert!(mean >= 0.9, "reached {mean} after {steps} steps");
    let (_, mean) = example::train(&example::plain(7), 30_000).unwrap();
    assert!(mean < 0.1, "reached {mean}");
}
