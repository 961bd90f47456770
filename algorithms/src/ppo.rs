//! Proximal policy optimization (Schulman et al., 2017), as RLlib's new API stack computes it.
//!
//! Differences from RLlib and from other parts of this library:
//!
//! - Advantages are standardized over real steps only, because there are no filler steps.
//! - The KL coefficient adapts to the mean divergence of the last epoch, not of the last minibatch.
//!   It stays between 1e-6 and 1e6, and checkpoints save it.
//! - The default module has separate encoders for policy and values (`vf_share_layers` is `false`), as in
//!   RLlib's PPO and in `RLModuleSpec::default()`. RLlib's `DefaultModelConfig` on its own shares them.
//! - [`target_kl`](PpoTraining::target_kl) ends an update early, which RLlib does not offer.

mod config;
mod console;
mod loss;

pub use config::PpoTraining;
pub use console::console_columns;
pub use loss::PpoLoss;

/// The configuration of PPO.
pub type PpoConfig = crate::AlgorithmConfig<PpoTraining>;
