//! Deep Q-learning (Mnih et al., 2015), with double Q-learning, dueling networks, transitions of several steps,
//! prioritized replay, distributions of returns (C51 and QR-DQN) and noisy layers: the parts of Rainbow (Hessel et
//! al., 2018), each a setting.
//!
//! Differences from RLlib:
//!
//! - ε, the target networks and the start of learning count environment steps of all runners.
//! - The advantages of a dueling network have mean 0 over actions, for each atom.
//! - Noisy layers have an effect.
//! - A transition that a time limit cuts off bootstraps from its final observation.

mod config;
mod loss;
mod next;
mod outputs;

pub use config::{DqnTraining, TdErrorLoss};
pub use loss::DqnLoss;

/// The configuration of DQN.
pub type DqnConfig = crate::AlgorithmConfig<DqnTraining>;
