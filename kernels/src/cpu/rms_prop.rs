//! Steps of RMSprop over slices.

use pulp::{Simd, WithSimd};

use super::adam::GRAIN;
use super::arch::arch;
use super::lanes::LANES;
use crate::adam::LARGEST_SQUARE;
use crate::rms_prop::RmsPropStep;

/// Takes one step in place. An element whose step is not finite keeps its value and its average.
pub(crate) fn rms_prop(
    step: &RmsPropStep,
    parameters: &mut [f32],
    gradients: &[f32],
    averages: &mut [f32],
) {
    let share = rekindle_parallel::share(parameters.len(), GRAIN);
    let all = parameters.chunks_mut(share).zip(gradients.chunks(share));
    let all = all.zip(averages.chunks_mut(share));
    let tasks = all.map(|((parameters, gradients), averages)| Step {
        step: *step,
        parameters,
        gradients,
        averages,
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks.collect(), |task| arch.dispatch(task));
}

struct Step<'a> {
    step: RmsPropStep,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    averages: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let RmsPropStep { lr, alpha, epsilon } = self.step;
        let lr = lr as f32;
        let one = |p: f32, g: f32, v: f32| {
            let next_v = v * alpha + (g * g).min(LARGEST_SQUARE) * (1.0 - alpha);
            let next_p = p - g * lr / (next_v.sqrt() + epsilon);
            if next_p.is_finite() { (next_p, next_v) } else { (p, v) }
        };
        let splat = |value| simd.splat_f32s(value);
        let (decay, rest) = (splat(alpha), splat(1.0 - alpha));
        let (rate, epsilon) = (splat(lr), splat(epsilon));
        // The rest is computed with other roundings: it begins at the same element for all vectors.
        let whole = self.parameters.len() / LANES * LANES;
        let (p, p_rest) = self.parameters.split_at_mut(whole);
        let (g, g_rest) = self.gradients.split_at(whole);
        let (v, v_rest) = self.averages.split_at_mut(whole);
        let ((p, _), (g, _)) = (S::as_mut_simd_f32s(p), S::as_simd_f32s(g));
        let (v, _) = S::as_mut_simd_f32s(v);
        let (largest, infinity) = (splat(LARGEST_SQUARE), splat(f32::INFINITY));
        for i in 0..p.len() {
            let square = simd.min_f32s(simd.mul_f32s(g[i], g[i]), largest);
            let next_v = simd.mul_add_e_f32s(v[i], decay, simd.mul_f32s(square, rest));
            let divisor = simd.add_f32s(simd.sqrt_f32s(next_v), epsilon);
            let next_p = simd.sub_f32s(p[i], simd.div_f32s(simd.mul_f32s(g[i], rate), divisor));
            // False for NaN, too.
            let finite = simd.less_than_f32s(simd.abs_f32s(next_p), infinity);
            p[i] = simd.select_f32s(finite, next_p, p[i]);
            v[i] = simd.select_f32s(finite, next_v, v[i]);
        }
        for i in 0..p_rest.len() {
            (p_rest[i], v_rest[i]) = one(p_rest[i], g_rest[i], v_rest[i]);
        }
    }
}
