//! Products with a matrix in panels of a few columns.
//!
//! A panel is `[reduction, width]` without gaps, so that the tiles of its columns read neighbors in memory. Each
//! element of a result is one sum in the order of the reduction, whatever tile it is in.

// See `matmul` on loops over indices.
#![allow(clippy::needless_range_loop, clippy::manual_memcpy)]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::matmul::{Columns as Transposed, Left, Start, tiles};
use super::scratch::Scratch;

/// Columns of a panel. Every instruction set uses this width, so results do not depend on the instruction set.
pub(super) const PANEL: usize = 32;

/// Unit of all widths, and the width of the last panel if the remaining columns fit into it.
pub(super) const HALF_PANEL: usize = PANEL / 2;

/// Returns the first column and the width of each panel of some columns.
pub(super) fn panels(columns: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..columns).step_by(PANEL).map(move |first| (first, width(columns - first)))
}

/// Returns the width of the panel of the first of some columns.
pub(super) fn width(columns: usize) -> usize {
    if columns <= HALF_PANEL { HALF_PANEL } else { PANEL }
}

/// Copies some columns of a row-major matrix of `stride` columns into a panel of `width` columns, with zeros behind
/// them.
pub(super) fn pack(
    matrix: &[f32],
    stride: usize,
    columns: Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    let rows = matrix.chunks(stride).zip(panel.chunks_exact_mut(width));
    for (row, panel) in rows {
        let (values, rest) = panel.split_at_mut(columns.len());
        values.copy_from_slice(&row[columns.clone()]);
        rest.fill(0.0);
    }
}

/// Runs `$tile` for two vectors at a time, then one, of a panel of `$width` columns.
macro_rules! vectors {
    ($simd:ty, $width:expr, $tile:ident, $($argument:tt),*) => {{
        let (width, lanes) = ($width, <$simd>::F32_LANES);
        let mut column = 0;
        while column + 2 * lanes <= width {
            $tile!(2, column, $($argument),*);
            column += 2 * lanes;
        }
        while column < width {
            $tile!(1, column, $($argument),*);
            column += lanes;
        }
    }};
}

/// Loads `N` vectors.
#[inline(always)]
pub(super) fn load<S: Simd, const N: usize>(simd: S, values: &[f32]) -> [S::f32s; N] {
    let (from, _) = S::as_simd_f32s(&values[..N * S::F32_LANES]);
    let mut vectors = [simd.splat_f32s(0.0); N];
    for n in 0..N {
        vectors[n] = from[n];
    }
    vectors
}

/// Loads vectors of which only the elements before the end of `values` exist. The others are 0.
#[inline(always)]
pub(super) fn load_part<S: Simd, const N: usize>(simd: S, values: &[f32]) -> [S::f32s; N] {
    if values.len() >= N * S::F32_LANES {
        return load(simd, values);
    }
    let mut vectors = [simd.splat_f32s(0.0); N];
    for n in 0..N {
        let start = values.len().min(n * S::F32_LANES);
        let end = values.len().min(start + S::F32_LANES);
        vectors[n] = simd.partial_load_f32s(&values[start..end]);
    }
    vectors
}

/// Stores the elements of vectors for which there is room.
#[inline(always)]
pub(super) fn store_part<S: Simd, const N: usize>(simd: S, vectors: [S::f32s; N], out: &mut [f32]) {
    if out.len() >= N * S::F32_LANES {
        let (out, _) = S::as_mut_simd_f32s(&mut out[..N * S::F32_LANES]);
        for n in 0..N {
            out[n] = vectors[n];
        }
        return;
    }
    for n in 0..N {
        let start = out.len().min(n * S::F32_LANES);
        let end = out.len().min(start + S::F32_LANES);
        simd.partial_store_f32s(&mut out[start..end], vectors[n]);
    }
}

/// Returns a row-major matrix in panels.
pub(super) fn in_panels(matrix: &[f32], columns: usize) -> Scratch {
    let rows = matrix.len() / columns.max(1);
    fill_panels(rows, columns, |first, width, panel| {
        pack(matrix, columns, first..columns.min(first + width), width, panel);
    })
}

/// Minimum number of elements that are packed by several threads.
const MANY: usize = 1 << 16;

/// Returns panels `[rows, width]` of some columns. `fill` writes one panel, given its first column and its width.
fn fill_panels(
    rows: usize,
    columns: usize,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Scratch {
    let mut packed = Scratch::new(rows * columns.next_multiple_of(HALF_PANEL));
    let is_large = packed.len() >= MANY;
    let tasks = panels(columns).zip(packed.chunks_mut((rows * PANEL).max(1)));
    let fill = |((first, width), panel): ((usize, usize), &mut [f32])| fill(first, width, panel);
    match is_large {
        true => rekindle_parallel::for_each(tasks, fill),
        false => tasks.for_each(fill),
    }
    packed
}

/// Returns the transpose of a row-major matrix of `rows` rows in panels.
pub(super) fn transposed_in_panels(matrix: &[f32], rows: usize) -> Scratch {
    /// Elements of a row that are copied together: a cache line.
    const BLOCK: usize = 16;
    let len = matrix.len() / rows.max(1);
    fill_panels(len, rows, |first, width, panel| {
        let columns = width.min(rows - first);
        if columns < width {
            panel.fill(0.0);
        }
        let matrix = &matrix[first * len..][..columns * len];
        for (block, out) in panel.chunks_mut(BLOCK * width).enumerate() {
            for (column, row) in matrix.chunks_exact(len).enumerate() {
                let row = &row[block * BLOCK..];
                let out = out[column..].iter_mut().step_by(width);
                out.zip(row).for_each(|(out, value)| *out = *value);
            }
        }
    })
}

/// The place of a panel's columns in a row-major matrix.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// Distance of two rows of the matrix.
    pub(super) stride: usize,
    /// Number of columns, at most the width of the panel.
    pub(super) len: usize,
}

/// Computes `out = start + left · panel` for some rows. `out` begins with the first column of the panel.
#[inline(always)]
pub(super) fn product<S: Simd>(
    simd: S,
    left: impl Left,
    [rows, width]: [usize; 2],
    panel: &[f32],
    start: Start<'_>,
    columns: Columns,
    out: &mut [f32],
) {
    // Not inlined, because the code for all tiles is long.
    simd.vectorize(Product { left, rows, width, panel, start, columns, out });
}

struct Product<'a, L> {
    left: L,
    rows: usize,
    width: usize,
    panel: &'a [f32],
    start: Start<'a>,
    columns: Columns,
    out: &'a mut [f32],
}

impl<L: Left> WithSimd for Product<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, rows, width, panel, start, columns, out } = self;
        macro_rules! tile {
            ($n:tt, $column:tt, $m:tt, $row:tt) => {
                tile::<S, _, $m, $n>(
                    simd,
                    left,
                    [$row, $column],
                    (panel, width),
                    start,
                    columns,
                    &mut out[$row * columns.stride..],
                )
            };
        }
        macro_rules! rows {
            ($m:tt, $row:tt) => {
                vectors!(S, width, tile, $m, $row)
            };
        }
        tiles!(S, rows, rows);
    }
}

#[inline(always)]
fn tile<S: Simd, L: Left, const M: usize, const N: usize>(
    simd: S,
    left: L,
    [row, column]: [usize; 2],
    (panel, width): (&[f32], usize),
    start: Start<'_>,
    Columns { stride, len }: Columns,
    out: &mut [f32],
) {
    let columns = len.min(column)..len.min(column + N * S::F32_LANES);
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    match start {
        Start::Zero => {}
        Start::Row(start) => sums = [load_part(simd, &start[columns.clone()]); M],
        Start::Result => {
            for m in 0..M {
                sums[m] = load_part(simd, &out[m * stride..][columns.clone()]);
            }
        }
    }
    let left = left.at::<M>(row);
    for (p, right) in panel.chunks_exact(width).enumerate() {
        let (left, right) = (left(p), load::<S, N>(simd, &right[column..]));
        for m in 0..M {
            let left = simd.splat_f32s(left[m]);
            for n in 0..N {
                sums[m][n] = simd.mul_add_e_f32s(left, right[n], sums[m][n]);
            }
        }
    }
    for m in 0..M {
        store_part(simd, sums[m], &mut out[m * stride..][columns.clone()]);
    }
}

/// Columns of the left factor of [`transposed_product`] that are copied together.
const LEFT: usize = 8;

/// Computes `out = leftᵀ · right` for some columns of `left`, a row-major matrix of `stride` columns.
///
/// # Shapes
/// `panels`: the right factor, `[rows, columns]`, in panels; `out`: `[range, columns]`.
#[inline(always)]
pub(super) fn transposed_product<S: Simd>(
    simd: S,
    left: &[f32],
    stride: usize,
    range: Range<usize>,
    (right, columns): (&[f32], usize),
    out: &mut [f32],
) {
    let rows = left.len() / stride;
    let mut copied = Scratch::new(rows * LEFT);
    for (index, out) in out.chunks_mut(LEFT * columns).enumerate() {
        let first = range.start + index * LEFT;
        let len = out.len() / columns;
        let copied = &mut copied[..rows * len];
        pack(left, stride, first..first + len, len, copied);
        let left = Transposed { data: copied, stride: len };
        for (column, width) in panels(columns) {
            let panel = &right[column * rows..][..width * rows];
            let columns = Columns { stride: columns, len: width.min(columns - column) };
            product(simd, left, [len, width], panel, Start::Zero, columns, &mut out[column..]);
        }
    }
}

pub(super) use vectors;
