//! Steps of Adam and sums of squares over slices.

use pulp::{Arch, Simd, WithSimd};

use super::arch::arch;
use super::lanes::{self, LANES};
use crate::adam::{AdamStep, LARGEST_SQUARE};

/// Minimum number of elements that justifies another thread.
pub(super) const GRAIN: usize = 1 << 13;

/// Takes one step in place; `rate` and `epsilon` are corrected for the bias of the moments.
///
/// An element whose step is not finite keeps its value and its moments.
pub(crate) fn adam(
    step: &AdamStep,
    [rate, epsilon]: [f32; 2],
    parameters: &mut [f32],
    gradients: &[f32],
    [first, second]: [&mut [f32]; 2],
) {
    let decays = [step.beta_1, step.beta_2];
    let share = rekindle_parallel::share(parameters.len(), GRAIN);
    let all = parameters.chunks_mut(share).zip(gradients.chunks(share));
    let all = all.zip(first.chunks_mut(share)).zip(second.chunks_mut(share));
    let tasks = all.map(|(((parameters, gradients), first), second)| Step {
        decays,
        rate,
        epsilon,
        parameters,
        gradients,
        first,
        second,
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
}

struct Step<'a> {
    decays: [f32; 2],
    rate: f32,
    epsilon: f32,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [beta_1, beta_2] = self.decays;
        let one = |p: f32, g: f32, m: f32, v: f32| {
            let next_m = m * beta_1 + g * (1.0 - beta_1);
            let next_v = v * beta_2 + (g * g).min(LARGEST_SQUARE) * (1.0 - beta_2);
            let next_p = p - next_m * self.rate / (next_v.sqrt() + self.epsilon);
            if next_p.is_finite() { (next_p, next_m, next_v) } else { (p, m, v) }
        };
        let splat = |value| simd.splat_f32s(value);
        let (beta, rest) =
            ([splat(beta_1), splat(beta_2)], [splat(1.0 - beta_1), splat(1.0 - beta_2)]);
        let (rate, epsilon) = (splat(self.rate), splat(self.epsilon));
        // The rest is computed with other roundings: it begins at the same element for all vectors.
        let whole = self.parameters.len() / LANES * LANES;
        let (p, p_rest) = self.parameters.split_at_mut(whole);
        let (g, g_rest) = self.gradients.split_at(whole);
        let (m, m_rest) = self.first.split_at_mut(whole);
        let (v, v_rest) = self.second.split_at_mut(whole);
        let ((p, _), (g, _)) = (S::as_mut_simd_f32s(p), S::as_simd_f32s(g));
        let ((m, _), (v, _)) = (S::as_mut_simd_f32s(m), S::as_mut_simd_f32s(v));
        let (largest, infinity) = (splat(LARGEST_SQUARE), splat(f32::INFINITY));
        for i in 0..p.len() {
            let square = simd.min_f32s(simd.mul_f32s(g[i], g[i]), largest);
            let next_m = simd.mul_add_e_f32s(m[i], beta[0], simd.mul_f32s(g[i], rest[0]));
            let next_v = simd.mul_add_e_f32s(v[i], beta[1], simd.mul_f32s(square, rest[1]));
            let divisor = simd.add_f32s(simd.sqrt_f32s(next_v), epsilon);
            let change = simd.div_f32s(simd.mul_f32s(next_m, rate), divisor);
            let next_p = simd.sub_f32s(p[i], change);
            // False for NaN, too.
            let finite = simd.less_than_f32s(simd.abs_f32s(next_p), infinity);
            p[i] = simd.select_f32s(finite, next_p, p[i]);
            m[i] = simd.select_f32s(finite, next_m, m[i]);
            v[i] = simd.select_f32s(finite, next_v, v[i]);
        }
        for i in 0..p_rest.len() {
            (p_rest[i], m_rest[i], v_rest[i]) = one(p_rest[i], g_rest[i], m_rest[i], v_rest[i]);
        }
    }
}

/// Returns the sum of the squares, in double precision.
pub(crate) fn square_sum(values: &[f32]) -> f64 {
    let arch = arch();
    // In pieces of one length, so that the result does not depend on the number of threads.
    if values.len() <= GRAIN {
        return square_sum_of(arch, values);
    }
    let mut sums = vec![0.0; values.len().div_ceil(GRAIN)];
    let share = rekindle_parallel::share(sums.len(), 1);
    let tasks = sums.chunks_mut(share).zip(values.chunks(share * GRAIN));
    rekindle_parallel::for_each(tasks, |(sums, values)| {
        for (sum, values) in sums.iter_mut().zip(values.chunks(GRAIN)) {
            *sum = square_sum_of(arch, values);
        }
    });
    sums.iter().sum()
}

fn square_sum_of(arch: Arch, values: &[f32]) -> f64 {
    arch.dispatch(Squares(values))
}

/// Squares of a block are added in single precision, and those sums in double precision.
struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        const BLOCK: usize = 256;
        let mut sum = 0.0;
        for block in self.0.chunks(BLOCK) {
            let part = lanes::square_sum(simd, block);
            // Squares beyond single precision are rare, and then slower.
            sum += match part.is_finite() && part > 1e-30 {
                true => f64::from(part),
                false => block.iter().map(|x| f64::from(*x) * f64::from(*x)).sum(),
            };
        }
        sum
    }
}
