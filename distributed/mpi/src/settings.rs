//! The settings of each process.

use rekindle::algorithms::Experiment;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{EngineError, Result};
use crate::frame::{Frame, Kind};

/// Seeds of runners are this far apart, so that they play different episodes.
const SEEDS: u64 = 1_000_003;
/// Seeds are numbers that JSON holds exactly.
const MOST_SEED: u64 = 1 << 53;

/// What the first learner tells all other processes before training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// All settings of the run.
    settings: Value,
    /// The number of learners.
    num_learners: usize,
    /// The environment steps before this start. Runners play other episodes than those before.
    env_steps: u64,
    /// Batches that a runner may collect before the learner has learned from the first of them.
    batches_in_flight: usize,
}

impl Start {
    /// Creates the message about an experiment.
    ///
    /// # Errors
    /// If a setting is unknown or invalid.
    pub fn new(
        experiment: &Experiment,
        num_learners: usize,
        env_steps: u64,
        batches_in_flight: usize,
    ) -> Result<Self> {
        let settings = experiment.to_data()?;
        Ok(Self { settings, num_learners, env_steps, batches_in_flight })
    }

    /// Returns the number of learners.
    #[must_use]
    pub fn num_learners(&self) -> usize {
        self.num_learners
    }

    /// Returns how many batches a runner may collect before the learner has learned from the first of them.
    #[must_use]
    pub fn batches_in_flight(&self) -> usize {
        self.batches_in_flight
    }

    /// Returns the message as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        // Plain data always serialize.
        Frame::new(Kind::Settings, serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the message of a frame.
    ///
    /// # Errors
    /// If the frame is of another kind or version.
    pub fn from_frame(frame: Frame) -> Result<Self> {
        let frame = frame.expect(Kind::Settings, "settings")?;
        let read = serde_json::from_slice(&frame.body);
        read.map_err(|error| {
            let message = format!("the settings of the first learner cannot be read: {error}");
            EngineError::Fault(rekindle::learner::Fault::Fatal(message))
        })
    }

    fn experiment(&self) -> Result<Experiment> {
        let mut experiment = Experiment::from_data(self.settings.clone())?;
        // The first learner evaluates and records.
        experiment.set("evaluation.evaluation_interval=none")?;
        experiment.set("env_runners.output=none")?;
        Ok(experiment)
    }

    /// Returns the settings of a learner beside the first one, which samples nothing.
    ///
    /// # Errors
    /// If a setting is unknown.
    pub fn of_learner(&self) -> Result<Experiment> {
        let mut experiment = self.experiment()?;
        experiment.set("env_runners.num_env_runners=1")?;
        Ok(experiment)
    }

    /// Returns the settings of the runner `number`.
    ///
    /// # Errors
    /// If a setting is unknown.
    pub fn of_runner(&self, number: usize) -> Result<Experiment> {
        let mut experiment = self.experiment()?;
        let seed = self.settings["debugging"]["seed"].as_u64().unwrap_or_default();
        let seed =
            (number as u64 + 1).wrapping_mul(SEEDS).wrapping_add(seed).wrapping_add(self.env_steps)
                % MOST_SEED;
        experiment.set(&format!("debugging.seed={seed}"))?;
        Ok(experiment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(env_steps: u64) -> Start {
        let mut experiment = Experiment::new("PPO").unwrap();
        for set in [
            "environment.env=CartPole-v1",
            "debugging.seed=7",
            "evaluation.evaluation_interval=2",
            "env_runners.num_env_runners=3",
            "run.max_iterations=5",
        ] {
            experiment.set(set).unwrap();
        }
        Start::new(&experiment, 2, env_steps, 1).unwrap()
    }

    #[test]
    fn the_message_comes_back_from_a_frame() {
        let frame = Frame::from_bytes(&start(40).to_frame().to_bytes()).unwrap();
        assert_eq!(Start::from_frame(frame).unwrap(), start(40));
        let other = Frame::new(Kind::Settings, b"{}".to_vec());
        let message = Start::from_frame(other).unwrap_err().to_string();
        assert!(message.contains("cannot be read"), "{message}");
        let message = Start::from_frame(Frame::new(Kind::End, Vec::new())).unwrap_err().to_string();
        assert!(message.contains("a frame of kind End arrived"), "{message}");
    }

    #[test]
    fn runners_have_seeds_of_their_own_and_only_the_first_learner_evaluates() {
        let of = |experiment: Result<Experiment>| experiment.unwrap().settings().unwrap();
        let seed = |settings: &Value| settings["debugging"]["seed"].as_u64().unwrap();
        let learner = of(start(0).of_learner());
        assert_eq!(seed(&learner), 7);
        let all = [start(0).of_runner(0), start(0).of_runner(1), start(100).of_runner(0)].map(of);
        let mut seeds: Vec<u64> = all.iter().map(seed).collect();
        seeds.push(7);
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 4);
        for settings in all.iter().chain([&learner]) {
            assert!(settings["evaluation"]["evaluation_interval"].is_null());
        }
        assert_eq!(all[0]["env_runners"]["num_env_runners"], 3);
        assert_eq!(learner["env_runners"]["num_env_runners"], 1);
    }
}
