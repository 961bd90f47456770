//! Pictures of games on a grid.

use crate::error::Result;
use crate::render::{Canvas, Color, Frame, Point, colors};

/// Pixels of a cell.
const CELL: usize = 30;

/// A picture of a grid of cells.
pub(super) struct Board {
    canvas: Canvas,
    rows: usize,
}

impl Board {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let mut canvas = Canvas::new(rows * CELL, columns * CELL, [0.0, columns as f64], 0.0);
        canvas.fill(colors::DARK);
        Self { canvas, rows }
    }

    /// Fills a cell. Rows count from the top.
    pub(super) fn square(&mut self, row: usize, column: usize, color: Color) {
        let [x, y] = self.center(row, column);
        self.canvas.rectangle([x - 0.46, y - 0.46], [x + 0.46, y + 0.46], color);
    }

    /// Draws a disk in a cell.
    pub(super) fn disk(&mut self, row: usize, column: usize, color: Color) {
        self.canvas.circle(self.center(row, column), 0.35, color);
    }

    pub(super) fn into_frame(self) -> Result<Frame> {
        Ok(self.canvas.into_frame()?.with_fps(8.0))
    }

    fn center(&self, row: usize, column: usize) -> Point {
        [column as f64 + 0.5, self.rows as f64 - row as f64 - 0.5]
    }
}
