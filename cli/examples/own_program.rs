//! A program with the commands of `rekindle`, and with a custom environment, connector and algorithm.
//!
//! `cargo run -p rekindle-cli --example own_program -- train CarefulPPO Lab/ShortCartPole-v0 --steps 20000`

use std::process::ExitCode;

use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;

fn main() -> ExitCode {
    rekindle_cli::run(|| {
        // Environments are named in `environment.env`.
        register(EnvSpec::new("Lab/ShortCartPole-v0", CartPole::new).with_max_episode_steps(100))?;
        // Connectors are named in `env_runners.env_to_module_connector`: {type = "Custom", name = "lab.half"}.
        register_connector("lab.half", |_, actions| {
            ConnectorConfig::scale_rewards(0.5).build(actions)
        });
        // A variant of PPO with other defaults and an additional metric.
        let careful = PpoConfig::new()
            .with_name("CarefulPPO")
            .model("fcnet_hiddens", vec![32, 32])
            .training(|t| t.lr(1e-3).clip_param(0.1).train_batch_size(512).minibatch_size(128))
            .callbacks(Patience);
        register_algorithm(careful);
        Ok(())
    })
}

/// Adds the mean episode length as a fraction of the time limit.
struct Patience;

impl Callbacks for Patience {
    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        if let Some(length) = result.get("env_runners/episode_len_mean") {
            result.insert("patience", length / 100.0);
        }
        Ok(())
    }
}
