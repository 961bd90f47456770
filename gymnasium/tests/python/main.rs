//! Tests that need a Python with Gymnasium. `cargo xtask test` runs these tests if there is one. To run
//! them alone:
//!
//! ```text
//! REKINDLE_PYTHON=venv/bin/python cargo test -p rekindle-gymnasium --test python -- --ignored
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod agents;
mod equality;
mod faults;
mod infos;
mod mistakes;
mod native_vectors;
mod orphans;
mod pipes;
mod refusals;
mod rendering;
mod spaces;
mod support;
