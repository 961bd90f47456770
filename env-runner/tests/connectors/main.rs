//! Connectors and policy bundles in runners: inputs of the module and the loss, and actions for the
//! environments.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod actions;
mod bundles;
mod non_finite;
mod parts_and_modules;
mod probe;
mod rewards;
mod stacked_frames;
mod stale_rows;
