//! CartPole without its velocities, seen as the last four observations at once: what moves is in
//! the difference. (With an LSTM in place of the frames: `stateless_cartpole_lstm_ppo`.)
//!
//! `cargo run --release --example frame_stacking_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            // Connectors work in this order; the filter comes first, so that the zeros before the
            // start of an episode stay zeros.
            e.num_envs_per_env_runner(8)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
                .env_to_module_connector(ConnectorConfig::FrameStacking { num_frames: 4 })
        })
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment {
        name: "frame_stacking_ppo",
        metric: EPISODE_RETURN,
        target: 350.0,
        max_steps: 300_000,
    }
    .run(config)
}
