//! TD3 with behavior cloning (Fujimoto and Gu, 2021): TD3 from recorded data, whose policy also imitates the actions of
//! the data. In a `Box`.
//!
//! Differences from the authors' code: observations are not standardized; standardize those of the data, or use layer
//! normalization in the networks.

mod config;
mod loss;

pub use config::Td3BcTraining;
pub use loss::Td3BcLoss;

/// The configuration of TD3+BC.
pub type Td3BcConfig = crate::AlgorithmConfig<Td3BcTraining>;
