//! Implicit Q-learning (Kostrikov et al., 2022): a value function that is an expectile of the values of the data's
//! actions, critics that bootstrap from it, and a policy that clones actions by their advantage. No action is valued
//! that the data do not have. In a `Box` and in a `Discrete` space.
//!
//! Differences from RLlib:
//!
//! - `Discrete` spaces are supported.
//! - The policy of a `Box` is a Gaussian of the actions, as in the paper, and not a squashed one, whose
//!   log-probabilities of actions at the bounds lose all precision. Set the field `squash_policy` of the model config
//!   for RLlib's.
//! - The targets of the critics move after every update, as `tau` says.
//!
//! RLlib's defaults follow its test environments. The paper has `tau` 0.005, `expectile` 0.7 and `beta` 3.

mod config;
mod loss;

pub use config::IqlTraining;
pub use loss::IqlLoss;

/// The configuration of IQL.
pub type IqlConfig = crate::AlgorithmConfig<IqlTraining>;
