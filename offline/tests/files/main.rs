//! Files of recorded experience: datasets of Minari, reading ahead, and files that are damaged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

#[path = "../../../checkpoint/tests/fuzz/memory.rs"]
mod memory;
mod messages;
mod minari;
#[path = "../../../checkpoint/tests/fuzz/mutate.rs"]
#[allow(dead_code, reason = "the other fuzzer mutates more kinds of files")]
mod mutate;
mod mutated;
mod prefetch;
