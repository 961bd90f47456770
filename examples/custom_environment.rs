//! A custom environment: a grid world, checked, trained to its optimum, saved and restored.
//!
//! `cargo run --release --example custom_environment`

#[path = "common/program.rs"]
mod program;

use rekindle::env::{self, EnvError, Generator, check_env};
use rekindle::prelude::*;

/// Walk to the bottom right corner of a square grid.
///
/// An episode starts in a random cell. A step that does not come closer to the corner costs 0.1, and the
/// corner gives 1. The optimum is a return of 1 from every cell.
pub(crate) struct GridWorld {
    observations: Space,
    actions: Space,
    size: i64,
    /// The numbers that everything below depends on. A restored run continues from them.
    state: GridState,
}

/// What changes while the environment runs, including its random stream.
#[derive(serde::Serialize, serde::Deserialize)]
struct GridState {
    row: i64,
    column: i64,
    generator: Generator,
}

impl GridWorld {
    /// Creates the environment from the settings in `PpoConfig::env_config`.
    pub(crate) fn new(config: &EnvConfig) -> Result<Self, EnvError> {
        config.deny_unknown("GridWorld", &["size"])?;
        let size = config.get_i64("size")?.unwrap_or(5);
        if !(2..=100).contains(&size) {
            return Err(EnvError::InvalidOption {
                option: "size".into(),
                expected: "a number of cells from 2 to 100".into(),
                found: size.to_string(),
            });
        }
        Ok(Self {
            observations: Space::discrete((size * size) as usize)?,
            actions: Space::discrete(4)?,
            size,
            state: GridState { row: 0, column: 0, generator: Generator::from_entropy() },
        })
    }

    fn distance(&self) -> i64 {
        2 * (self.size - 1) - self.state.row - self.state.column
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<(), EnvError> {
        observation.write_discrete(self.state.row * self.size + self.state.column)
    }
}

impl Env for GridWorld {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<(), EnvError> {
        options.deny_unknown("GridWorld", &[])?;
        // With a seed, the stream restarts; without one, it continues.
        self.state.generator.reseed(options.seed);
        // Every cell but the corner.
        let cell = self.state.generator.integers(0, self.size * self.size - 1);
        (self.state.row, self.state.column) = (cell / self.size, cell % self.size);
        self.observe(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step, EnvError> {
        let before = self.distance();
        let (down, right) = match action.as_discrete()? {
            0 => (-1, 0),
            1 => (1, 0),
            2 => (0, -1),
            _ => (0, 1),
        };
        self.state.row = (self.state.row + down).clamp(0, self.size - 1);
        self.state.column = (self.state.column + right).clamp(0, self.size - 1);
        let terminated = self.distance() == 0;
        let detour = if self.distance() < before { 0.0 } else { -0.1 };
        self.observe(observation)?;
        Ok(Step { reward: if terminated { 1.0 } else { detour }, terminated, truncated: false })
    }

    // Without these two methods, a restored run begins new episodes instead of continuing exactly.
    fn state(&self) -> Result<Option<serde_json::Value>, EnvError> {
        env::save_state(&self.state)
    }

    fn set_state(&mut self, state: &serde_json::Value) -> Result<(), EnvError> {
        self.state = env::load_state("GridWorld", state)?;
        Ok(())
    }
}

/// Registers the environment, after which configurations and checkpoints can name it.
pub(crate) fn register_grid_world() -> Result<(), EnvError> {
    // `TimeLimit` ends an episode after 50 steps. The environment does not count them.
    register(EnvSpec::new("GridWorld-v0", GridWorld::new).with_max_episode_steps(50))
}

pub(crate) fn config(seed: u64) -> PpoConfig {
    PpoConfig::new()
        .environment("GridWorld-v0")
        .env_config(EnvConfig::new().with("size", 5))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64])
        .training(|t| t.lr(5e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6))
        .evaluation(|e| e.evaluation_duration(100))
        .seed(seed)
}

/// Trains until 100 greedy episodes all reach the optimum, for at most `max_steps` environment steps.
/// Returns the algorithm and the mean return of these episodes.
pub(crate) fn train(max_steps: u64, seed: u64) -> Result<(Algorithm, f64), MainError> {
    let mut algo = config(seed).build(&DeviceSpec::Cpu.open()?)?;
    loop {
        algo.train()?;
        let evaluation = algo.evaluate()?;
        if evaluation.min_return() >= 1.0 || algo.env_steps() >= max_steps {
            return Ok((algo, evaluation.mean_return()));
        }
    }
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> Result<(), MainError> {
    let about = "Trains PPO on a custom environment to its optimum, saves and restores the run.";
    program::no_arguments("custom_environment", about);
    program::show_warnings();
    register_grid_world()?;
    check_env(&mut make("GridWorld-v0")?)?;

    let (mut algo, mean) = train(100_000, 0)?;
    println!("greedy return after {} steps: {mean:.2} of 1.00", algo.env_steps());

    // A restored run continues exactly: both collect the same episodes.
    algo.save_to_path("runs/custom_environment")?;
    let device = DeviceSpec::Cpu.open()?;
    let mut restored =
        Algorithm::from_checkpoint::<PpoTraining>("runs/custom_environment", &device)?;
    let key = "env_runners/episode_return_mean";
    let [original, restored] = [algo.train()?.get(key), restored.train()?.get(key)];
    println!("return of the next iteration: {original:?}, after restoring {restored:?}");
    Ok(())
}
