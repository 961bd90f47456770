//! Advantage actor-critic (Mnih et al., 2016), synchronous, as Stable-Baselines3 computes it.
//!
//! Each update is one step of gradient descent on a small batch: `train_batch_size` steps, which is the
//! number of environments times the steps of each. RLlib's new API stack has no A2C.

mod config;
mod loss;

pub use config::A2cTraining;
pub use loss::A2cLoss;

/// The configuration of A2C.
pub type A2cConfig = crate::AlgorithmConfig<A2cTraining>;
