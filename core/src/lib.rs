//! The ground floor of rekindle that knows Burn.
//!
//! | module | holds |
//! |---|---|
//! | [`batch`] | [`Batch`]: named, rank-erased columns of tensors, nested for Dict and Tuple |
//! | [`host_batch`] | [`HostBatch`]: the same columns on the host, before they are uploaded |
//! | [`erased`] | Burn modules behind `dyn` traits that are themselves Burn modules |
//! | [`weights`] | a module's parameters by name, in PyTorch's layout |
//! | [`device`] | fallible device selection (`"auto"`, `"cpu"`, `"wgpu:0"`, `"cuda:1"`) |
//! | [`mod@settings`] | [`ConfigError`], and one declaration for a setting, its default and its check |
//! | [`rng`] | host random streams keyed by (seed, runner, env, purpose) |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod any_tensor;
pub mod batch;
pub mod columns;
pub mod device;
pub mod erased;
mod error;
pub mod host_batch;
pub mod rng;
pub mod settings;
pub mod weights;

pub use any_tensor::{AnyTensor, TensorKind};
pub use batch::{Batch, Column};
pub use columns::Columns;
pub use erased::{Erase, Erased, ErasedModule, Family};
pub use error::{CoreError, Result};
pub use host_batch::HostBatch;
pub use rekindle_env::np_random::Generator;
pub use settings::ConfigError;

/// Names one module of a multi-module, e.g. `"default_policy"`.
pub type ModuleId = String;

/// The id of the only module of a single-agent setup (RLlib's `DEFAULT_MODULE_ID`).
pub const DEFAULT_MODULE_ID: &str = "default_policy";

/// Stands for all modules that share parameters (RLlib's `ALL_MODULES`); no module has this id.
pub const ALL_MODULES: &str = "__all_modules__";
