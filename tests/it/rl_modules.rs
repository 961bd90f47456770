//! The Rust versions of the code blocks of RLlib's page "RL Modules" run.

#[path = "../../examples/rl_modules/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::main().unwrap();
}
