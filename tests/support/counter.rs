//! An environment that counts steps, so that results are known in advance.

use rekindle::env::Result;
use rekindle::prelude::*;

/// Observations and rewards are the number of steps in the episode. An episode ends after `length`
/// steps (default 3).
#[derive(Debug)]
struct Counter {
    spaces: [Space; 2],
    length: i64,
    step: i64,
}

impl Counter {
    fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("Counter", &["length", "wide"])?;
        let actions = if config.get_bool("wide")? == Some(true) { 3 } else { 2 };
        let spaces = [Space::boxed(0.0, 100.0, &[1])?, Space::discrete(actions)?];
        Ok(Self { spaces, length: config.get_i64("length")?.unwrap_or(3), step: 0 })
    }
}

impl Env for Counter {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }

    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }

    fn reset(&mut self, _: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        self.step = 0;
        observation.write_f32(&[0.0])
    }

    fn step(&mut self, _: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        self.step += 1;
        observation.write_f32(&[self.step as f32])?;
        let terminated = self.step >= self.length;
        Ok(Step { reward: self.step as f64, terminated, truncated: false })
    }

    fn state(&self) -> Result<Option<serde_json::Value>> {
        rekindle::env::save_state(&self.step)
    }

    fn set_state(&mut self, state: &serde_json::Value) -> Result<()> {
        self.step = rekindle::env::load_state("Counter", state)?;
        Ok(())
    }
}

/// PPO on the environment, with five steps of one environment per iteration.
pub(crate) fn counting() -> PpoConfig {
    // Every test registers the environment; all but the first are rejected.
    drop(register(EnvSpec::new("test/Counter-v0", Counter::new)));
    PpoConfig::new()
        .environment("test/Counter-v0")
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(5).minibatch_size(None).num_epochs(1))
        .evaluation(|e| e.evaluation_config(|o| o.num_envs_per_env_runner(1)))
        .seed(1)
}
