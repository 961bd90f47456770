//! Settings that do not go together with environments on the device.

use rekindle_core::ConfigError;

use super::{AlgorithmConfig, BatchMode, TrainingConfig};

impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// Checks that runners on the device can do what the other settings ask for. Runners check what they
    /// alone know.
    ///
    /// # Errors
    /// The first setting that needs the host.
    pub(super) fn check_on_device(&self) -> Result<(), ConfigError> {
        let runners = &self.env_runners;
        if !runners.on_device {
            return Ok(());
        }
        let refuse = |field, value: String, why: &str| {
            let constraint =
                format!("with `env_runners.on_device`, {why}, or set `on_device` to false");
            Err(ConfigError::new(field, value, constraint))
        };
        if runners.num_env_runners > 1 {
            return refuse(
                "num_env_runners",
                runners.num_env_runners.to_string(),
                "one runner steps all copies; raise `num_envs_per_env_runner` instead",
            );
        }
        if runners.batch_mode == BatchMode::CompleteEpisodes {
            return refuse(
                "batch_mode",
                "complete_episodes".into(),
                "all copies take the same number of steps; use `truncate_episodes`",
            );
        }
        if !runners.explore {
            return refuse(
                "env_runners.explore",
                "false".into(),
                "actions are sampled; set it to true",
            );
        }
        if let Some(output) = &runners.output {
            return refuse(
                "env_runners.output",
                output.display().to_string(),
                "experience stays on the device and is not recorded; remove the setting",
            );
        }
        let connectors = self.env_to_module();
        if let Some(connector) = connectors.iter().chain(&runners.module_to_env_connector).next() {
            return refuse(
                "connector",
                format!("{connector:?}"),
                "observations and actions do not pass the host, where connectors work; leave it out",
            );
        }
        let plan = self.plan();
        if !plan.learns_on_device() {
            return refuse(
                "execution plan",
                plan.name().into(),
                "the execution plan must learn on the device; use one that returns true from `ExecutionPlan::learns_on_device`, such as `Synchronous`",
            );
        }
        Ok(())
    }
}
