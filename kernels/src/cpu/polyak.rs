//! Moving averages of parameters over slices.

use pulp::{Simd, WithSimd};

use super::arch::arch;
use super::vector_math;

/// Replaces each target by `τ·main + (1 − τ)·target`; `shares` are τ and 1 − τ.
pub(crate) fn polyak(shares: [f32; 2], main: &[f32], target: &mut [f32]) {
    arch().dispatch(Polyak { shares, main, target });
}

struct Polyak<'a> {
    shares: [f32; 2],
    main: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Polyak<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [of_main, of_target] = self.shares.map(|share| simd.splat_f32s(share));
        // Products and sums are rounded apart, as on other devices.
        vector_math::zip(
            simd,
            self.target,
            self.main,
            #[inline(always)]
            |target, main| {
                let main = simd.mul_f32s(main, of_main);
                simd.add_f32s(main, simd.mul_f32s(target, of_target))
            },
        );
    }
}
