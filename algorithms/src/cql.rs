//! Conservative Q-learning (Kumar et al., 2020): SAC from recorded data, whose critics learn lower values for actions
//! that the data do not have. In a `Box` and in a `Discrete` space.
//!
//! Differences from RLlib:
//!
//! - `lagrangian` and `lagrangian_thresh` have an effect.
//! - The targets of the critics move after every update; there is no `target_network_update_freq`, with which they
//!   never move in RLlib.
//! - The penalty values the actions that the policy draws for the next observation at the observation, as the code of the
//!   paper's authors does, and not at the next observation.
//! - Transitions of several steps are discounted by their number of steps.
//! - `Discrete` spaces are supported, with the values of all actions instead of sampled ones.
//! - `calibrated` bounds the values of the policy's actions by the returns of the data (Nakamoto et al., 2023).

mod config;
mod loss;

pub use config::CqlTraining;
pub use loss::CqlLoss;

/// The configuration of CQL.
pub type CqlConfig = crate::AlgorithmConfig<CqlTraining>;
