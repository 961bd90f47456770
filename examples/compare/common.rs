//! What the programs of `cargo xtask compare` share: timing, and the lines of JSON they print.

use std::error::Error;
use std::time::Instant;

use mimalloc::MiMalloc;
use serde_json::json;

/// A program may choose its allocator, a library should not: this one gains some 8 % where
/// networks are small (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What `work` does per second; it returns how much it did, and runs at least once.
pub(crate) fn rate(seconds: f64, mut work: impl FnMut() -> Outcome<u64>) -> Outcome<f64> {
    let (mut done, started) = (0, Instant::now());
    loop {
        done += work()?;
        let elapsed = started.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(done as f64 / elapsed);
        }
    }
}

/// The numbers of a case: `8x128x64` is 8, 128 and 64.
#[allow(dead_code, reason = "some cases are a single number")]
pub(crate) fn sizes<const N: usize>(case: &str) -> Outcome<[usize; N]> {
    let sizes: Vec<usize> = case.split('x').map(str::parse).collect::<Result<_, _>>()?;
    sizes
        .try_into()
        .map_err(|_| format!("`{case}` is no case: give {N} numbers with an x between").into())
}

/// Prints a measurement.
pub(crate) fn report(case: &str, value: f64, episode_return_mean: Option<f64>) {
    let line = json!({
        "case": case,
        "system": "rekindle",
        "version": env!("CARGO_PKG_VERSION"),
        "value": value,
        "episode_return_mean": episode_return_mean,
    });
    println!("{line}");
}
