//! Final returns over seeds: speed counts only if as much is learned.

use std::process::Command;

use serde_json::json;

use super::Peer;
use super::measurement::{Measurement, measure};
use super::peer::Entry;
use super::python::Environment;
use super::workload::Metric;
use crate::cargo::build_measure;
use crate::error::Result;
use crate::statistics::{mean, mean_and_deviation};

/// The name on the command line.
pub(super) const NAME: &str = "learning";
pub(super) const TITLE: &str = "Learning";
/// Smallest acceptable ratio of the mean returns.
const GOAL: f64 = 1.0;
/// With five seeds the standard error of the mean is 15 to 25, with these it is 7.
const SEEDS: u64 = 30;
const CASE: &str = "8x128x64";
const STEPS: &str = "102400";

/// Final returns over seeds.
pub(super) struct Learning {
    peer: Vec<f64>,
    ours: Vec<f64>,
    /// Names and versions of the peer and of rekindle.
    systems: [String; 2],
}

impl Learning {
    /// Trains Stable-Baselines3 and rekindle on the first workload, in turns.
    pub(super) fn run(python: &Environment) -> Result<Self> {
        let measure_program = build_measure()?;
        let peer = Entry::new(Peer::Sb3, "ppo_sb3.py");
        let (mut peers, mut ours) = (Vec::new(), Vec::new());
        for seed in 0..SEEDS {
            peers.push(train(peer.command(python)?, seed)?);
            let mut program = Command::new(&measure_program);
            program.arg("ppo");
            ours.push(train(program, seed)?);
        }
        let system = |lines: &[Measurement]| {
            lines.last().map(|line| format!("{} {}", line.system, line.version)).unwrap_or_default()
        };
        let systems = [system(&peers), system(&ours)];
        let returns = |lines: Vec<Measurement>| {
            lines.iter().map(|line| line.episode_return_mean.unwrap_or(f64::NAN)).collect()
        };
        Ok(Self { peer: returns(peers), ours: returns(ours), systems })
    }

    fn ratio(&self) -> f64 {
        mean(&self.ours) / mean(&self.peer)
    }

    pub(super) fn section(&self, made: &str) -> String {
        let write = |values: &[f64]| mean_and_deviation(values, |value| format!("{value:.1}"));
        let verdict = if self.ratio() >= GOAL { "reached" } else { "not reached" };
        let [peer, ours] = &self.systems;
        format!(
            "Mean return of the last 100 episodes after {STEPS} steps of the first workload, \
             {SEEDS} seeds.\n\n| | return, mean ± std |\n|:---|---:|\n| {peer} | {} |\n| {ours} | \
             {} |\n\nThe goal, at least the peer's mean, is {verdict}: ratio {:.3}.\n\n{made}\n",
            write(&self.peer),
            write(&self.ours),
            self.ratio(),
        )
    }

    pub(super) fn json(&self) -> String {
        json!({
            "workload": NAME,
            "unit": "return",
            "system": self.systems[0],
            "ours": mean(&self.ours),
            "peer": mean(&self.peer),
            "ratio": self.ratio(),
            "goal": GOAL,
            "reached": self.ratio() >= GOAL,
        })
        .to_string()
    }
}

fn train(mut command: Command, seed: u64) -> Result<Measurement> {
    command.args(["--cases", CASE, "--steps", STEPS, "--seed", &seed.to_string()]);
    Ok(measure(&mut command, Metric::EnvSteps, &[CASE])?.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_peer_is_not_enough() {
        let learning = |ours: [f64; 3]| Learning {
            peer: vec![440.0, 450.0, 460.0],
            ours: ours.to_vec(),
            systems: ["peer 1".to_owned(), "rekindle 1".to_owned()],
        };
        let as_much = learning([440.0, 450.0, 460.0]);
        assert!(as_much.section("Made by a test.").contains("is reached: ratio 1.000."));
        let less = learning([430.0, 440.0, 450.0]);
        assert!(less.section("").contains("| peer 1 | 450.0 ± 10.0 |"));
        assert!(less.json().contains(r#""reached":false"#), "{}", less.json());
    }
}
