//! Twin delayed deep deterministic policy gradients (Fujimoto et al., 2018).
//!
//! Policy and targets move with every `policy_delay`-th step of the critics.

pub(crate) mod config;
mod loss;

pub use config::Td3Training;
pub use loss::Td3Loss;

/// The configuration of TD3.
pub type Td3Config = crate::AlgorithmConfig<Td3Training>;
