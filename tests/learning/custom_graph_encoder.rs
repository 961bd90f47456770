//! The example's graph encoder learns, and the rest of the catalog is the default.

#[path = "../../examples/custom_graph_encoder.rs"]
mod example;

#[test]
fn the_graph_encoder_of_the_example_learns_to_read_the_map() {
    let (algo, mean) = example::train(25_000).unwrap();
    // A random choice is right once in six, a choice between the parcels every second time.
    assert!(mean > 0.8, "{mean}");

    let weights = algo.module("default_policy").unwrap().state_dict().unwrap();
    let has = |name: &str| weights.keys().any(|key| key.starts_with(name));
    assert!(has("encoder.streams.map.rounds.1.layers.0"), "{:?}", weights.keys());
    assert!(has("encoder.streams.boat.") && has("encoder.fusion."), "{:?}", weights.keys());
}

#[test]
fn a_users_encoder_and_catalog_are_at_most_40_lines_of_code() {
    let source = include_str!("../../examples/custom_graph_encoder.rs");
    let part = source.split("// A user's encoder and catalog start here").nth(1).unwrap();
    let part = part.split("// … and end here.").next().unwrap();
    let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = part.lines().skip(1).filter(code).count();
    assert!(lines <= 40, "{lines} lines");
}
