//! Matrix products for the sizes of policies. A tile of the result stays in registers during the
//! whole reduction, so each element is one sum in the order of the reduction, regardless of the
//! tiles.

// Functions of the standard library that are not marked as inline (`copy_from_slice`, `Zip`) may be
// compiled in another codegen unit. Then the sums of a tile leave the registers, which plain loops avoid.
#![allow(clippy::needless_range_loop, clippy::manual_memcpy)]

use pulp::Simd;

use super::lanes::scalar_product;

/// The left factor of a product.
pub(super) trait Left: Copy {
    /// Returns a function from step `p` of the reduction to the factors of `M` rows, beginning at `first`.
    fn at<const M: usize>(self, first: usize) -> impl Fn(usize) -> [f32; M];
}

/// The first `len` columns of rows that are `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) len: usize,
}

impl<'a> Rows<'a> {
    /// A row-major matrix, `[rows, len]`.
    #[inline(always)]
    pub(super) fn new(data: &'a [f32], len: usize) -> Self {
        Self { data, stride: len, len }
    }
}

impl Left for Rows<'_> {
    #[inline(always)]
    fn at<const M: usize>(self, first: usize) -> impl Fn(usize) -> [f32; M] {
        let mut rows = [&self.data[..0]; M];
        for m in 0..M {
            rows[m] = &self.data[(first + m) * self.stride..][..self.len];
        }
        #[inline(always)]
        move |p| {
            let mut factors = [0.0; M];
            for m in 0..M {
                factors[m] = rows[m][p];
            }
            factors
        }
    }
}

/// The transpose of a row-major matrix `[reduction, stride]`.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

impl Left for Columns<'_> {
    #[inline(always)]
    fn at<const M: usize>(self, first: usize) -> impl Fn(usize) -> [f32; M] {
        #[inline(always)]
        move |p| {
            let columns = &self.data[p * self.stride + first..][..M];
            let mut factors = [0.0; M];
            for m in 0..M {
                factors[m] = columns[m];
            }
            factors
        }
    }
}

/// The initial value of the sums.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// One value per column, the same for every row, `[columns]`.
    Row(&'a [f32]),
    /// The current contents of the result.
    Result,
}

/// Runs `$tile` with growing `$row` for tiles that fill the registers, then for smaller ones.
macro_rules! tiles {
    ($simd:ty, $rows:expr, $tile:ident) => {{
        let (rows, mut row) = ($rows, 0);
        if <$simd>::REGISTER_COUNT >= 32 {
            while row + 8 <= rows {
                $tile!(8, row);
                row += 8;
            }
        } else {
            // Of eight rows, two tiles of four are faster than tiles of six and two.
            while row + 6 <= rows && row + 8 != rows {
                $tile!(6, row);
                row += 6;
            }
        }
        while row + 4 <= rows {
            $tile!(4, row);
            row += 4;
        }
        while row + 2 <= rows {
            $tile!(2, row);
            row += 2;
        }
        while row < rows {
            $tile!(1, row);
            row += 1;
        }
    }};
}

/// Computes `out = start + left · right`.
///
/// # Shapes
/// `left`: `[rows, reduction]`; `right`: `[reduction, columns]`; `out`: `[rows, columns]`.
#[inline(always)]
pub(super) fn matmul<S: Simd>(
    simd: S,
    left: impl Left,
    right: &[f32],
    columns: usize,
    start: Start<'_>,
    out: &mut [f32],
) {
    let product = Product { simd, left, right, columns, start };
    macro_rules! rows {
        ($m:tt, $row:tt) => {
            product.rows::<$m>($row, out)
        };
    }
    tiles!(S, out.len() / columns, rows);
}

struct Product<'a, S, L> {
    simd: S,
    left: L,
    right: &'a [f32],
    columns: usize,
    start: Start<'a>,
}

impl<S: Simd, L: Left> Product<'_, S, L> {
    /// Computes `M` rows from `row` on.
    #[inline(always)]
    fn rows<const M: usize>(&self, row: usize, out: &mut [f32]) {
        let out = &mut out[row * self.columns..][..M * self.columns];
        let mut column = 0;
        while column + 2 * S::F32_LANES <= self.columns {
            self.tile::<M, 2>(row, column, out);
            column += 2 * S::F32_LANES;
        }
        while column + S::F32_LANES <= self.columns {
            self.tile::<M, 1>(row, column, out);
            column += S::F32_LANES;
        }
        if column < self.columns {
            self.edge::<M>(row, column, out);
        }
    }

    /// Computes a tile of `M` rows by `N` vectors.
    #[inline(always)]
    fn tile<const M: usize, const N: usize>(&self, row: usize, column: usize, out: &mut [f32]) {
        let (simd, columns) = (self.simd, self.columns);
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        match self.start {
            Start::Zero => {}
            Start::Row(start) => sums = [vectors(simd, &start[column..]); M],
            Start::Result => {
                for m in 0..M {
                    sums[m] = vectors(simd, &out[m * columns + column..]);
                }
            }
        }
        let left = self.left.at::<M>(row);
        for (p, right) in self.right.chunks_exact(columns).enumerate() {
            let (left, right) = (left(p), vectors::<S, N>(simd, &right[column..]));
            for m in 0..M {
                let left = simd.splat_f32s(left[m]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_e_f32s(left, right[n], sums[m][n]);
                }
            }
        }
        for m in 0..M {
            let out = &mut out[m * columns + column..][..N * S::F32_LANES];
            let (vectors, _) = S::as_mut_simd_f32s(out);
            for n in 0..N {
                vectors[n] = sums[m][n];
            }
        }
    }

    /// Computes `M` rows of the last columns, which do not fill a vector.
    #[inline(always)]
    fn edge<const M: usize>(&self, row: usize, column: usize, out: &mut [f32]) {
        let (simd, columns) = (self.simd, self.columns);
        let mut sums = [simd.splat_f32s(0.0); M];
        match self.start {
            Start::Zero => {}
            Start::Row(start) => sums = [simd.partial_load_f32s(&start[column..]); M],
            Start::Result => {
                for m in 0..M {
                    sums[m] = simd.partial_load_f32s(&out[m * columns..][column..columns]);
                }
            }
        }
        let left = self.left.at::<M>(row);
        for (p, right) in self.right.chunks_exact(columns).enumerate() {
            let (left, right) = (left(p), simd.partial_load_f32s(&right[column..]));
            for m in 0..M {
                sums[m] = simd.mul_add_e_f32s(simd.splat_f32s(left[m]), right, sums[m]);
            }
        }
        for m in 0..M {
            simd.partial_store_f32s(&mut out[m * columns..][column..columns], sums[m]);
        }
    }
}

#[inline(always)]
fn vectors<S: Simd, const N: usize>(simd: S, values: &[f32]) -> [S::f32s; N] {
    let (from, _) = S::as_simd_f32s(&values[..N * S::F32_LANES]);
    let mut vectors = [simd.splat_f32s(0.0); N];
    for n in 0..N {
        vectors[n] = from[n];
    }
    vectors
}

/// Computes `out = start + x · wᵀ` for a few columns, as scalar products of rows.
///
/// # Shapes
/// `x`: `[rows, len]`; `transposed`: `[columns, len]`; `start`: `[columns]`; `out`:
/// `[rows, columns]`.
#[inline(always)]
pub(super) fn scalar_products<S: Simd>(
    simd: S,
    x: Rows<'_>,
    transposed: &[f32],
    start: &[f32],
    out: &mut [f32],
) {
    let columns = start.len();
    for row in 0..out.len() / columns {
        let x = &x.data[row * x.stride..][..x.len];
        for column in 0..columns {
            let weights = &transposed[column * x.len()..][..x.len()];
            out[row * columns + column] = start[column] + scalar_product(simd, x, weights);
        }
    }
}

/// Writes columns of a row-major matrix as rows, beginning with `first_column`.
pub(super) fn transpose(matrix: &[f32], columns: usize, first_column: usize, out: &mut [f32]) {
    /// Rows and columns of a block: writes fill whole cache lines, and reads stay in the cache.
    const BLOCK: usize = 16;
    let rows = matrix.len() / columns.max(1);
    for first in (0..rows).step_by(BLOCK) {
        let block = &matrix[first * columns..rows.min(first + BLOCK) * columns];
        for (column, out) in (first_column..).zip(out.chunks_exact_mut(rows)) {
            let values = block[column..].iter().step_by(columns);
            out[first..].iter_mut().zip(values).for_each(|(out, value)| *out = *value);
        }
    }
}

pub(super) use tiles;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulp::WithSimd;

    use super::*;

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 500.0 - 1.0).collect()
    }

    /// The product in double precision.
    fn naive(left: &[f32], right: &[f32], [rows, len, columns]: [usize; 3]) -> Vec<f32> {
        let product = |r: usize, c: usize| -> f64 {
            (0..len).map(|p| f64::from(left[r * len + p]) * f64::from(right[p * columns + c])).sum()
        };
        (0..rows * columns).map(|i| product(i / columns, i % columns) as f32).collect()
    }

    fn close(found: &[f32], expected: &[f32]) -> bool {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    struct Check([usize; 3]);

    impl WithSimd for Check {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self([rows, len, columns]) = self;
            let (left, right) = (values(rows * len, 1), values(len * columns, 2));
            let expected = naive(&left, &right, self.0);
            let mut out = vec![f32::NAN; rows * columns];
            matmul(simd, Rows::new(&left, len), &right, columns, Start::Zero, &mut out);
            assert!(close(&out, &expected), "rows {:?}", self.0);

            let bias = values(columns, 3);
            let biased: Vec<f32> =
                expected.iter().enumerate().map(|(i, x)| x + bias[i % columns]).collect();
            let mut transposed = vec![0.0; left.len()];
            transpose(&left, len, 0, &mut transposed);
            let columns_of = Columns { data: &transposed, stride: rows };
            matmul(simd, columns_of, &right, columns, Start::Row(&bias), &mut out);
            assert!(close(&out, &biased), "columns {:?}", self.0);

            let twice: Vec<f32> = biased.iter().zip(&expected).map(|(a, b)| a + b).collect();
            matmul(simd, columns_of, &right, columns, Start::Result, &mut out);
            assert!(close(&out, &twice), "result {:?}", self.0);

            let mut right_transposed = vec![0.0; right.len()];
            transpose(&right, columns, 0, &mut right_transposed);
            let x = Rows::new(&left, len);
            scalar_products(simd, x, &right_transposed, &bias, &mut out);
            assert!(close(&out, &biased), "scalar products {:?}", self.0);
        }
    }

    proptest! {
        #[test]
        fn products_equal_the_definition(rows in 1usize..20, len in 1usize..40, columns in 1usize..70) {
            for arch in super::super::arch::fused() {
                arch.dispatch(Check([rows, len, columns]));
            }
            Check([rows, len, columns]).with_simd(pulp::Scalar::new());
        }
    }
}
