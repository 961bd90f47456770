//! Environments and runners that fail: assertions 69 and 70, and the effect on the others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod fragile;
mod late;
mod runners;
mod started;
mod sub_environments;
