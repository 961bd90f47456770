//! Tests with several processes of MPI. `cargo xtask mpi` runs them where MPI is installed.

mod equality;
mod job;
