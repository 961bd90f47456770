//! Advantage actor-critic (Mnih et al., 2016), synchronous, as Stable-Baselines3 computes it.
//!
//! Each update is one step of gradient descent on a small batch: `train_batch_size` steps, which is the
//! number of environments times the steps of each. RLlib's new API stack has no A2C.
//!
//! Difference from Stable-Baselines3: standardized advantages
//! ([`standardize_advantages`](A2cTraining::standardize_advantages), off by default) are divided by the
//! standard deviation of the population, as in RLlib, not by that of a sample.

mod config;
mod loss;

pub use config::A2cTraining;
pub use loss::A2cLoss;

/// The configuration of A2C.
pub type A2cConfig = crate::AlgorithmConfig<A2cTraining>;
