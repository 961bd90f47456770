//! The normal density on rows and on tensors, for both Gaussian families.
//!
//! Log standard deviations and standard scores are clamped to the limits of single precision, so
//! that extreme inputs have finite log-densities and gradients (zero beyond the bounds).

use std::f32::consts::PI;

use burn::prelude::*;

/// Bound on the absolute log standard deviation. RLlib's policy heads clip to 20 by default.
pub(super) const MAX_LOG_STD: f32 = 40.0;

/// Bound on the absolute standard score. With [`MAX_LOG_STD`] no factor of a gradient overflows.
const MAX_SCORE: f32 = 1e9;

/// Returns ½·ln 2π.
fn half_log_two_pi() -> f32 {
    0.5 * (2.0 * PI).ln()
}

/// Computes the distances of `x` from `loc` in standard deviations.
///
/// # Shapes
/// `[B, dim]` each.
pub(super) fn score(x: Tensor<2>, loc: Tensor<2>, log_std: Tensor<2>) -> Tensor<2> {
    // A product, because the gradient of a quotient squares its divisor, which may underflow.
    ((x - loc) * log_std.neg().exp()).clamp(-MAX_SCORE, MAX_SCORE)
}

/// Computes log-densities at standard scores.
///
/// # Shapes
/// `[B, dim]` each.
pub(super) fn log_density(score: Tensor<2>, log_std: Tensor<2>) -> Tensor<2> {
    score.square() * -0.5 - log_std - half_log_two_pi()
}

/// Computes the entropies of the dimensions.
///
/// # Shapes
/// `[B, dim]` to `[B, dim]`.
pub(super) fn entropy(log_std: Tensor<2>) -> Tensor<2> {
    log_std + (0.5 + half_log_two_pi())
}

/// Computes the divergences `KL(p ‖ q)` of the dimensions.
///
/// # Shapes
/// `[B, dim]` each: means and log standard deviations of `p`, then of `q`.
pub(super) fn kl(p: (Tensor<2>, Tensor<2>), q: (Tensor<2>, Tensor<2>)) -> Tensor<2> {
    let ((p_loc, p_log_std), (q_loc, q_log_std)) = (p, q);
    let score = score(p_loc, q_loc, q_log_std.clone());
    let log_ratio = q_log_std - p_log_std;
    let variances = (log_ratio.clone() * -2.0).exp();
    log_ratio + (variances + score.square()) * 0.5 - 0.5
}

/// Computes [`score`] for one number.
pub(super) fn row_score(x: f32, loc: f32, log_std: f32) -> f32 {
    ((x - loc) * (-log_std).exp()).clamp(-MAX_SCORE, MAX_SCORE)
}

/// Computes [`log_density`] for one number.
pub(super) fn row_log_density(score: f32, log_std: f32) -> f32 {
    -0.5 * score * score - log_std - half_log_two_pi()
}
