//! Training on several machines with MPI.
//!
//! ```text
//! mpirun -n 4 rekindle-mpi train config.toml --num-learners 2
//! ```
//!
//! | process | is | does |
//! |---|---|---|
//! | rank 0 | the first learner | prepares experience, evaluates, writes the run folder |
//! | ranks up to `--num-learners` | learners | share each update: gradients are added up |
//! | the other ranks | runners | collect batches with the newest weights |
//!
//! Without runners, the first learner samples by itself, which every algorithm and execution plan can do.
//!
//! The feature `mpi` links MPI and builds the program. Everything that does not call MPI is built and tested without it:
//! frames, settings, what the engine can do ([`Caps`]), and the loops of learner ([`Runners`]) and runners
//! ([`collect`]), which also run on threads of one process ([`LocalTransport`]).
//!
//! # A program of your own
//! A program with environments, modules or algorithms of its own calls `rekindle_mpi::run` with a function that registers
//! them, as `rekindle_cli::run`.

pub mod args;
mod caps;
#[cfg(feature = "mpi")]
pub mod engine;
mod error;
pub mod frame;
#[cfg(any(test, feature = "mpi"))]
mod patience;
#[cfg(feature = "mpi")]
mod program;
mod runner;
mod runners;
mod settings;
mod signals;
mod topology;
mod transport;

pub use self::caps::Caps;
pub use self::error::{EngineError, Result};
pub use self::runner::{RunnerOptions, collect};
pub use self::runners::Runners;
pub use self::settings::Start;
pub use self::signals::Signals;
pub use self::topology::{Role, Topology};
pub use self::transport::{LocalTransport, Transport};

#[cfg(feature = "mpi")]
pub use self::program::run;
