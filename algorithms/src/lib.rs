//! Algorithms: configurations, the training loop, execution plans, and one module per algorithm.
//!
//! `docs/algorithms.md` compares the algorithms, their defaults and their plans.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`AlgorithmConfig`] | `AlgorithmConfig`: builder, data, validation |
//! | [`Algorithm`] | `Algorithm`: `train`, `evaluate`, `save_to_path`, `restore_from_path` |
//! | [`ExecutionPlan`], [`TrainingContext`] | `training_step`, and the execution plans before it |
//! | [`Synchronous`], [`Asynchronous`], [`AsyncGradients`], [`Replay`], [`Offline`] | the training steps of PPO, of IMPALA and APPO, of A3C, of DQN and SAC, and of BC and CQL |
//! | [`AlgorithmConfig::from_loss`], [`Trajectory`] | `build_tf_policy`, `build_trainer`, `with_updates`: algorithms from functions |
//! | [`TrainingConfig`] | `AlgorithmConfig` subclasses: an algorithm with settings of its own |
//! | [`PpoConfig`], [`ppo`] | `PPOConfig`, PPO |
//! | [`ImpalaConfig`], [`impala`]; [`AppoConfig`], [`appo`] | IMPALA, APPO |
//! | [`DqnConfig`], [`dqn`] | DQN, C51 and QR-DQN |
//! | [`SacConfig`], [`sac`]; [`TqcConfig`], [`tqc`] | SAC, TQC |
//! | [`Td3Config`], [`td3`]; [`DdpgConfig`], [`ddpg`] | TD3 and DDPG, which RLlib's new stack lacks |
//! | [`PqnConfig`], [`pqn`] | PQN, which RLlib lacks |
//! | [`BcConfig`], [`bc`]; [`MarwilConfig`], [`marwil`] | BC and MARWIL, from recorded data |
//! | [`CqlConfig`], [`cql`]; [`IqlConfig`], [`iql`]; [`Td3BcConfig`], [`td3_bc`] | CQL and IQL, and TD3+BC, which RLlib lacks |
//! | [`A2cConfig`], [`a2c`]; [`VpgConfig`], [`vpg`] | A2C and policy gradients, which RLlib's new stack lacks |
//! | [`LearnOnBatchConfig`], [`learn_on_batch`] | `build_trainer` with a `Policy` written from scratch |
//! | [`algorithm`], [`register_algorithm`] | `get_trainable_cls`, `register_trainable`: algorithms by name |
//! | [`Experiment`] | a trial of Tune: an algorithm with its settings, as a TOML file |
//! | [`RunFolder`], [`RunConfig`] | the directory of a trial, `RunConfig` and `CheckpointConfig` |
//! | [`SavedRun`] | `Tuner.restore`: a run that continues in its directory |
//! | [`Callbacks`] | `RLlibCallback`: hooks |
//! | [`evaluate`], [`evaluate_policy`] | evaluation of a module or a deployed policy, without a training stack |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod a2c;
mod algorithm;
pub mod appo;
pub mod bc;
mod callbacks;
mod config;
pub mod cql;
mod custom;
pub mod ddpg;
pub mod dqn;
#[cfg(test)]
mod echo;
mod error;
mod evaluation;
mod execution_plan;
mod experiment;
pub mod impala;
pub mod iql;
mod kl_coeff;
pub mod learn_on_batch;
pub mod marwil;
mod off_policy;
mod off_policy_estimation;
pub mod ppo;
pub mod pqn;
mod q_values;
mod registry;
mod run_folder;
pub mod sac;
pub mod td3;
pub mod td3_bc;
pub mod tqc;
pub mod vpg;

pub use a2c::{A2cConfig, A2cTraining};
pub use algorithm::{Algorithm, state_from_bytes, state_to_bytes};
pub use appo::{AppoConfig, AppoTraining};
pub use bc::{BcConfig, BcTraining};
pub use callbacks::{CallbackList, Callbacks};
pub use config::{
    AlgorithmConfig, BatchMode, CountStepsBy, DebuggingConfig, DurationUnit, EnvRunnersConfig,
    EnvironmentConfig, EvaluationConfig, EvaluationOverrides, LearnersConfig, MultiAgentSection,
    OfflineDataConfig, ReportingConfig, RolloutFragmentLength, TrainingConfig, VideoConfig,
};
pub use cql::{CqlConfig, CqlTraining};
pub use custom::{AgentSteps, CustomTraining, Trajectory};
pub use ddpg::{DdpgConfig, DdpgTraining};
pub use dqn::{DqnConfig, DqnTraining};
pub use error::{AlgorithmError, CallbackError, Result};
pub use evaluation::{Estimates, Evaluation, EvaluationFunction, evaluate, evaluate_policy};
pub use execution_plan::{
    AsyncGradients, Asynchronous, ExecutionPlan, Offline, Replay, StepReport, Synchronous,
    TrainingContext,
};
pub use experiment::Experiment;
pub use impala::{ImpalaConfig, ImpalaTraining};
pub use iql::{IqlConfig, IqlTraining};
pub use learn_on_batch::{LearnOnBatchConfig, LearnOnBatchTraining};
pub use marwil::{MarwilConfig, MarwilTraining};
pub use off_policy_estimation::OffPolicyEstimation;
pub use ppo::{PpoConfig, PpoTraining};
pub use pqn::{PqnConfig, PqnTraining};
pub use registry::{
    AlgorithmSpec, algorithm, register_algorithm, registered_algorithms, saved_algorithm,
};
pub use run_folder::{
    ResumedRun, RunConfig, RunFolder, SavedRun, Stop, checkpoint_of_run, is_run, read_last_result,
    read_run,
};
pub use sac::{SacConfig, SacTraining};
pub use td3::{Td3Config, Td3Training};
pub use td3_bc::{Td3BcConfig, Td3BcTraining};
pub use tqc::{TqcConfig, TqcTraining};
pub use vpg::{VpgConfig, VpgTraining};
// The arguments and results of hooks, so that a program names one crate.
pub use rekindle_env_runner::{
    AgentStep, CallbackResult, EnvRunnerGroup, EnvironmentEvent, EpisodeEvent, SampleEvent,
    VectorEnvRef,
};
