//! Sums in one order on every processor.
//!
//! A sum over the lanes of a vector depends on their number: AVX-512 has 16 lanes for floats of 32
//! bits, AVX2 has 8. Sums here always run over 16 lanes. A processor with shorter vectors keeps several
//! of them, and at the end lane `i` is added to lane `i + 8`, then `i + 4`, `i + 2` and `i + 1`. With fused
//! multiplication and addition, which AVX2 and AVX-512 both have, the results are equal bit for bit.

// Loops over indices keep the vectors in registers; see `matmul`.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;

/// The lanes of every sum.
pub(super) const LANES: usize = 16;

/// Returns the sum of `a[i] * b[i]`, with the elements beyond whole vectors added first.
#[inline(always)]
pub(super) fn scalar_product<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    // Known when this is compiled: one branch remains.
    match S::F32_LANES {
        16 => sum_of_products::<S, 1, false>(simd, a, b),
        8 => sum_of_products::<S, 2, false>(simd, a, b),
        4 => sum_of_products::<S, 4, false>(simd, a, b),
        2 => sum_of_products::<S, 8, false>(simd, a, b),
        _ => sum_of_products::<S, 16, false>(simd, a, b),
    }
}

/// Returns the sum of squares, with the elements beyond whole vectors added last.
#[inline(always)]
pub(super) fn square_sum<S: Simd>(simd: S, a: &[f32]) -> f32 {
    match S::F32_LANES {
        16 => sum_of_products::<S, 1, true>(simd, a, a),
        8 => sum_of_products::<S, 2, true>(simd, a, a),
        4 => sum_of_products::<S, 4, true>(simd, a, a),
        2 => sum_of_products::<S, 8, true>(simd, a, a),
        _ => sum_of_products::<S, 16, true>(simd, a, a),
    }
}

/// The sum of products, where `N` vectors have [`LANES`] lanes together.
#[inline(always)]
fn sum_of_products<S: Simd, const N: usize, const REST_LAST: bool>(
    simd: S,
    a: &[f32],
    b: &[f32],
) -> f32 {
    let len = a.len().min(b.len());
    let whole = len / LANES;
    let (a, a_rest) = a[..len].split_at(whole * LANES);
    let (b, b_rest) = b[..len].split_at(whole * LANES);
    let ((a, _), (b, _)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    // Two sums, so that an addition need not wait for the one before it.
    let mut even = [simd.splat_f32s(0.0); N];
    let mut odd = even;
    // With one vector a masked load is cheaper than a branch.
    let has_rest = N == 1 || !a_rest.is_empty();
    if !REST_LAST && has_rest {
        for n in 0..N {
            even[n] = simd.mul_f32s(part(simd, a_rest, n), part(simd, b_rest, n));
        }
    }
    for i in 0..whole / 2 {
        for n in 0..N {
            let (i, j) = (2 * i * N + n, (2 * i + 1) * N + n);
            even[n] = simd.mul_add_e_f32s(a[i], b[i], even[n]);
            odd[n] = simd.mul_add_e_f32s(a[j], b[j], odd[n]);
        }
    }
    if whole % 2 == 1 {
        for n in 0..N {
            let i = (whole - 1) * N + n;
            even[n] = simd.mul_add_e_f32s(a[i], b[i], even[n]);
        }
    }
    for n in 0..N {
        if REST_LAST && has_rest {
            let (a, b) = (part(simd, a_rest, n), part(simd, b_rest, n));
            even[n] = simd.mul_add_e_f32s(a, b, even[n]);
        }
        even[n] = simd.add_f32s(even[n], odd[n]);
    }
    total(simd, even)
}

/// The `n`-th vector of fewer than [`LANES`] elements, with zeros behind them.
#[inline(always)]
fn part<S: Simd>(simd: S, rest: &[f32], n: usize) -> S::f32s {
    let start = rest.len().min(n * S::F32_LANES);
    let end = rest.len().min(start + S::F32_LANES);
    simd.partial_load_f32s(&rest[start..end])
}

/// Adds the lanes of `N` vectors up by halves.
#[inline(always)]
fn total<S: Simd, const N: usize>(simd: S, mut sums: [S::f32s; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for n in 0..half {
            sums[n] = simd.add_f32s(sums[n], sums[n + half]);
        }
        half /= 2;
    }
    if S::F32_LANES >= 8 {
        // On x86 it adds by halves, too.
        return simd.reduce_sum_f32s(sums[0]);
    }
    let mut lanes = [0.0; LANES];
    simd.partial_store_f32s(&mut lanes[..S::F32_LANES], sums[0]);
    let mut half = S::F32_LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;

    /// The order of the module's documentation, with fused multiplication and addition.
    fn expected(a: &[f32], b: &[f32], rest_last: bool) -> f32 {
        let whole = a.len() / LANES;
        let mut sums = [[0f32; LANES]; 2];
        let rest = || (whole * LANES..a.len()).enumerate();
        if !rest_last {
            rest().for_each(|(lane, i)| sums[0][lane] = a[i] * b[i]);
        }
        for chunk in 0..whole {
            for (lane, sum) in sums[chunk % 2].iter_mut().enumerate() {
                let i = chunk * LANES + lane;
                *sum = a[i].mul_add(b[i], *sum);
            }
        }
        if rest_last {
            rest().for_each(|(lane, i)| sums[0][lane] = a[i].mul_add(b[i], sums[0][lane]));
        }
        let mut lanes: Vec<f32> = (0..LANES).map(|lane| sums[0][lane] + sums[1][lane]).collect();
        while lanes.len() > 1 {
            let (low, high) = lanes.split_at(lanes.len() / 2);
            lanes = low.iter().zip(high).map(|(a, b)| a + b).collect();
        }
        lanes[0]
    }

    struct Sums<'a>(&'a [f32], &'a [f32]);

    impl WithSimd for Sums<'_> {
        type Output = [f32; 2];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
            [scalar_product(simd, self.0, self.1), square_sum(simd, self.0)]
        }
    }

    #[test]
    fn sums_have_the_documented_order_on_every_instruction_set_with_fused_multiplication() {
        let values = |seed: usize| -> Vec<f32> {
            (0..300).map(|i| ((i * 7919 + seed) % 1009) as f32 / 500.0 - 1.0).collect()
        };
        let (a, b) = (values(1), values(77));
        for len in 0..300 {
            let (a, b) = (&a[..len], &b[..len]);
            let expected = [expected(a, b, false), expected(a, a, true)];
            for arch in super::super::arch::fused() {
                let found = arch.dispatch(Sums(a, b));
                assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{len}, {arch:?}");
            }
            let scalar = Sums(a, b).with_simd(pulp::Scalar::new());
            assert!(scalar.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }
}
