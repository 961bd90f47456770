//! Tests of the whole library, in one program: linking Burn takes seconds per program.
//!
//! Tests that train until something is learned are in `learning`, parity with other libraries in
//! `parity`, comparisons between devices in `devices`. `memory` is alone because it measures its process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod action_spaces;
mod compile_fail;
mod fault_tolerance;
mod multi_agent;
mod observation_spaces;
mod partial_loading;
mod programs;
mod recurrent;
mod rl_modules;
mod roles;
mod self_play;
mod shared_module;
#[path = "../support/mod.rs"]
mod support;
