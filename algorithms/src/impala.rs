//! IMPALA (Espeholt et al., 2018): runners and learner do not wait for each other, and V-trace corrects
//! for policies that are a few updates old.
//!
//! Differences from RLlib:
//!
//! - A sequence bootstraps from the observation that follows it. There are no filler steps. In RLlib 2.60,
//!   V-trace runs over its filler steps, and truncated or cut sequences bootstrap from only a part of the
//!   value (`tests/parity/rllib_async.rs`).
//! - V-trace has λ ([`lambda_`](ImpalaTraining::lambda_)), and losses may be sums
//!   ([`loss_reduction`](ImpalaTraining::loss_reduction)), as in the paper.
//! - The queue between runners and learner is bounded and blocks: nothing is dropped and nothing polls.
//! - [`deterministic`](ImpalaTraining::deterministic) makes runs repeatable.

mod config;
mod loss;

pub use config::{ImpalaTraining, LossReduction};
pub use loss::ImpalaLoss;

/// The configuration of IMPALA.
pub type ImpalaConfig = crate::AlgorithmConfig<ImpalaTraining>;
