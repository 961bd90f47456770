//! Behavior cloning: the policy imitates the actions of recorded data.
//!
//! Differences from RLlib:
//!
//! - No value function is needed: BC is not MARWIL with β = 0.
//! - There is no `bc_logstd_coeff`, which fails in RLlib above 0.

pub(crate) mod config;
mod loss;

pub use config::BcTraining;
pub use loss::BcLoss;

/// The configuration of behavior cloning.
pub type BcConfig = crate::AlgorithmConfig<BcTraining>;
