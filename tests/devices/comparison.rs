//! The computations that are compared between devices, and checks of one device.
//!
//! The crate that includes this file says which device is tested, by `subject_spec`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed comparison panics")]

mod adam;
pub(crate) mod case;
mod cases;
mod checkpoint;
mod launches;
mod numbers;
mod training;

use burn::prelude::*;
use rekindle::prelude::*;

use crate::subject_spec;

pub(crate) use cases::all as cases;
#[cfg(test)]
pub(crate) use training::ppo;

/// The device to compare with.
pub(crate) fn cpu() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

pub(crate) fn subject() -> Device {
    subject_spec().open().unwrap_or_else(|error| panic!("{error}"))
}

/// The checks of this module, for programs other than tests. A check that fails panics.
#[cfg(not(test))]
pub(crate) fn checks() -> [(&'static str, fn()); 7] {
    [
        ("steps of Adam", adam::adam_takes_the_same_steps),
        ("checkpoint, from the device", checkpoint::written_on_the_device_and_read_on_the_cpu),
        ("checkpoint, to the device", checkpoint::written_on_the_cpu_and_read_on_the_device),
        ("numbers at the edge", numbers::numbers_at_the_edge_are_the_same_everywhere),
        (
            "NaN in clamps and choices",
            numbers::the_cpu_keeps_nan_and_other_devices_may_lose_it_in_clamps_and_choices,
        ),
        (
            "updates that are not finite",
            numbers::updates_that_are_not_finite_are_skipped_on_every_device,
        ),
        ("few kernel launches", launches::a_minibatch_of_ppo_launches_few_kernels),
    ]
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
