//! Tests with several processes of MPI. `cargo xtask mpi` runs them where MPI is installed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod costs;
mod equality;
mod job;
mod operations;
mod runs;
