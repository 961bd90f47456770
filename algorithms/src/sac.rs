//! Soft actor-critic (Haarnoja et al., 2018), in continuous and discrete (Christodoulou, 2019) action spaces.
//!
//! Each minibatch takes three steps: of the critics, of the policy against the stepped critics, and of the
//! temperature α, with the log-probabilities that the policy's step had. The targets of the critics and the loss
//! of the policy see α as it was before its step, as in Stable-Baselines3.
//!
//! Options are noise that depends on the state (`use_sde`; Raffin et al., 2020), and critics with batch renormalization
//! instead of target networks (`critics_use_batch_renorm`; CrossQ; Bhatt et al., 2024).
//!
//! Differences from RLlib:
//!
//! - Log-densities are those of actions in [−1, 1], from the samples before squashing.
//! - The target entropy of a discrete space is 0.89·log n, CleanRL's, and not −1.
//! - The critics learn from half the squared errors, without a Huber loss.
//! - All learning rates are 3e-4, and replay is uniform by default, as in Stable-Baselines3.

pub(crate) mod config;
pub(crate) mod loss;

pub use config::SacTraining;
pub use loss::SacLoss;

/// The configuration of SAC.
pub type SacConfig = crate::AlgorithmConfig<SacTraining>;
