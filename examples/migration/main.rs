//! "Migrating from Custom Policies and Models to RL Modules": each block of RLlib's page, in Rust.
//!
//! `cargo run --release --example migration`

#[path = "../common/program.rs"]
mod program;

mod action_distribution_fn;
mod action_sampler_fn;
mod compute_actions;
mod compute_log_likelihoods;
mod make_model;
mod make_model_and_action_dist;

use std::error::Error;

use rekindle::prelude::*;

/// A block of the page: what it shows, and its program.
type Block = (&'static str, fn() -> Result<(), Box<dyn Error>>);

#[allow(dead_code, reason = "a test calls `run` instead")]
fn main() -> Result<(), MainError> {
    let about = "Runs the programs of RLlib's page \"Migrating from Custom Policies and Models to RL Modules\".";
    program::no_arguments("migration", about);
    program::show_warnings();
    run()
}

/// Runs every block and prints what it shows.
pub(crate) fn run() -> Result<(), MainError> {
    let blocks: &[Block] = &[
        ("make_model: a custom model", make_model::a_custom_model),
        (
            "make_model_and_action_dist: a model and a distribution",
            make_model_and_action_dist::a_model_and_a_distribution,
        ),
        ("action_sampler_fn: a rule that samples", action_sampler_fn::a_rule_that_samples),
        (
            "action_distribution_fn: a distribution per phase",
            action_distribution_fn::a_distribution_per_phase,
        ),
        (
            "compute_actions: with and without exploration",
            compute_actions::with_and_without_exploration,
        ),
        ("compute_log_likelihoods: of given actions", compute_log_likelihoods::of_given_actions),
    ];
    for (what, block) in blocks {
        block()?;
        println!("ran {what}");
    }
    Ok(())
}
