//! Asynchronous PPO, after IMPACT (Luo et al., 2020): IMPALA's plan with PPO's clipped surrogate, a target
//! policy, and batches that are learned from several times.
//!
//! Differences from RLlib:
//!
//! - The target policy is a copy of the module that the loss keeps. The module needs no role for it.
//! - [`target_worker_clipping`](AppoTraining::target_worker_clipping) is used. RLlib 2.60 always takes 2.
//! - Every batch is learned from exactly `circular_buffer_iterations_per_batch` times.
//! - The differences of [`impala`](crate::impala) in V-trace, λ and the queue.

mod config;
mod loss;

pub use config::AppoTraining;
pub use loss::AppoLoss;

/// The configuration of APPO.
pub type AppoConfig = crate::AlgorithmConfig<AppoTraining>;
