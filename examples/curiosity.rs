//! Count-based curiosity: a learner connector that rewards rare observations, so that PPO finds a reward
//! that it would never meet by chance.
//!
//! In the environment, Deep Sea (Osband et al., 2020), only one sequence of 16 actions out of 65 536 is
//! rewarded, and each step towards the reward costs a little. With five seeds each, the mean return of PPO
//! is 0 after 300 000 steps, and with curiosity it is 0.9 after 13 000 to 17 000 steps.
//!
//! `cargo run --release --example curiosity`

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeMap;

use rekindle::env::{self, EnvError};
use rekindle::learner::{LearnerError, Result as LearnerResult};
use rekindle::prelude::*;
use serde::{Deserialize, Serialize};

/// Sink through a square grid and reach the bottom right corner.
///
/// Each step leads one row down, and one column to the left (action 0) or right (action 1). Going right
/// costs 0.01 divided by the number of rows, and the corner gives 1. The best return is 0.99, and the
/// second best is 0: always left.
struct DeepSea {
    observations: Space,
    actions: Space,
    size: i64,
    place: [i64; 2],
}

impl DeepSea {
    fn new(config: &EnvConfig) -> Result<Self, EnvError> {
        config.deny_unknown("DeepSea", &["size"])?;
        let size = config.get_i64("size")?.unwrap_or(16);
        if !(2..=100).contains(&size) {
            return Err(EnvError::InvalidOption {
                option: "size".into(),
                expected: "a number of rows from 2 to 100".into(),
                found: size.to_string(),
            });
        }
        Ok(Self {
            // The last row holds the observations at the end.
            observations: Space::discrete(((size + 1) * size) as usize)?,
            actions: Space::discrete(2)?,
            size,
            place: [0, 0],
        })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<(), EnvError> {
        let [row, column] = self.place;
        observation.write_discrete(row * self.size + column)
    }
}

impl Env for DeepSea {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<(), EnvError> {
        options.deny_unknown("DeepSea", &[])?;
        self.place = [0, 0];
        self.observe(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step, EnvError> {
        let [row, column] = self.place;
        let right = action.as_discrete()? == 1;
        let last = self.size - 1;
        let reward = match right {
            true if [row, column] == [last, last] => 1.0 - 0.01 / self.size as f64,
            true => -0.01 / self.size as f64,
            false => 0.0,
        };
        let next = if right { column + 1 } else { column - 1 };
        self.place = [row + 1, next.clamp(0, last)];
        self.observe(observation)?;
        Ok(Step { reward, terminated: row == last, truncated: false })
    }

    fn state(&self) -> Result<Option<serde_json::Value>, EnvError> {
        env::save_state(&self.place)
    }

    fn set_state(&mut self, state: &serde_json::Value) -> Result<(), EnvError> {
        self.place = env::load_state("DeepSea", state)?;
        Ok(())
    }
}

/// Adds `scale / √n` to the reward of each step, where `n` counts how often its next observation was seen
/// (Strehl & Littman, 2008; Bellemare et al., 2016). Losses see the sum: advantages and value targets
/// include the bonus. Reported returns do not.
#[derive(Debug)]
struct Curiosity {
    scale: f32,
    counts: BTreeMap<i64, u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    scale: f32,
}

#[derive(Serialize, Deserialize)]
struct Counts {
    observations: Vec<i64>,
    counts: Vec<u64>,
}

impl Curiosity {
    fn boxed(config: &serde_json::Value) -> LearnerResult<Box<dyn LearnerConnector>> {
        let Settings { scale } =
            serde_json::from_value(config.clone()).map_err(LearnerError::custom)?;
        Ok(Box::new(Self { scale, counts: BTreeMap::new() }))
    }
}

impl LearnerConnector for Curiosity {
    fn transform(
        &mut self,
        _: &PrepareContext<'_>,
        mut data: TrainData,
    ) -> LearnerResult<TrainData> {
        let mut rewards = data.as_f32(Columns::REWARDS)?.to_vec();
        let rows: Vec<usize> = (0..data.rows()).collect();
        let next_observations = data.column(Columns::NEXT_OBS, &rows)?;
        for (reward, next) in rewards.iter_mut().zip(next_observations.as_i64()?) {
            let count = self.counts.entry(*next).or_default();
            *count += 1;
            *reward += self.scale / (*count as f32).sqrt();
        }
        data.insert_f32(Columns::REWARDS, rewards)?;
        Ok(data)
    }

    fn get_state(&self) -> LearnerResult<State> {
        Ok(State::from_data(&Counts {
            observations: self.counts.keys().copied().collect(),
            counts: self.counts.values().copied().collect(),
        })?)
    }

    fn set_state(&mut self, state: &State) -> LearnerResult<()> {
        let Counts { observations, counts } = state.data_as()?;
        self.counts = observations.into_iter().zip(counts).collect();
        Ok(())
    }
}

/// Registers the environment and the connector, after which configurations and checkpoints can name them.
pub(crate) fn register_all() -> Result<(), EnvError> {
    register_learner_connector("Curiosity", Curiosity::boxed);
    register(EnvSpec::new("DeepSea-v0", DeepSea::new))
}

pub(crate) fn plain(seed: u64) -> PpoConfig {
    PpoConfig::new()
        .environment("DeepSea-v0")
        .env_config(EnvConfig::new().with("size", 16))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64])
        .training(|t| {
            t.lr(3e-3).gamma(0.99).train_batch_size(1024).minibatch_size(256).num_epochs(6)
        })
        .seed(seed)
}

pub(crate) fn curious(seed: u64) -> PpoConfig {
    let curiosity = LearnerConnectorConfig::new("Curiosity", serde_json::json!({"scale": 0.3}));
    plain(seed).learners(|l| l.learner_connector(curiosity))
}

/// Trains until the mean return of the last 100 episodes is 0.9, for at most `max_steps` environment steps.
/// Returns the steps and that mean.
pub(crate) fn train(config: &PpoConfig, max_steps: u64) -> Result<(u64, f64), MainError> {
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    loop {
        let mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(f64::NAN);
        if mean >= 0.9 || algo.env_steps() >= max_steps {
            return Ok((algo.env_steps(), mean));
        }
    }
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> Result<(), MainError> {
    let about = "Trains PPO with and without count-based curiosity where rewards are sparse.";
    program::no_arguments("curiosity", about);
    program::show_warnings();
    register_all()?;
    for seed in 0..3 {
        for (name, config) in [("PPO", plain(seed)), ("PPO with curiosity", curious(seed))] {
            let (steps, mean) = train(&config, 100_000)?;
            println!("seed {seed}, {name:>18}: mean return {mean:>5.2} after {steps} steps");
        }
    }
    Ok(())
}
