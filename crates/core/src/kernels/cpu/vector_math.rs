//! Elementary functions of many elements at once.

use pulp::Simd;

/// Numerator and denominator of the rational function for tanh, highest power first, in powers of
/// x²; the numerator is multiplied by x once more. Minimax coefficients for f32 as used by Eigen.
const TANH_NUMERATOR: [f32; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297e-8,
    1.485_722_4e-5,
    6.372_619e-4,
    4.893_524_6e-3,
];
const TANH_DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];

/// Beyond this tanh is ±1 to the precision of f32.
const TANH_SATURATION: f32 = 7.905_311;

#[inline(always)]
fn horner<S: Simd, const N: usize>(simd: S, coefficients: [f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*coefficient));
    }
    sum
}

/// `max(x, bound)`; NaN stays NaN.
#[inline(always)]
pub(super) fn at_least<S: Simd>(simd: S, x: S::f32s, bound: f32) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    simd.select_f32s(simd.less_than_f32s(x, bound), bound, x)
}

/// `min(x, bound)`; NaN stays NaN.
#[inline(always)]
fn at_most<S: Simd>(simd: S, x: S::f32s, bound: f32) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    simd.select_f32s(simd.less_than_f32s(bound, x), bound, x)
}

/// Hyperbolic tangent within 1e-6; NaN stays NaN.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = at_most(simd, at_least(simd, x, -TANH_SATURATION), TANH_SATURATION);
    let square = simd.mul_f32s(x, x);
    let numerator = simd.mul_f32s(x, horner(simd, TANH_NUMERATOR, square));
    simd.div_f32s(numerator, horner(simd, TANH_DENOMINATOR, square))
}

/// Replaces every element of a slice by the function of it.
#[inline(always)]
pub(super) fn map<S: Simd>(simd: S, values: &mut [f32], f: impl Fn(S::f32s) -> S::f32s) {
    let (vectors, rest) = S::as_mut_simd_f32s(values);
    for x in vectors {
        *x = f(*x);
    }
    if !rest.is_empty() {
        let result = f(simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, result);
    }
}

/// Replaces every element of `values` by the function of it and that of `others`, of equal length.
#[inline(always)]
pub(super) fn zip<S: Simd>(
    simd: S,
    values: &mut [f32],
    others: &[f32],
    f: impl Fn(S::f32s, S::f32s) -> S::f32s,
) {
    let (vectors, rest) = S::as_mut_simd_f32s(values);
    let (other_vectors, other_rest) = S::as_simd_f32s(others);
    for i in 0..vectors.len().min(other_vectors.len()) {
        vectors[i] = f(vectors[i], other_vectors[i]);
    }
    if !rest.is_empty() {
        let result = f(simd.partial_load_f32s(rest), simd.partial_load_f32s(other_rest));
        simd.partial_store_f32s(rest, result);
    }
}
