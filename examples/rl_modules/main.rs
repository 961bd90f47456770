//! The code blocks of RLlib's page "RL Modules", in Rust.
//!
//! `cargo run --release --example rl_modules`

mod checkpointing;
mod constructing;
pub(crate) mod custom_encoder;
pub(crate) mod mobilenet;
mod returning_actions;
mod shared_encoder;

use rekindle::prelude::*;

pub(crate) fn main() -> Result<(), MainError> {
    constructing::enabling()?;
    constructing::a_single_spec()?;
    constructing::a_multi_spec()?;
    constructing::a_spec_in_an_algorithm()?;
    constructing::several_agents_in_an_algorithm()?;
    returning_actions::with_and_without_the_actions_key()?;
    shared_encoder::a_multi_module_with_a_shared_encoder()?;
    custom_encoder::a_mobilenet_in_ppos_module()?;
    checkpointing::a_module_outside_and_inside_an_algorithm()?;
    Ok(())
}
