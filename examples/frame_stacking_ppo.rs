//! CartPole without velocities, observed as its last four observations: the velocities are in the
//! differences. `stateless_cartpole_lstm_ppo` uses an LSTM instead.
//!
//! `cargo run --release --example frame_stacking_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    // ANCHOR: config
    let config = PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            // Connectors run in this order. The filter comes first, so that the zeros before the start
            // of an episode stay zeros.
            e.num_envs_per_env_runner(8)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
                .env_to_module_connector(ConnectorConfig::FrameStacking { num_frames: 4 })
        })
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(10)
        });
    // ANCHOR_END: config
    common::learn(&tasks::FRAME_STACKING, config)
}
