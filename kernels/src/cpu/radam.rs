//! Steps of RAdam over slices.

use pulp::{Simd, WithSimd};

use super::adam::GRAIN;
use super::arch::arch;
use crate::adam::LARGEST_SQUARE;
use crate::radam::RAdamStep;

/// Takes one step in place. An element whose step is not finite keeps its value and its moments.
pub(crate) fn radam(
    step: &RAdamStep,
    parameters: &mut [f32],
    gradients: &[f32],
    [first, second]: [&mut [f32]; 2],
) {
    let share = rekindle_parallel::share(parameters.len(), GRAIN);
    let moments = first.chunks_mut(share).zip(second.chunks_mut(share));
    let all = parameters.chunks_mut(share).zip(gradients.chunks(share)).zip(moments);
    let tasks = all.map(|((parameters, gradients), (first, second))| Step {
        step,
        parameters,
        gradients,
        first,
        second,
    });
    let arch = arch();
    rekindle_parallel::for_each(tasks, |task| arch.dispatch(task));
}

struct Step<'a> {
    step: &'a RAdamStep,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    /// No product is added in one rounding, so that vectors and the rest round as Burn's operations do.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let RAdamStep { lr, beta_1, beta_2, epsilon, bias, factor } = *self.step;
        let (rate, rest_1, rest_2) = (lr as f32, 1.0 - beta_1, 1.0 - beta_2);
        let (p, p_rest) = S::as_mut_simd_f32s(self.parameters);
        let (g, g_rest) = S::as_simd_f32s(self.gradients);
        let (m, m_rest) = S::as_mut_simd_f32s(self.first);
        let (v, v_rest) = S::as_mut_simd_f32s(self.second);
        let splat = |value| simd.splat_f32s(value);
        let [rates, betas_1, betas_2] = [rate, beta_1, beta_2].map(splat);
        let [rests_1, rests_2, epsilons, biases] = [rest_1, rest_2, epsilon, bias].map(splat);
        let (largest, infinity) = (splat(LARGEST_SQUARE), splat(f32::INFINITY));
        for i in 0..p.len() {
            let square = simd.min_f32s(simd.mul_f32s(g[i], g[i]), largest);
            let next_m = simd.add_f32s(simd.mul_f32s(m[i], betas_1), simd.mul_f32s(g[i], rests_1));
            let next_v =
                simd.add_f32s(simd.mul_f32s(v[i], betas_2), simd.mul_f32s(square, rests_2));
            let corrected = simd.div_f32s(next_m, biases);
            let change = match factor {
                Some(factor) => {
                    let divisor = simd.add_f32s(simd.sqrt_f32s(next_v), epsilons);
                    simd.div_f32s(simd.mul_f32s(corrected, splat(factor)), divisor)
                }
                None => corrected,
            };
            let next_p = simd.sub_f32s(p[i], simd.mul_f32s(change, rates));
            // False for NaN, too.
            let finite = simd.less_than_f32s(simd.abs_f32s(next_p), infinity);
            p[i] = simd.select_f32s(finite, next_p, p[i]);
            m[i] = simd.select_f32s(finite, next_m, m[i]);
            v[i] = simd.select_f32s(finite, next_v, v[i]);
        }
        let moments = m_rest.iter_mut().zip(v_rest);
        for ((p, g), (m, v)) in p_rest.iter_mut().zip(g_rest).zip(moments) {
            let next_m = *m * beta_1 + g * rest_1;
            let next_v = *v * beta_2 + (g * g).min(LARGEST_SQUARE) * rest_2;
            let corrected = next_m / bias;
            let change = match factor {
                Some(factor) => corrected * factor / (next_v.sqrt() + epsilon),
                None => corrected,
            };
            let next_p = *p - change * rate;
            if next_p.is_finite() {
                (*p, *m, *v) = (next_p, next_m, next_v);
            }
        }
    }
}
