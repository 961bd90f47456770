//! The normal density, which both Gaussian families use, on rows and tensors.
//!
//! Log standard deviations and standard scores are bounded where single precision ends, so that
//! extreme inputs give finite log-densities and gradients (zero beyond the bounds).

use std::f32::consts::PI;

use burn::prelude::*;

/// Bound on the absolute log standard deviation; RLlib's policy heads keep to 20 by default.
pub(super) const MAX_LOG_STD: f32 = 40.0;

/// Bound on the absolute standard score. With [`MAX_LOG_STD`] no factor of a gradient overflows.
const MAX_SCORE: f32 = 1e9;

/// ½·ln 2π.
fn half_log_two_pi() -> f32 {
    0.5 * (2.0 * PI).ln()
}

/// The distance of `x` from `loc` in standard deviations.
///
/// # Shapes
/// `[B, dim]` each.
pub(super) fn score(x: Tensor<2>, loc: Tensor<2>, log_std: Tensor<2>) -> Tensor<2> {
    // A product, because the gradient of a quotient squares the divisor, which may underflow.
    ((x - loc) * log_std.neg().exp()).clamp(-MAX_SCORE, MAX_SCORE)
}

/// Log-densities at standard scores.
///
/// # Shapes
/// `[B, dim]` each.
pub(super) fn log_density(score: Tensor<2>, log_std: Tensor<2>) -> Tensor<2> {
    score.square() * -0.5 - log_std - half_log_two_pi()
}

/// Entropies.
///
/// # Shapes
/// `[B, dim]` to `[B, dim]`.
pub(super) fn entropy(log_std: Tensor<2>) -> Tensor<2> {
    log_std + (0.5 + half_log_two_pi())
}

/// [`score`] of one number.
pub(super) fn row_score(x: f32, loc: f32, log_std: f32) -> f32 {
    ((x - loc) * (-log_std).exp()).clamp(-MAX_SCORE, MAX_SCORE)
}

/// [`log_density`] of one number.
pub(super) fn row_log_density(score: f32, log_std: f32) -> f32 {
    -0.5 * score * score - log_std - half_log_two_pi()
}
