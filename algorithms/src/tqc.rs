//! Truncated quantile critics (Kuznetsov et al., 2020): SAC whose critics estimate quantiles of a distribution of
//! values, and whose targets leave out the largest of them.
//!
//! Differences from RLlib:
//!
//! - The loss is the mean over critics, quantiles and targets, as in sb3-contrib. RLlib's is the sum over
//!   quantiles and targets.

mod config;

pub use config::TqcTraining;

/// The configuration of TQC.
pub type TqcConfig = crate::AlgorithmConfig<TqcTraining>;
