//! Deep deterministic policy gradients (Lillicrap et al., 2016): TD3 with one critic, without delay and without
//! noise on target actions, as in Stable-Baselines3.

mod config;

pub use config::DdpgTraining;

/// The configuration of DDPG.
pub type DdpgConfig = crate::AlgorithmConfig<DdpgTraining>;
