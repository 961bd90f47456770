//! Steps of RMSprop over slices.

use pulp::{Simd, WithSimd};

use super::adam::GRAIN;
use super::arch::arch;
use crate::adam::LARGEST_SQUARE;
use crate::rms_prop::RmsPropStep;

/// Takes one step in place. An element whose step is not finite keeps its value and its average.
pub(crate) fn rms_prop(
    step: &RmsPropStep,
    parameters: &mut [f32],
    gradients: &[f32],
    average: &mut [f32],
) {
    let RmsPropStep { lr, alpha, epsilon } = *step;
    let share = rekindle_parallel::share(parameters.len(), GRAIN);
    let all = parameters.chunks_mut(share).zip(gradients.chunks(share));
    let tasks = all.zip(average.chunks_mut(share)).map(|((parameters, gradients), average)| Step {
        rate: lr as f32,
        alpha,
        epsilon,
        parameters,
        gradients,
        average,
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
}

struct Step<'a> {
    rate: f32,
    alpha: f32,
    epsilon: f32,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    average: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    /// No product is added in one rounding, so that vectors and the rest round as Burn's operations do.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rate, alpha, rest, epsilon) = (self.rate, self.alpha, 1.0 - self.alpha, self.epsilon);
        let (p, p_rest) = S::as_mut_simd_f32s(self.parameters);
        let (g, g_rest) = S::as_simd_f32s(self.gradients);
        let (v, v_rest) = S::as_mut_simd_f32s(self.average);
        let splat = |value| simd.splat_f32s(value);
        let (rates, alphas, rests, epsilons) =
            (splat(rate), splat(alpha), splat(rest), splat(epsilon));
        let (largest, infinity) = (splat(LARGEST_SQUARE), splat(f32::INFINITY));
        for i in 0..p.len() {
            let square = simd.min_f32s(simd.mul_f32s(g[i], g[i]), largest);
            let next_v = simd.add_f32s(simd.mul_f32s(v[i], alphas), simd.mul_f32s(square, rests));
            let divisor = simd.add_f32s(simd.sqrt_f32s(next_v), epsilons);
            let change = simd.mul_f32s(simd.div_f32s(g[i], divisor), rates);
            let next_p = simd.sub_f32s(p[i], change);
            // False for NaN, too.
            let finite = simd.less_than_f32s(simd.abs_f32s(next_p), infinity);
            p[i] = simd.select_f32s(finite, next_p, p[i]);
            v[i] = simd.select_f32s(finite, next_v, v[i]);
        }
        for ((p, g), v) in p_rest.iter_mut().zip(g_rest).zip(v_rest) {
            let next_v = *v * alpha + (g * g).min(LARGEST_SQUARE) * rest;
            let next_p = *p - g / (next_v.sqrt() + epsilon) * rate;
            if next_p.is_finite() {
                (*p, *v) = (next_p, next_v);
            }
        }
    }
}
