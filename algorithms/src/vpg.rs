//! Vanilla policy gradients: REINFORCE (Williams, 1992), optionally with a value function as baseline.
//!
//! Each batch takes one step of gradient descent. RLlib's new API stack has this algorithm only as an example,
//! without a baseline.

mod config;
mod loss;

pub use config::VpgTraining;
pub use loss::VpgLoss;

/// The configuration of vanilla policy gradients.
pub type VpgConfig = crate::AlgorithmConfig<VpgTraining>;
