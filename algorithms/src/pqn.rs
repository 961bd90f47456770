//! Parallelized Q-learning (Gallici et al., 2025): Q(λ) on fresh experience of several environments, without a
//! replay buffer and without target networks. Layer normalization takes their place.
//!
//! RLlib has no PQN. Differences from CleanRL:
//!
//! - A truncated step bootstraps from its final observation, and the trace ends there. CleanRL treats truncation as
//!   termination.
//! - The learning rate is constant unless it is a schedule.
//! - The default network is that of the other algorithms: two layers of 256 units, tanh, PyTorch's initial values.

mod config;
mod loss;

pub use config::PqnTraining;
pub use loss::PqnLoss;

/// The configuration of PQN.
pub type PqnConfig = crate::AlgorithmConfig<PqnTraining>;
