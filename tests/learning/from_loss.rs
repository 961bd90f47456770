//! The example of algorithms from a loss function.

#![allow(dead_code, reason = "the example has a `main`")]

#[path = "../../examples/policy_gradient_from_loss.rs"]
mod policy_gradient_from_loss;

#[test]
fn a_loss_over_returns_learns_and_one_over_rewards_does_not() {
    use policy_gradient_from_loss::{reward_only, train, with_returns};
    let learned = train(&with_returns(), 100_000).unwrap();
    assert!(learned >= 150.0, "{learned}");
    let unlearned = train(&reward_only(), 20_000).unwrap();
    assert!(unlearned < 60.0, "{unlearned}");
}
