//! Proximal policy optimisation (Schulman et al., 2017), as RLlib's new stack computes it.
//!
//! Two choices differ from RLlib, on purpose: advantages are standardised over real steps only
//! (there are no filler steps), and the KL coefficient adapts to the mean divergence over the last
//! epoch instead of that of the last minibatch. The coefficient is part of checkpoints.

mod config;
mod console;
mod loss;
mod objective;
mod on_device;

pub use config::PpoTraining;
pub use console::console_columns;
pub use objective::PpoObjective;
pub use on_device::batch_of_tensors;

/// The configuration of PPO.
pub type PpoConfig = crate::AlgorithmConfig<PpoTraining>;
