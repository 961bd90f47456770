//! Random numbers of a rollout, drawn on the host and uploaded at once.

use burn::prelude::*;
use rekindle_core::Generator;

/// Draws numbers uniform in [0, 1). Single precision holds each exactly, so that none rounds up to 1.
pub(super) fn uniform(rng: &mut Generator, shape: [usize; 3], device: &Device) -> Tensor<3> {
    const STEP: f32 = 1.0 / (1 << 24) as f32;
    upload(shape, device, || (rng.next_u32() >> 8) as f32 * STEP)
}

/// Draws standard normal numbers.
pub(super) fn normal(rng: &mut Generator, shape: [usize; 3], device: &Device) -> Tensor<3> {
    upload(shape, device, || rng.standard_normal() as f32)
}

fn upload(shape: [usize; 3], device: &Device, mut draw: impl FnMut() -> f32) -> Tensor<3> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
