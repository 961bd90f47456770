//! The same numbers on any device.
//!
//! These tests compute everything on the CPU and on the device under test, and compare the results. The
//! device is `REKINDLE_TEST_DEVICE`, or the accelerator that is compiled in:
//!
//! ```sh
//! cargo test --features wgpu --test devices -- --nocapture    # prints the table of differences
//! ```
//!
//! Without an accelerator the CPU is compared with itself, and the results must be equal.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

// `gpu-check` has this module too (`benches/src/bin/gpu_check`).
#[path = "comparison.rs"]
mod comparison;
mod placement;
mod table;

use rekindle::prelude::*;

/// The device under test.
fn subject_spec() -> DeviceSpec {
    match std::env::var("REKINDLE_TEST_DEVICE") {
        Ok(name) => name.parse().unwrap(),
        Err(_) if cfg!(feature = "cuda-llvm") => DeviceSpec::Cuda(0),
        Err(_) if cfg!(feature = "wgpu") => DeviceSpec::Wgpu(0),
        Err(_) => DeviceSpec::Cpu,
    }
}
