//! Tests that start the program as a user does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod disks;
mod exact_resume;
mod help;
mod interrupted;
mod mistakes;
mod output;
mod own_program;
mod program;
mod python;
mod recordings;
mod run_folder;
mod tune;
