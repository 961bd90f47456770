//! The legend, in a separate column, where it cannot hide a line.

use plotters::{
    drawing::DrawingAreaErrorKind,
    element::{DashedPathElement, PathElement},
    prelude::{DrawingBackend, Rectangle, SVGBackend, ShapeStyle, Text},
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Area, TEXT_SIZE, font};

/// The height of an entry, in pixels.
const ROW: i32 = 22;
/// The center of the first entry, in pixels from the top.
const TOP: i32 = 22;
/// The length of a sample line, in pixels.
const SAMPLE: i32 = 24;
/// The space between sample and label, and at the right edge, in pixels.
const GAP: i32 = 8;
/// Maximum number of characters of a label. Longer labels are cut off.
const MAX_LABEL: usize = 24;

type DrawResult<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// A label beside a sample of its line or area.
pub(super) struct Entry {
    label: String,
    sample: Sample,
    style: ShapeStyle,
}

enum Sample {
    Line,
    Dashed,
    Area,
}

impl Entry {
    pub(super) fn line(label: impl Into<String>, style: ShapeStyle) -> Self {
        Self::new(label.into(), Sample::Line, style)
    }

    pub(super) fn dashed(label: impl Into<String>, style: ShapeStyle) -> Self {
        Self::new(label.into(), Sample::Dashed, style)
    }

    pub(super) fn area(label: impl Into<String>, style: ShapeStyle) -> Self {
        Self::new(label.into(), Sample::Area, style)
    }

    fn new(mut label: String, sample: Sample, style: ShapeStyle) -> Self {
        if label.chars().count() > MAX_LABEL {
            label = label.chars().take(MAX_LABEL - 1).chain(['…']).collect();
        }
        Self { label, sample, style }
    }

    fn draw<'a>(&self, area: &Area<'a>, y: i32) -> DrawResult<'a> {
        let ends = [(0, y), (SAMPLE, y)];
        match self.sample {
            Sample::Line => area.draw(&PathElement::new(ends, self.style))?,
            Sample::Dashed => area.draw(&DashedPathElement::new(ends, 6, 4, self.style))?,
            Sample::Area => {
                area.draw(&Rectangle::new([(0, y - ROW / 4), (SAMPLE, y + ROW / 4)], self.style))?;
            }
        }
        let style = font(TEXT_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(self.label.as_str(), (SAMPLE + GAP, y), style))
    }
}

/// The column of entries.
pub(super) struct Legend {
    entries: Vec<Entry>,
}

impl Legend {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Estimates the width of the longest label in pixels, because no font is available.
    pub(super) fn width(&self) -> u32 {
        let longest =
            self.entries.iter().map(|entry| entry.label.chars().count()).max().unwrap_or(0);
        longest as u32 * TEXT_SIZE / 2 + (SAMPLE + 2 * GAP) as u32
    }

    /// Draws the entries that fit, and the number of the others.
    pub(super) fn draw<'a>(&self, area: &Area<'a>) -> DrawResult<'a> {
        let height = area.dim_in_pixel().1 as i32;
        let rows = ((height - TOP) / ROW).max(1) as usize;
        let shown = if self.entries.len() > rows { rows - 1 } else { self.entries.len() };

        let mut y = TOP;
        for entry in self.entries.iter().take(shown) {
            entry.draw(area, y)?;
            y += ROW;
        }
        let hidden = self.entries.len() - shown;
        if hidden > 0 {
            let style = font(TEXT_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(format!("and {hidden} more"), (SAMPLE + GAP, y), style))?;
        }
        Ok(())
    }
}
