//! Connectors and policy bundles in runners: what the module sees, what it learns from, what the
//! environments receive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod actions;
mod bundles;
mod non_finite;
mod parts_and_modules;
mod probe;
mod rewards;
mod stale_rows;
