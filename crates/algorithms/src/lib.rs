//! Algorithms: configurations, the training loop, and PPO.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`AlgorithmConfig`] | `AlgorithmConfig`: builder, data, validation |
//! | [`Algorithm`] | `Algorithm`: `train`, `evaluate`, `save_to_path`, `restore_from_path` |
//! | [`PpoConfig`], [`ppo`] | `PPOConfig`, PPO |
//! | [`evaluate`] | evaluation of a module without a training stack |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod algorithm;
mod config;
mod error;
mod evaluation;
pub mod ppo;

pub use algorithm::Algorithm;
pub use config::{
    AlgorithmConfig, BatchMode, DebuggingConfig, EnvRunnersConfig, EnvironmentConfig,
    EvaluationConfig, MultiAgentSection, RolloutFragmentLength, TrainingConfig,
};
pub use error::{AlgorithmError, Result};
pub use evaluation::{Evaluation, evaluate};
pub use ppo::{PpoConfig, PpoTraining};
