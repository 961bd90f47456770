//! A program with the commands of `rekindle`, and with an environment, a module and an algorithm of its own.
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
        // A variant of PPO, with defaults and a metric of its own.
        let careful = PpoConfig::new()
            .with_name("CarefulPPO")
            .model("fcnet_hiddens", vec![32, 32])
            .training(|t| t.lr(1e-3).clip_param(0.1).train_batch_size(512).minibatch_size(128))
            .callbacks(Patience);
        register_algorithm(careful);
        Ok(())
    })
}

/// Adds the share of episodes that reach the time limit, as far as the mean tells.
struct Patience;

impl Callbacks for Patience {
    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        if let Some(length) = result.get("env_runners/episode_len_mean") {
            result.insert("patience", length / 100.0);
        }
        Ok(())
    }
}
