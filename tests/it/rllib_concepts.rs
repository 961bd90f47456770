//! The Rust twins of RLlib's page on concepts run.

#[path = "../../examples/rllib_concepts/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::run().unwrap();
}
