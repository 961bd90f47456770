//! Elementary functions of slices.

use pulp::{Simd, WithSimd};

use super::arch::arch;

/// Numerator and denominator of the rational approximation of tanh, in powers of x² from the highest. The
/// numerator has another factor x. These are the minimax coefficients for f32 that Eigen uses.
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

/// Beyond this value tanh is ±1 in the precision of f32.
const TANH_SATURATION: f32 = 7.905_311;

#[inline(always)]
fn horner<S: Simd, const N: usize>(simd: S, coefficients: [f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*coefficient));
    }
    sum
}

/// Returns `max(x, bound)`; NaN stays NaN.
#[inline(always)]
pub(super) fn at_least<S: Simd>(simd: S, x: S::f32s, bound: f32) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    simd.select_f32s(simd.less_than_f32s(x, bound), bound, x)
}

/// Returns `min(x, bound)`; NaN stays NaN.
#[inline(always)]
fn at_most<S: Simd>(simd: S, x: S::f32s, bound: f32) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    simd.select_f32s(simd.less_than_f32s(bound, x), bound, x)
}

/// Returns the hyperbolic tangent with an error below 1e-6; NaN stays NaN.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = at_most(simd, at_least(simd, x, -TANH_SATURATION), TANH_SATURATION);
    let square = simd.mul_f32s(x, x);
    let numerator = simd.mul_f32s(x, horner(simd, TANH_NUMERATOR, square));
    simd.div_f32s(numerator, horner(simd, TANH_DENOMINATOR, square))
}

/// Returns the logistic function, `(tanh(x/2) + 1)/2`. NaN stays NaN.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    simd.mul_add_e_f32s(tanh(simd, simd.mul_f32s(x, half)), half, half)
}

/// Applies a function to every element in place.
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

/// Replaces every element of `values` by a function of it and the element of `others`, which is equally
/// long.
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

/// Replaces every element `x` by `eˣ`, with a relative error below 3e-7.
///
/// Results below 2e-38 are 0. NaN stays NaN.
pub fn exp(values: &mut [f32]) {
    arch().dispatch(Exp(values));
}

struct Exp<'a>(&'a mut [f32]);

impl WithSimd for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        map(
            simd,
            self.0,
            #[inline(always)]
            |x| exponential(simd, x),
        );
    }
}

/// Replaces every element by its natural logarithm, in single precision.
///
/// The elements must be normal positive numbers; results for other numbers are unspecified. NaN stays NaN.
pub fn ln(values: &mut [f32]) {
    arch().dispatch(Ln(values));
}

struct Ln<'a>(&'a mut [f32]);

impl WithSimd for Ln<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        map(
            simd,
            self.0,
            #[inline(always)]
            |x| logarithm(simd, x),
        );
    }
}

/// Computes `eˣ` as `2ⁿ·eʳ` with `|r| ≤ ln 2 / 2` and a Taylor polynomial for `eʳ`.
#[inline(always)]
fn exponential<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// Adding and subtracting it rounds to the nearest integer.
    const ROUNDING: f32 = 12_582_912.0;
    /// `ln 2` in two parts, the first with few digits, so that `n` times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const TAYLOR: [f32; 8] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    /// Below this value the exponent field could not hold half of the result: the result is 0.
    const LOWEST: f32 = -86.98;
    const HIGHEST: f32 = 88.722_83;
    let clamped = at_most(simd, at_least(simd, x, LOWEST), HIGHEST);
    let shifted = simd.mul_add_e_f32s(
        clamped,
        simd.splat_f32s(std::f32::consts::LOG2_E),
        simd.splat_f32s(ROUNDING),
    );
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUNDING));
    let rest = simd.negate_mul_add_e_f32s(n, simd.splat_f32s(LN_2[0]), clamped);
    let rest = simd.negate_mul_add_e_f32s(n, simd.splat_f32s(LN_2[1]), rest);
    // Half of 2ⁿ by the exponent field, because n may be 128, and then twice the result.
    let bits = simd.transmute_u32s_f32s(shifted);
    let biased = simd.add_u32s(bits, simd.splat_u32s(126));
    let power = simd.wrapping_dyn_shl_u32s(biased, simd.splat_u32s(23));
    let half = simd.mul_f32s(horner(simd, TAYLOR, rest), simd.transmute_f32s_u32s(power));
    let result = simd.add_f32s(half, half);
    let zero = simd.splat_f32s(0.0);
    let result = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(LOWEST)), zero, result);
    let infinite = simd.less_than_f32s(simd.splat_f32s(HIGHEST), x);
    simd.select_f32s(infinite, simd.splat_f32s(f32::INFINITY), result)
}

/// Computes `ln x` as `n·ln 2 + ln m` with `m` in `[√½, √2)` and `ln m = 2·artanh((m − 1)/(m + 1))`.
#[inline(always)]
fn logarithm<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// The bits of √½. Subtracted from the bits of x, they leave n in the exponent field.
    const ROOT: u32 = 0x3f35_04f3;
    const ARTANH: [f32; 5] = [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0];
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bits = simd.transmute_u32s_f32s(x);
    let offset = simd.sub_u32s(bits, simd.splat_u32s(ROOT));
    let exponent = simd.and_u32s(offset, simd.splat_u32s(0xff80_0000));
    let mantissa = simd.transmute_f32s_u32s(simd.sub_u32s(bits, exponent));
    // The signed exponent as a float: shifted into the mantissa of 2²³, from which the bias is subtracted.
    let biased = simd.add_u32s(
        simd.wrapping_dyn_shr_u32s(
            simd.add_u32s(exponent, simd.splat_u32s(0x4000_0000)),
            simd.splat_u32s(23),
        ),
        simd.splat_u32s(0x4b00_0000),
    );
    let n = simd.sub_f32s(simd.transmute_f32s_u32s(biased), simd.splat_f32s(8_388_736.0));
    let one = simd.splat_f32s(1.0);
    let ratio = simd.div_f32s(simd.sub_f32s(mantissa, one), simd.add_f32s(mantissa, one));
    let square = simd.mul_f32s(ratio, ratio);
    let small = simd.mul_f32s(ratio, horner(simd, ARTANH, square));
    let small = simd.mul_add_e_f32s(n, simd.splat_f32s(LN_2[1]), small);
    let result = simd.mul_add_e_f32s(n, simd.splat_f32s(LN_2[0]), small);
    simd.select_f32s(simd.equal_f32s(x, x), result, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(
        inputs: impl Iterator<Item = f32>,
        fast: fn(&mut [f32]),
        exact: fn(f64) -> f64,
    ) -> f64 {
        let inputs: Vec<f32> = inputs.collect();
        let mut found = inputs.clone();
        fast(&mut found);
        let error = |(x, y): (&f32, &f32)| {
            let exact = exact(f64::from(*x));
            (f64::from(*y) - exact).abs() / exact.abs().max(1e-30)
        };
        inputs.iter().zip(&found).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exponentials_are_exact_to_single_precision() {
        let inputs = (-869_000..=887_000).map(|i| i as f32 * 1e-4);
        assert!(worst(inputs, exp, f64::exp) < 3e-7);
        let mut special = [0.0, f32::NEG_INFINITY, -1e30, f32::INFINITY, 100.0, f32::NAN];
        exp(&mut special);
        assert_eq!(special[..5], [1.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY]);
        assert!(special[5].is_nan());
    }

    #[test]
    fn logarithms_are_exact_to_single_precision() {
        // Away from 1, where the logarithm is 0 and has no relative precision.
        let inputs = (1..100_000).map(|i| i as f32 * 0.01 + 1.001);
        assert!(worst(inputs, ln, f64::ln) < 3e-7);
        assert!(worst([1e-30, 1e30, 0.5, 2.0, 1e-3].into_iter(), ln, f64::ln) < 3e-7);
        let mut special = [1.0, f32::NAN];
        ln(&mut special);
        assert!(special[0] == 0.0 && special[1].is_nan());
    }
}
