//! Environment runners: they act with modules and record what happens.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`SingleAgentEnvRunner`] | `SingleAgentEnvRunner`: steps a vector of environments |
//! | [`MultiAgentEnvRunner`] | `MultiAgentEnvRunner`: steps a vector of multi-agent environments |
//! | [`EnvRunnerGroup`] | `EnvRunnerGroup`: runners on threads |
//! | [`EnvRunnerConfig`], [`FaultToleranceConfig`] | `env_runners()`, `fault_tolerance()` |
//! | [`RunnerCallbacks`] | the hooks of `RLlibCallback` that runners call |
//! | [`Experience`], [`Rollout`] | what `sample()` returns, as columns |
//! | [`EpisodeView`] | `SingleAgentEpisode`: an episode in recorded experience |
//! | [`PolicyBundle`] | none: a policy with everything that shapes its inputs and actions |
//! | [`tensor_env`] | none: environments as tensor programs, on the device of the module |
//! | [`connectors`] | `ConnectorV2` pipelines between environment and module |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod callbacks;
pub mod connectors;
mod env_runner;
pub mod episode;
mod error;
mod experience;
mod group;
mod multi_agent;
mod policy_bundle;
mod recorder;
mod single_agent;
pub mod tensor_env;

pub use callbacks::{
    AgentStep, CallbackResult, EnvironmentEvent, EpisodeEvent, RunnerCallbacks, SampleEvent,
    SharedCallbacks, VectorEnvRef,
};
pub use env_runner::{
    Amount, ConnectorDeltas, EnvRunner, EnvRunnerConfig, FaultToleranceConfig, NewEpisodes,
    PublishedAt, SampleOptions, is_external,
};
pub use episode::EpisodeView;
pub use error::{Result, RunnerError};
pub use experience::{
    EpisodeSummary, Experience, Rollout, RolloutStates, Segment, SegmentEnd, dry_run_rollout,
};
pub use group::{EnvRunnerGroup, Finished};
pub use multi_agent::{
    EpisodeInfo, MappingFunction, MultiAgentConfig, MultiAgentEnvRunner, PolicyMapping,
};
pub use policy_bundle::{BundleConfig, PolicyBundle};
pub use recorder::{ExperienceRecorder, SharedRecorder};
pub use single_agent::SingleAgentEnvRunner;
pub use tensor_env::{
    TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum, TensorRollout, TensorVectorEnv,
};
