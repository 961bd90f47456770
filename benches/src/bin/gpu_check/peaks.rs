//! What the device reaches at most: the floor of every measurement.

use std::time::Instant;

use burn::prelude::*;
use rekindle::core::any_tensor::to_f32;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::subject_spec;

/// Measures a large product in single precision and a large copy, and prints lines of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rows and columns of the matrices
    #[arg(long, default_value_t = 4096)]
    side: usize,
    /// Repetitions
    #[arg(long, default_value_t = 20)]
    times: usize,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let Args { side, times } = *args;
    let device = subject_spec().open()?;
    let matrix = Tensor::<2>::full([side, side], 0.5 / side as f32, &device);
    // A read at the end waits for all.
    let wait = |tensor: Tensor<2>| to_f32(tensor.slice([0..1, 0..1]));
    let measured = |work: &dyn Fn(Tensor<2>) -> Tensor<2>| -> Outcome<f64> {
        wait(work(matrix.clone()))?;
        let started = Instant::now();
        let mut all = matrix.clone();
        for _ in 0..times {
            all = work(all);
        }
        wait(all)?;
        Ok(started.elapsed().as_secs_f64() / times as f64)
    };
    let seconds = measured(&|x| x.matmul(matrix.clone()))?;
    let rate = 2.0 * (side as f64).powi(3) / seconds;
    println!("{}", json!({"case": "matrix product, f32", "value": rate / 1e12, "unit": "TFLOP/s"}));
    // Reads and writes each element. A reshape to another rank ends a fused chain.
    let seconds = measured(&|x| {
        let flat = x.reshape([side * side]) + 1.0;
        flat.reshape([side, side])
    })?;
    let bytes = 8.0 * (side * side) as f64;
    println!("{}", json!({"case": "memory", "value": bytes / seconds / 1e9, "unit": "GB/s"}));
    Ok(())
}
