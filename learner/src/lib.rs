//! Learners: they update weights from recorded experience.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`Learner`] | `Learner`: batches, losses, gradients, optimizers, in that order |
//! | [`Objective`] | the methods of `Learner` that an algorithm overrides |
//! | [`ops`] | GAE, returns, explained variance: pure functions over slices |
//! | [`losses`] | loss terms: pure functions over tensors |
//! | [`Schedule`] | `Scheduler` |
//! | [`minibatch`] | `MiniBatchCyclicIterator` |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod error;
mod global_norm;
mod gradients;
mod learner;
mod learner_batch;
pub mod losses;
pub mod minibatch;
mod objective;
pub mod ops;
mod optimizer;
mod schedule;
mod train_batch;

pub use error::{LearnerError, Result};
pub use global_norm::GlobalNorm;
pub use gradients::{GradClipBy, Gradients};
pub use learner::{Learner, LearnerConfig, ModuleRollouts};
pub use learner_batch::{LearnerBatch, Sequences};
pub use objective::{Loss, Objective, UpdateContext};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use schedule::Schedule;
pub use train_batch::{SegmentRows, TrainBatch, TrainStates};
