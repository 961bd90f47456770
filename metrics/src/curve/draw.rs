//! Drawing with plotters.

mod legend;

use std::ops::Range;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        Cartesian2d, Color, DashedLineSeries, DrawingArea, IntoDrawingArea, IntoFont, LineSeries,
        Polygon, RGBColor, SVGBackend, ShapeStyle, WHITE,
    },
    style::TextStyle,
};

use self::legend::{Entry, Legend};
use super::LearningCurve;
use super::band::Band;
use crate::humanize::humanize;

/// Colors that color-blind readers can distinguish (Okabe and Ito, without yellow).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(110, 110, 110),
];
const INK: RGBColor = RGBColor(50, 50, 50);
const GRID: RGBColor = RGBColor(228, 228, 228);
const MEAN: RGBColor = RGBColor(20, 50, 90);
const THRESHOLD: RGBColor = RGBColor(190, 60, 60);

const FONT: &str = "sans-serif";
// Nominal sizes; plotters draws about four fifths of them, in pixels.
const TITLE_SIZE: u32 = 22;
const TEXT_SIZE: u32 = 16;

/// Ticks carry one digit more than the columns of the console: `1.25M`.
const TICK_DIGITS: usize = 4;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Returns the SVG document, or the reason why it cannot be drawn.
pub(super) fn svg(curve: &LearningCurve) -> Result<String, String> {
    let mut document = String::new();
    let root = SVGBackend::with_string(&mut document, curve.size).into_drawing_area();
    draw(curve, &root)?;
    // The backend completes the document when it is dropped.
    drop(root);
    Ok(document)
}

fn draw(curve: &LearningCurve, root: &Area<'_>) -> Result<(), String> {
    root.fill(&WHITE).map_err(text)?;
    let root = root.margin(8, 4, 0, 0).titled(&curve.title, font(TITLE_SIZE)).map_err(text)?;

    let band = Band::of(&curve.runs);
    let legend = Legend::new(entries(curve, band.is_some()));
    let (plot, side) =
        root.split_horizontally(root.dim_in_pixel().0.saturating_sub(legend.width()));
    legend.draw(&side).map_err(text)?;

    let points = || curve.runs.iter().flat_map(|run| &run.points);
    let x = range(points().map(|point| point.0), 0.0)?;
    let y = range(points().map(|point| point.1).chain(curve.threshold), 0.05)?;
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(x.clone(), y)
        .map_err(text)?;
    draw_axes(curve, &mut chart)?;

    if let Some(band) = &band {
        let area = Polygon::new(band.outline(), MEAN.mix(0.10).filled());
        chart.plotting_area().draw(&area).map_err(text)?;
    }
    if let Some(threshold) = curve.threshold {
        let ends = [(x.start, threshold), (x.end, threshold)];
        let line = DashedLineSeries::new(ends, 6, 4, stroke(&THRESHOLD, 1));
        chart.draw_series(line).map_err(text)?;
    }
    for (index, run) in curve.runs.iter().enumerate() {
        let style = run_style(index, band.is_some());
        chart.draw_series(LineSeries::new(run.points.iter().copied(), style)).map_err(text)?;
    }
    if let Some(band) = band {
        chart.draw_series(LineSeries::new(band.mean, stroke(&MEAN, 3))).map_err(text)?;
    }
    Ok(())
}

fn draw_axes(curve: &LearningCurve, chart: &mut Chart<'_, '_>) -> Result<(), String> {
    let (x, y) = (tick_label(&chart.x_range()), tick_label(&chart.y_range()));
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(8)
        .y_labels(7)
        .x_label_formatter(&x)
        .y_label_formatter(&y)
        .label_style(font(TEXT_SIZE))
        .x_desc(&curve.x_label)
        .y_desc(&curve.y_label)
        .axis_desc_style(font(TEXT_SIZE + 2))
        .draw()
        .map_err(text)
}

/// Returns the labels of ticks. Ticks come from repeated addition, so the one at zero may be slightly off.
fn tick_label(range: &Range<f64>) -> impl Fn(&f64) -> String + use<> {
    let negligible = 1e-9 * (range.end - range.start);
    move |value| humanize(if value.abs() < negligible { 0.0 } else { *value }, TICK_DIGITS)
}

/// Returns the entries of the legend, in the order of importance.
fn entries(curve: &LearningCurve, has_band: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    if has_band {
        entries.push(Entry::line("mean", stroke(&MEAN, 3)));
        entries.push(Entry::area("min to max", MEAN.mix(0.15).filled()));
    }
    if let Some(threshold) = curve.threshold {
        let label = format!("threshold {}", humanize(threshold, TICK_DIGITS));
        entries.push(Entry::dashed(label, stroke(&THRESHOLD, 1)));
    }
    let runs = curve.runs.iter().enumerate();
    entries.extend(runs.map(|(index, run)| Entry::line(&run.label, run_style(index, has_band))));
    entries
}

/// Returns the style of a run, which is thin and pale if there is a mean.
fn run_style(index: usize, has_band: bool) -> ShapeStyle {
    let color = PALETTE[index % PALETTE.len()];
    if has_band { stroke(&color.mix(0.6), 1) } else { stroke(&color, 2) }
}

fn stroke(color: &impl Color, width: u32) -> ShapeStyle {
    color.stroke_width(width)
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Returns the range of `values`, widened by `margin` of its length on both sides. It is never empty.
fn range(values: impl Iterator<Item = f64> + Clone, margin: f64) -> Result<Range<f64>, String> {
    let low = values.clone().reduce(f64::min).ok_or("no finite point to draw")?;
    let high = values.reduce(f64::max).unwrap_or(low);
    let magnitude = low.abs().max(high.abs());
    // Ticks closer than the resolution of floats would never reach the end of the axis.
    let flat = high - low <= 1e-9 * magnitude;
    let pad = if flat { 0.5 * magnitude.max(1.0) } else { margin * (high - low) };
    let range = low - pad..high + pad;
    if (range.end - range.start).is_finite() {
        Ok(range)
    } else {
        Err("the points lie too far apart".to_owned())
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
