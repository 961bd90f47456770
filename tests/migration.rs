//! The Rust twins of RLlib's page on the migration to RL modules run.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../examples/migration/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::main().unwrap();
}
