//! Batches, erased Burn modules, weights, devices and random streams.
//!
//! | module | holds |
//! |---|---|
//! | [`batch`] | [`Batch`]: named, rank-erased columns of tensors, nested for Dict and Tuple |
//! | [`host_batch`] | [`HostBatch`]: the same columns on the host |
//! | [`erased`] | Burn modules behind `dyn` traits that are themselves Burn modules |
//! | [`named`] | visiting and mapping a module's parameters by name |
//! | [`weights`] | a module's parameters by name, in PyTorch's layout |
//! | [`device`] | fallible device selection (`"auto"`, `"cpu"`, `"wgpu:0"`, `"cuda:1"`) |
//! | [`launches`] | the kernels that accelerators launch, counted |
//! | [`mod@settings`] | [`ConfigError`], and one declaration for a setting, its default and its check |
//! | [`rng`] | host random streams keyed by (seed, runner, env, purpose) |
//! | [`panics`] | the message of a caught panic |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod any_tensor;
pub mod batch;
pub mod columns;
pub mod device;
pub mod erased;
mod error;
pub mod host_batch;
mod initialize;
pub mod launches;
pub mod lock;
pub mod named;
pub mod panics;
pub mod rng;
mod schedule;
pub mod settings;
pub mod weights;

pub use any_tensor::{AnyTensor, TensorKind};
pub use batch::{Batch, Column};
pub use columns::Columns;
pub use erased::{Erase, Erased, ErasedModule, Family};
pub use error::{CoreError, Result};
pub use host_batch::HostBatch;
pub use initialize::initialize;
pub use rekindle_env::np_random::Generator;
pub use schedule::Schedule;
pub use settings::ConfigError;

/// The name of a module in a `MultiRLModule`, for example `"default_policy"`.
pub type ModuleId = String;

/// The id of the only module of a single-agent setup (RLlib's `DEFAULT_MODULE_ID`).
pub const DEFAULT_MODULE_ID: &str = "default_policy";

/// Stands for all modules that share parameters (RLlib's `ALL_MODULES`). No module has this name.
pub const ALL_MODULES: &str = "__all_modules__";
