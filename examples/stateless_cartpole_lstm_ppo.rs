//! CartPole without velocities: an LSTM remembers earlier positions.
//!
//! `cargo run --release --example stateless_cartpole_lstm_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    // ANCHOR: config
    let config = PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(16)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        // Policy and value function each have their own encoder and recurrent state.
        .model("use_lstm", true)
        .model("lstm_cell_size", 64)
        .model("max_seq_len", 20)
        .model("fcnet_hiddens", vec![64])
        .model("fcnet_activation", "relu")
        .model("head_fcnet_hiddens", vec![64])
        .training(|t| {
            ppo_settings(t)
                .lr(1e-3)
                .train_batch_size(2048)
                .minibatch_size(512)
                .num_epochs(8)
                .entropy_coeff(0.005)
        });
    // ANCHOR_END: config
    common::learn(&tasks::STATELESS_CARTPOLE, config)
}
