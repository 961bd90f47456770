//! Unusual environments and modules: what is recorded, counted, refused and restored.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod actions;
mod means;
mod memory;
mod modes;
mod replaced_modules;
mod rewards;
mod support;
