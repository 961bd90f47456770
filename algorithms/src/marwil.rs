//! Monotonic advantage re-weighted imitation learning (Wang et al., 2018): behavior cloning in which actions with a
//! higher advantage count more.
//!
//! Differences from RLlib:
//!
//! - The moving average of the squared advantages is part of checkpoints.
//! - Value targets are those of whole episodes, and rows of many episodes are shuffled into minibatches.
//! - There is no `bc_logstd_coeff`, which fails in RLlib above 0.

mod config;
mod loss;

pub use config::MarwilTraining;
pub use loss::MarwilLoss;

/// The configuration of MARWIL.
pub type MarwilConfig = crate::AlgorithmConfig<MarwilTraining>;
