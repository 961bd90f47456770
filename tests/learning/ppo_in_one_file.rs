//! The example with PPO in one file learns.

#[path = "../../examples/ppo_in_one_file.rs"]
mod example;

#[test]
fn ppo_in_one_file_learns_cartpole_to_150_within_40_000_steps() {
    let mut reported = 0;
    let report = |steps, _| {
        reported = steps;
        Ok(())
    };
    let (agent, mean) = example::train(1, 150.0, 40_000, report).unwrap();
    assert!(mean >= 150.0, "reached {mean}, a random policy has about 22");
    assert!((1024..=40_960).contains(&reported), "{reported} steps");
    let greedy = example::play_greedily(&agent, 1_000_000).unwrap();
    assert!(greedy >= 150.0, "{greedy}");
}

/// The example is there to be read in one go.
#[test]
fn ppo_in_one_file_has_at_most_280_lines() {
    let lines = include_str!("../../examples/ppo_in_one_file.rs")
        .lines()
        .filter(|line| !line.contains("ANCHOR"))
        .count();
    assert!(lines <= 280, "{lines} lines");
}
