//! RL modules and learners on [Burn](https://burn.dev): the concepts of Ray RLlib's new API stack
//! (RLModule, Catalog, Learner, EnvRunner, ConnectorV2, Checkpointable) as a native Rust library.
//!
//! # Train, save, restore, act
//!
//! ```
//! use rekindle::prelude::*;
//!
//! let device = DeviceSpec::Cpu.open()?;
//! let config = PpoConfig::new()
//!     .environment("CartPole-v1")
//!     .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(2).lr(3e-4))
//!     .seed(0);
//! let mut algo = config.build(&device)?;
//! let result = algo.train()?;
//! assert!(result.get("env_runners/episode_return_mean").is_some());
//!
//! let path = std::env::temp_dir().join(format!("rekindle-doc-{}", std::process::id()));
//! algo.module("default_policy")?.save_to_path(&path)?;
//! let policy = AnyRLModule::from_checkpoint(&path, &device)?;
//! let runner = EnvRunnerConfig::new("CartPole-v1").num_envs(4);
//! let evaluation = evaluate(&policy, &runner, 4, SampleOptions::greedy(), &device)?;
//! assert_eq!(evaluation.returns.len(), 4);
//! # std::fs::remove_dir_all(&path).ok();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | [`mod@env`] | spaces, `Env`, `VectorEnv`, registry, wrappers, built-in environments |
//! | [`gymnasium`] | environments of Python's Gymnasium in worker processes |
//! | [`checkpoint`] | the checkpoint format, its readers and writers |
//! | [`metrics`] | reducers, results, sinks, learning curves |
//! | [`onnx`] | graphs of exported policies |
//! | [`parallel`] | the thread crew that CPU kernels share |
//! | [`core`] | batches, erased modules, weights, devices, random streams |
//! | [`kernels`] | fused CPU operations with gradients |
//! | [`catalog`] | from spaces to models and action distributions |
//! | [`rl_module`] | `RLModule`, specs, roles, multi-modules |
//! | [`env_runner`] | runners, rollouts, episodes, connectors |
//! | [`offline`] | recorded experience, Parquet files, estimators of a policy's return |
//! | [`learner`] | returns, losses, optimizers, `Learner` |
//! | [`algorithms`] | `Algorithm`, configurations, execution plans, PPO and other algorithms |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `flex` (default) | the CPU |
//! | `train` (default) | [`algorithms`], [`learner`] and [`offline`]; a program that acts with a policy bundle needs none of them |
//! | `wgpu`, `cuda`, `cuda-llvm` | GPUs; `cuda-llvm` compiles kernels by LLVM instead of NVRTC |
//! | `autotune` | the choice of the fastest kernels by measurement; `cuda` has it |
#![forbid(unsafe_code)]

mod main_error;

pub use main_error::MainError;
#[cfg(feature = "train")]
pub use rekindle_algorithms as algorithms;
pub use rekindle_catalog as catalog;
pub use rekindle_checkpoint as checkpoint;
pub use rekindle_core as core;
pub use rekindle_env as env;
pub use rekindle_env_runner as env_runner;
pub use rekindle_gymnasium as gymnasium;
pub use rekindle_kernels as kernels;
#[cfg(feature = "train")]
pub use rekindle_learner as learner;
pub use rekindle_metrics as metrics;
#[cfg(feature = "train")]
pub use rekindle_offline as offline;
pub use rekindle_onnx as onnx;
pub use rekindle_parallel as parallel;
pub use rekindle_rl_module as rl_module;

/// The items that most programs need, for `use rekindle::prelude::*`.
pub mod prelude {
    pub use crate::MainError;
    #[cfg(feature = "train")]
    pub use rekindle_algorithms::{
        A2cConfig, A2cTraining, Algorithm, AppoConfig, AppoTraining, BatchMode, BcConfig,
        BcTraining, CallbackResult, Callbacks, CountStepsBy, CqlConfig, CqlTraining, DdpgConfig,
        DdpgTraining, DqnConfig, DqnTraining, DurationUnit, EnvironmentEvent, EpisodeEvent,
        Evaluation, ExecutionPlan, Experiment, ImpalaConfig, ImpalaTraining, IqlConfig,
        IqlTraining, LearnOnBatchConfig, LearnOnBatchTraining, MarwilConfig, MarwilTraining,
        PpoConfig, PpoTraining, PqnConfig, PqnTraining, RunConfig, SacConfig, SacTraining,
        SampleEvent, StepReport, Td3BcConfig, Td3BcTraining, Td3Config, Td3Training, TqcConfig,
        TqcTraining, TrainingContext, VpgConfig, VpgTraining, evaluate, evaluate_policy,
        register_algorithm,
    };
    pub use rekindle_catalog::{
        BoxEncoder, Catalog, CatalogContext, DefaultCatalog, Distribution, Encoder, Mlp, MlpConfig,
    };
    pub use rekindle_checkpoint::read_safetensors;
    pub use rekindle_checkpoint::{Array, Checkpointable, State};
    pub use rekindle_core::device::DeviceSpec;
    pub use rekindle_core::weights::Weights;
    pub use rekindle_core::{
        Batch, Column, Columns, ConfigError, DEFAULT_MODULE_ID, Generator, HostBatch,
    };
    pub use rekindle_env::{
        AgentId, AgentSpec, Buffer, Env, EnvConfig, EnvSpec, MultiAgentActions, MultiAgentEnv,
        MultiAgentEnvSpec, MultiAgentStep, ResetOptions, Row, RowMut, Space, Step, VectorEnv, make,
        make_vec, register, register_multi_agent,
    };
    pub use rekindle_env_runner::connectors::{ConnectorConfig, register_connector};
    pub use rekindle_env_runner::tensor_env::register_tensor_env;
    pub use rekindle_env_runner::{
        Amount, BundleConfig, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, EpisodeView, Experience,
        FaultToleranceConfig, MultiAgentConfig, MultiAgentEnvRunner, PolicyBundle, PolicyMapping,
        PublishedAt, Rollout, SampleOptions, Segment, SingleAgentEnvRunner,
    };
    #[cfg(feature = "train")]
    pub use rekindle_learner::{
        Learner, LearnerConfig, LearnerConnector, LearnerConnectorConfig, Loss, LossContext,
        Losses, OptimizerConfig, OptimizerGroup, PrepareContext, Schedule, TrainData,
        register_learner_connector,
    };
    pub use rekindle_metrics::{
        ConsoleSink, CsvSink, JsonlSink, LearningCurve, Metrics, MetricsLogger, Reducer, Sink,
        TensorBoardSink,
    };
    #[cfg(feature = "train")]
    pub use rekindle_offline::{OfflineData, OfflineSource};
    pub use rekindle_rl_module::{
        ActionCritic, ActorCritic, AnyRLModule, DeterministicPolicy, DistributionalQNet,
        ExplorationContext, LearnContext, LearnOnBatch, LearnStats, ModuleContext, ModuleError,
        MultiRLModule, MultiRLModuleSpec, NameMap, PerModule, PolicyPass, QNet, RLModule,
        RLModuleSpec, Role, SelfSupervisedLoss, SharedActionCritic, SharedContext,
        SharedDeterministicPolicy, SharedDistributionalQNet, SharedQNet, SharedRLModule,
        SharedStochasticPolicy, SharedTargetNetwork, SharedValueFunction, StochasticPolicy,
        TargetNetwork, ValueDistribution, ValueFunction, epsilon_greedy, register_catalog,
        register_module, register_shared_module,
    };
}

/// Compiles and runs the programs in `docs/catalog.md`.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../docs/catalog.md")]
struct CatalogGuide;

/// Compiles and runs the programs in `docs/environments.md`.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../docs/environments.md")]
struct EnvironmentsGuide;

/// Compiles the programs in `docs/command-line.md`.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../docs/command-line.md")]
struct CommandLineGuide;
