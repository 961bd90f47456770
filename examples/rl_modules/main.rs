//! The code blocks of RLlib's page "RL Modules", in Rust.
//!
//! `cargo run --release --example rl_modules`

#[path = "../common/program.rs"]
mod program;

mod checkpointing;
mod constructing;
pub(crate) mod custom_encoder;
pub(crate) mod mobilenet;
mod returning_actions;
mod shared_encoder;

use std::error::Error;

use rekindle::prelude::*;

/// A block of the page: what it shows, and its program.
type Block = (&'static str, fn() -> Result<(), Box<dyn Error>>);

#[allow(dead_code, reason = "a test calls `run` instead")]
fn main() -> Result<(), MainError> {
    let about = "Runs the programs of RLlib's page \"RL Modules\".";
    program::no_arguments("rl_modules", about);
    program::show_warnings();
    run()
}

/// Runs every block and prints what it shows.
pub(crate) fn run() -> Result<(), MainError> {
    let blocks: &[Block] = &[
        ("constructing: enabling", constructing::enabling),
        ("constructing: a single spec", constructing::a_single_spec),
        ("constructing: a multi spec", constructing::a_multi_spec),
        ("constructing: a spec in an algorithm", constructing::a_spec_in_an_algorithm),
        (
            "constructing: several agents in an algorithm",
            constructing::several_agents_in_an_algorithm,
        ),
        (
            "returning_actions: with and without the actions key",
            returning_actions::with_and_without_the_actions_key,
        ),
        (
            "shared_encoder: a multi module with a shared encoder",
            shared_encoder::a_multi_module_with_a_shared_encoder,
        ),
        ("custom_encoder: a mobilenet in ppos module", custom_encoder::a_mobilenet_in_ppos_module),
        (
            "checkpointing: a module outside and inside an algorithm",
            checkpointing::a_module_outside_and_inside_an_algorithm,
        ),
    ];
    for (what, block) in blocks {
        block()?;
        println!("ran {what}");
    }
    Ok(())
}
