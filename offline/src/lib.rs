//! Recorded experience: data that policies learn from without environments.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`OfflineSource`] | the dataset of `OfflineData`: experience in parts that are read one by one |
//! | [`ParquetRecorder`] | `OfflineSingleAgentEnvRunner`: whole episodes as Parquet files |
//! | [`ParquetData`] | `OfflineData` of Parquet files |
//! | [`MinariRecorder`], [`MinariData`] | none: datasets of Minari in HDF5, Arrow and Parquet files |
//! | [`OfflineData`] | none: a source in memory, made of a program's own columns |
//! | [`Prefetch`] | `iter_batches(prefetch_batches=…)` of Ray Data |
//! | [`Episode`] | `SingleAgentEpisode`, as columns |
//! | [`Estimator`], [`estimate`] | `ImportanceSampling`, `DoublyRobust`, …: off-policy estimators |
//!
//! # A table of your own
//!
//! ```
//! use rekindle_env::{Buffer, Space};
//! use rekindle_offline::{OfflineData, Transitions};
//!
//! // Three steps of one episode, and one of another that a time limit cut off.
//! let mut data = OfflineData::new(Space::unbounded(&[2])?, Space::discrete(3)?);
//! data.push_transitions(Transitions {
//!     observations: Buffer::from_f32(vec![0.0, 0.0, 0.1, 0.0, 0.2, 0.0, 5.0, 1.0], &[2])?,
//!     actions: Buffer::from_i64(vec![0, 2, 1, 0], &[])?,
//!     rewards: vec![1.0, 1.0, 0.0, 1.0],
//!     next_observations: Buffer::from_f32(vec![0.1, 0.0, 0.2, 0.0, 0.3, 0.0, 5.1, 1.0], &[2])?,
//!     terminateds: vec![false, false, true, false],
//!     truncateds: vec![false, false, false, true],
//! })?;
//! assert_eq!(data.num_episodes(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod check;
mod data;
mod decode;
mod episodes;
mod error;
mod estimators;
mod fingerprint;
mod minari;
mod parquet;
mod prefetch;
mod recorder;
mod source;

pub use data::{Episode, OfflineData, Transitions};
pub use error::{OfflineError, Result};
pub use estimators::{Estimate, EstimatedEpisode, Estimator, estimate, estimate_with_interval};
pub use minari::{MinariData, MinariRecorder};
pub use parquet::{ParquetData, ParquetRecorder, RecorderState};
pub use prefetch::{Prefetch, PrefetchTimes};
pub use recorder::{OutputFormat, Recorder};
pub use source::{OfflineSource, Recorded};
