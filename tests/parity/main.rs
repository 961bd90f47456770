//! Parity with PyTorch, RLlib and Stable-Baselines3: their figures and policies, recorded from
//! their own runs by `scripts/parity`, and ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
#![recursion_limit = "256"]

mod cnn;
mod ours;
mod ppo_loss;
mod recurrent;
mod rllib;
mod sb3;
mod support;
mod torch;
