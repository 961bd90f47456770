//! Threads and atomics of the standard library, or those of `loom`, which tries every interleaving.

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
    thread::{self, JoinHandle},
};

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
    thread::{self, JoinHandle},
};
