//! The Rust twins of RLlib's page "RL Modules" run.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../examples/rl_modules/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::main().unwrap();
}
