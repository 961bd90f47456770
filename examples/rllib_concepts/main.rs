//! "How To Customize Policies": the blocks of RLlib's page on concepts that are not a program of their own,
//! in Rust. `docs/from-rllib.md` lists all blocks.
//!
//! `cargo run --release --example rllib_concepts`

#[path = "../common/program.rs"]
mod program;

mod actor_critic;
mod extra_action_outputs;
mod ppo_variant;
mod recurrent_state;
mod simple_q;

use std::error::Error;

use rekindle::prelude::*;

/// A block of the page: what it shows, and its program.
type Block = (&'static str, fn() -> Result<(), Box<dyn Error>>);

#[allow(dead_code, reason = "a test calls `run` instead")]
fn main() -> Result<(), MainError> {
    let about = "Runs the programs of RLlib's page \"How To Customize Policies\".";
    program::no_arguments("rllib_concepts", about);
    program::show_warnings();
    run()
}

/// Runs every block and prints what it shows.
pub(crate) fn run() -> Result<(), MainError> {
    let blocks: &[Block] = &[
        ("policy recurrent state", recurrent_state::a_state_that_counts),
        ("extra action info output", extra_action_outputs::outputs_that_the_loss_reads),
        ("PPO with other functions", ppo_variant::a_variant_of_ppo),
        ("deep Q networks", simple_q::an_algorithm_with_target_network),
        ("the A3C policy", actor_critic::a3cs_policy),
    ];
    for (what, block) in blocks {
        block()?;
        println!("ran {what}");
    }
    Ok(())
}
