//! Learners: they update weights from recorded experience.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`Learner`] | `Learner`: data, losses, gradients, optimizers, in that order |
//! | [`LearnerGroup`] | `LearnerGroup`: learners that share updates, each on a device of its own |
//! | [`Loss`] | the methods of `Learner` that an algorithm overrides, for one module |
//! | [`LearnerConnector`] | a piece of the learner connector pipeline |
//! | [`OptimizerGroup`] | `configure_optimizers_for_module` |
//! | [`TrainData`] | the batch of the learner connector pipeline |
//! | [`ops`] | GAE, V-trace, returns: pure functions over slices and tensors |
//! | [`losses`] | loss terms: pure functions over tensors |
//! | [`replay`] | `EpisodeReplayBuffer`, `PrioritizedEpisodeReplayBuffer` |
//! | [`Schedule`] | `Scheduler` |
//! | [`minibatch`] | `MiniBatchCyclicIterator` |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod collective;
mod connector;
mod error;
mod global_norm;
mod gradients;
mod guard;
mod learner;
mod loss;
pub mod losses;
pub mod minibatch;
pub mod ops;
mod optimizer;
mod optimizer_group;
pub mod replay;
mod scalars;
mod share;
mod tracked;
mod train_data;

pub use collective::{Collective, Fault, LocalCollective};
pub use connector::{LearnerConnector, LearnerConnectorConfig, register_learner_connector};
pub use error::{LearnerError, Result};
pub use global_norm::GlobalNorm;
pub use gradients::{GradClipBy, Gradients};
pub use learner::{
    AddedModule, Learner, LearnerConfig, LearnerGradients, LearnerGroup, ModuleData,
    ModuleRollouts, RemoteLearners, UpdateReport,
};
pub use loss::{AfterMinibatch, AfterUpdate, Loss, LossContext, Losses, Phase, PrepareContext};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use optimizer_group::{DEFAULT_OPTIMIZER, OptimizerGroup, Parameters};
pub use rekindle_core::Schedule;
pub use train_data::{Sequences, TrainData};
