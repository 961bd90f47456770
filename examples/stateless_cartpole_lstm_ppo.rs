//! CartPole without its velocities: an LSTM remembers where things were.
//!
//! `cargo run --release --example stateless_cartpole_lstm_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(16)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        // Policy and value function have an encoder and a memory each.
        .model("use_lstm", true)
        .model("lstm_cell_size", 64)
        .model("max_seq_len", 20)
        .model("fcnet_hiddens", vec![64])
        .model("fcnet_activation", "relu")
        .model("head_fcnet_hiddens", vec![64])
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(2048)
                .minibatch_size(512)
                .num_epochs(8)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.005)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment {
        name: "stateless_cartpole_lstm_ppo",
        metric: EPISODE_RETURN,
        target: 350.0,
        max_steps: 300_000,
    }
    .run(config)
}
