//! Which bounds a box of each element type may have.

use super::BoxDType;
use crate::error::{EnvError, Result};

/// The largest size up to which `f32` holds every integer.
const MAX_EXACT: f32 = 16_777_216.0;

/// Fails on the first element whose bounds leave it without a value or do not fit its type.
pub(super) fn check_bounds(low: &[f32], high: &[f32], dtype: BoxDType) -> Result<()> {
    for (i, (&low, &high)) in low.iter().zip(high).enumerate() {
        let Some(problem) = problem(low, high, dtype) else { continue };
        let reason = format!("element {i} of a {dtype} Box has {problem}: [{low:?}, {high:?}]");
        return Err(EnvError::invalid_space(reason));
    }
    Ok(())
}

fn problem(low: f32, high: f32, dtype: BoxDType) -> Option<&'static str> {
    let any = |test: fn(f32) -> bool| test(low) || test(high);
    if any(f32::is_nan) {
        return Some("a bound that is not a number");
    }
    if low > high {
        return Some("a lower bound above the upper bound");
    }
    if low == f32::INFINITY || high == f32::NEG_INFINITY {
        return Some("no finite value between its bounds");
    }
    match dtype {
        BoxDType::Float32 => None,
        BoxDType::Uint8 => any(|bound| f32::from(bound as u8) != bound)
            .then_some("a bound that is not an integer between 0 and 255"),
        BoxDType::Int32 | BoxDType::Int64 => {
            let is_valid = |bound: f32| bound.is_infinite() || bound.fract() == 0.0;
            let is_exact = |bound: f32| bound.is_infinite() || bound.abs() <= MAX_EXACT;
            if !(is_valid(low) && is_valid(high)) {
                Some("a bound that is not a whole number")
            } else if !(is_exact(low) && is_exact(high)) {
                Some("a finite bound beyond 2^24, which a float32 does not hold exactly")
            } else {
                None
            }
        }
    }
}
