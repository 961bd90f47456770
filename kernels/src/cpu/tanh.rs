//! `tanh`, element by element.

use pulp::{Simd, WithSimd};

use super::arch::arch;
use super::vector_math;
use crate::host_op::{HostOp, Pass};

#[derive(Debug)]
pub(crate) struct Tanh;

impl HostOp<1> for Tanh {
    type Saved = ();

    fn forward(&self, [x]: [&[f32]; 1], _tracked: bool) -> (Vec<f32>, ()) {
        let mut y = x.to_vec();
        arch().dispatch(Forward(&mut y));
        (y, ())
    }

    /// `∂L/∂x = ∂L/∂y · (1 − y²)`.
    fn backward(&self, pass: Pass<'_, (), 1>) -> [Option<Vec<f32>>; 1] {
        let products = pass.gradient.iter().zip(pass.output).map(|(g, y)| g * (1.0 - y * y));
        [Some(products.collect())]
    }
}

struct Forward<'a>(&'a mut [f32]);

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        vector_math::map(
            simd,
            self.0,
            #[inline(always)]
            |x| vector_math::tanh(simd, x),
        );
    }
}
