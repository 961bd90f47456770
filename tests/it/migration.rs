//! The Rust twins of RLlib's page on the migration to RL modules run.

#[path = "../../examples/migration/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::run().unwrap();
}
