//! Changing the environments of a running algorithm.

use rekindle_env::EnvConfig;

use super::Algorithm;
use crate::Result;

impl Algorithm {
    /// Returns the settings of the training environments.
    #[must_use]
    pub fn env_config(&self) -> &EnvConfig {
        &self.config.environment.env_config
    }

    /// Switches to new environment settings, for example in a curriculum.
    ///
    /// All environments are recreated and begin new episodes, including the evaluation
    /// environments, unless evaluation has its own settings. Checkpoints record the settings. Equal
    /// settings change nothing.
    ///
    /// # Errors
    /// If the environment rejects the settings, or its spaces change with them. The algorithm is
    /// then unchanged.
    pub fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        if env_config == self.env_config() {
            return Ok(());
        }
        let follows = self.evaluation_follows_env_config();
        let mut evaluation = self.eval_env_runners.as_mut().filter(|_| follows);
        // Evaluation first: if it rejects the settings, training episodes continue.
        if let Some(runners) = &mut evaluation {
            runners.set_env_config(env_config)?;
        }
        if let Err(error) = self.env_runners.set_env_config(env_config) {
            let before = &self.config.environment.env_config;
            if evaluation.is_some_and(|runners| runners.set_env_config(before).is_err()) {
                // The next evaluation builds its runners with the former settings.
                self.eval_env_runners = None;
            }
            return Err(error.into());
        }
        self.config.environment.env_config = env_config.clone();
        Ok(())
    }
}
