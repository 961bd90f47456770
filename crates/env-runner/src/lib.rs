//! Environment runners: they act with a module and record what happens.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`SingleAgentEnvRunner`] | `SingleAgentEnvRunner`: steps a vector of environments |
//! | [`EnvRunnerGroup`] | `EnvRunnerGroup`: runners on threads |
//! | [`Rollout`] | the fragments of a `sample()` call, as columns |
//! | [`episode::SingleAgentEpisode`] | one episode or chunk of one, with look-back |
//! | [`PolicyBundle`] | none: a policy with everything that shapes its inputs and actions |
//! | [`connectors`] | `ConnectorV2` pipelines between environment and module |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod connectors;
pub mod episode;
mod error;
mod group;
mod memory;
mod policy_bundle;
mod rollout;
mod single_agent;

pub use episode::SingleAgentEpisode;
pub use error::{Result, RunnerError};
pub use group::EnvRunnerGroup;
pub use policy_bundle::{BundleConfig, PolicyBundle};
pub use rollout::{Rollout, RolloutStates, Segment, SegmentEnd};
pub use single_agent::{Amount, EnvRunnerConfig, SampleOptions, SingleAgentEnvRunner};
