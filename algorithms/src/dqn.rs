//! Deep Q-learning (Mnih et al., 2015), with double Q-learning, dueling networks, transitions of several steps
//! and prioritized replay.
//!
//! Differences from RLlib:
//!
//! - ε, the target networks and the start of learning count environment steps of all runners.
//! - The advantages of a dueling network have mean 0 over actions.
//! - A transition that a time limit cuts off bootstraps from its final observation.

mod config;
mod loss;
mod outputs;

pub use config::{DqnTraining, TdErrorLoss};
pub use loss::DqnLoss;

/// The configuration of DQN.
pub type DqnConfig = crate::AlgorithmConfig<DqnTraining>;
