//! "Migrating from Custom Policies and Models to RL Modules": each block of RLlib's page, in Rust.
//!
//! `cargo run --release --example migration`

mod action_distribution_fn;
mod action_sampler_fn;
mod compute_actions;
mod compute_log_likelihoods;
mod make_model;
mod make_model_and_action_dist;

use rekindle::prelude::*;

pub(crate) fn main() -> Result<(), MainError> {
    make_model::a_model_of_ones_own()?;
    make_model_and_action_dist::a_model_and_a_distribution()?;
    action_sampler_fn::a_rule_that_samples()?;
    action_distribution_fn::a_distribution_per_phase()?;
    compute_actions::with_and_without_exploration()?;
    compute_log_likelihoods::of_given_actions()?;
    Ok(())
}
