//! Environment runners: they act with a module and record what happens.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`SingleAgentEnvRunner`] | `SingleAgentEnvRunner`: steps a vector of environments |
//! | [`MultiAgentEnvRunner`] | `MultiAgentEnvRunner`: the same for several agents and modules |
//! | [`EnvRunnerGroup`] | `EnvRunnerGroup`: runners on threads |
//! | [`FaultToleranceConfig`] | `fault_tolerance()`: what happens when environments or runners fail |
//! | [`RunnerCallbacks`] | the hooks of `RLlibCallback` that runners call |
//! | [`Rollout`] | the fragments of a `sample()` call, as columns |
//! | [`episode::SingleAgentEpisode`] | one episode or chunk of one, with look-back |
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
mod fault_tolerance;
mod group;
mod memory;
mod metrics;
mod multi_agent;
mod policy_bundle;
mod restarts;
mod rollout;
mod single_agent;
pub mod tensor_env;
mod tracking;

pub use callbacks::{
    AgentStep, CallbackResult, EnvironmentEvent, EpisodeEvent, RunnerCallbacks, SampleEvent,
    SharedCallbacks, VectorEnvRef,
};
pub use env_runner::{ConnectorDeltas, EnvRunner};
pub use episode::SingleAgentEpisode;
pub use error::{Result, RunnerError};
pub use experience::{EpisodeSummary, Experience};
pub use fault_tolerance::FaultToleranceConfig;
pub use group::EnvRunnerGroup;
pub use multi_agent::{
    EpisodeInfo, MappingFunction, MultiAgentConfig, MultiAgentEnvRunner, PolicyMapping,
};
pub use policy_bundle::{BundleConfig, PolicyBundle};
pub use rollout::{Rollout, RolloutStates, Segment, SegmentEnd};
pub use single_agent::{Amount, EnvRunnerConfig, SampleOptions, SingleAgentEnvRunner};
pub use tensor_env::{
    TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum, TensorRollout, TensorVectorEnv,
};
