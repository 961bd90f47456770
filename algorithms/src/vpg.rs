//! Vanilla policy gradients: REINFORCE (Williams, 1992), optionally with a value function as baseline.

mod config;
mod loss;

pub use config::VpgTraining;
pub use loss::VpgLoss;

/// The configuration of vanilla policy gradients.
pub type VpgConfig = crate::AlgorithmConfig<VpgTraining>;
