//! Unusual environments and modules: what is recorded, counted, rejected and restored.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod action_connectors;
mod actions;
mod choices;
mod exploration;
mod idle;
mod lost_calls;
mod mappings;
mod means;
mod memory;
mod modes;
mod options;
mod outputs;
mod replaced_modules;
mod restoring;
mod rewards;
mod support;
