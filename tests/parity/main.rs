//! Parity with PyTorch, RLlib, Stable-Baselines3 and CleanRL: outputs and weights that their own
//! runs recorded (`scripts/parity`), and a checkpoint of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
#![recursion_limit = "256"]

mod cleanrl;
mod cnn;
mod dqn;
mod ours;
mod ppo_loss;
mod recurrent;
mod rllib;
mod rllib_async;
mod rllib_offline;
mod sb3;
mod sb3_a2c;
mod sb3_actors;
mod sb3_off_policy;
mod segments;
mod support;
mod torch;
