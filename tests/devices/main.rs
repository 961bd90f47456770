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

mod cases;
mod checkpoint;
mod numbers;
mod on_device;
mod placement;
mod table;
mod training;

use burn::prelude::*;
use rekindle::prelude::*;

/// The device to compare with.
fn cpu() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// The device under test.
fn subject_spec() -> DeviceSpec {
    match std::env::var("REKINDLE_TEST_DEVICE") {
        Ok(name) => name.parse().unwrap(),
        Err(_) if cfg!(feature = "cuda-llvm") => DeviceSpec::Cuda(0),
        Err(_) if cfg!(feature = "wgpu") => DeviceSpec::Wgpu(0),
        Err(_) => DeviceSpec::Cpu,
    }
}

fn subject() -> Device {
    subject_spec().open().unwrap_or_else(|error| panic!("{error}"))
}

/// Returns `rows × columns` numbers, the same on every device.
fn normal(seed: u64, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    let mut rng = Generator::from_seed(seed);
    let values: Vec<f32> = (0..rows * columns).map(|_| rng.standard_normal() as f32).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Returns rows drawn from a space, the same on every device.
fn samples(space: &Space, rows: usize, device: &Device) -> Column {
    let mut rng = Generator::from_seed(1);
    let mut buffer = Buffer::zeros(space, rows);
    (0..rows).for_each(|row| space.sample_into(&mut rng, buffer.row_mut(row)).unwrap());
    rekindle::core::host_batch::upload(&buffer, device).unwrap()
}

/// Returns the largest difference, relative to 1 + the absolute expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let of = |(f, e): (&f32, &f32)| match f.to_bits() == e.to_bits() || (f.is_nan() && e.is_nan()) {
        true => 0.0,
        false => (f - e).abs() / (1.0 + e.abs()),
    };
    // NaN counts as the largest difference.
    pairs.map(of).fold(0.0, |most, d| if d.is_nan() || d > most { d } else { most })
}
