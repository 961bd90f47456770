//! Operations for which Burn's CPU backend has no fast kernel.
//!
//! Each is a plain Burn operation on every other device, tested against it in values and gradients.

#[cfg(feature = "flex")]
mod flex_tanh;

use burn::prelude::*;

/// Hyperbolic tangent of every element.
///
/// Burn's CPU backend calls the scalar `tanh` of the C library; here the CPU evaluates a rational
/// function that vectorises, within 1e-6 of it.
///
/// # Shapes
/// Any; the result has the same.
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if flex_tanh::applies(&x) {
        return flex_tanh::tanh(x);
    }
    x.tanh()
}
