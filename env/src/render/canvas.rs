//! A picture made of shapes.

use super::Frame;
use crate::error::Result;

/// Red, green and blue.
pub type Color = [u8; 3];
/// Horizontal and vertical position. Vertical positions grow upwards.
pub type Point = [f64; 2];

/// The colors of the built-in environments.
pub mod colors {
    use super::Color;

    /// Background.
    pub const WHITE: Color = [255; 3];
    /// Lines and cars.
    pub const BLACK: Color = [0; 3];
    /// Wheels, grids and things that matter less.
    pub const GRAY: Color = [128; 3];
    /// Background of games.
    pub const DARK: Color = [30, 30, 46];
    /// Poles.
    pub const BROWN: Color = [202, 152, 101];
    /// Axles and players.
    pub const BLUE: Color = [90, 110, 220];
    /// Rods and opponents.
    pub const RED: Color = [210, 75, 75];
    /// Links of robots.
    pub const TEAL: Color = [0, 170, 170];
    /// Balls, joints and flags.
    pub const YELLOW: Color = [225, 190, 40];
}

/// A picture on which shapes are drawn, the later ones over the earlier ones.
///
/// Positions and lengths are in units of the environment. Edges are smooth.
///
/// ```
/// use rekindle_env::render::{Canvas, colors};
///
/// // 100 rows of 200 pixels, from -1 to 1 horizontally and from 0 on upwards.
/// let mut canvas = Canvas::new(100, 200, [-1.0, 1.0], 0.0);
/// canvas.circle([0.5, 0.5], 0.1, colors::RED);
/// let frame = canvas.into_frame()?;
/// assert_eq!(frame.color(50, 150), Some(colors::RED));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canvas {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    left: f64,
    bottom: f64,
    /// Pixels per unit.
    scale: f64,
}

impl Canvas {
    /// Creates a white canvas of `height` rows of `width` pixels, whose columns span `horizontal` and whose
    /// last row is at `bottom`. A unit has the same length in both directions.
    #[must_use]
    pub fn new(height: usize, width: usize, horizontal: [f64; 2], bottom: f64) -> Self {
        let pixels = vec![255; 3 * height * width];
        let [left, right] = horizontal;
        Self { height, width, pixels, left, bottom, scale: width as f64 / (right - left) }
    }

    /// Fills the whole canvas.
    pub fn fill(&mut self, color: Color) {
        self.pixels.as_chunks_mut().0.fill(color);
    }

    /// Draws a disk.
    pub fn circle(&mut self, center: Point, radius: f64, color: Color) {
        let (center, radius) = (self.pixel(center), radius * self.scale);
        self.draw(&[center], radius, color, |point| distance(point, center) - radius);
    }

    /// Draws a line with round ends.
    pub fn line(&mut self, from: Point, to: Point, thickness: f64, color: Color) {
        let (from, to, radius) = (self.pixel(from), self.pixel(to), 0.5 * thickness * self.scale);
        let [along_x, along_y] = [to[0] - from[0], to[1] - from[1]];
        let length = (along_x * along_x + along_y * along_y).max(f64::MIN_POSITIVE);
        self.draw(&[from, to], radius, color, |point| {
            let [x, y] = [point[0] - from[0], point[1] - from[1]];
            let along = ((x * along_x + y * along_y) / length).clamp(0.0, 1.0);
            distance([x, y], [along * along_x, along * along_y]) - radius
        });
    }

    /// Draws a convex polygon, whose corners are given in either direction.
    pub fn polygon(&mut self, corners: &[Point], color: Color) {
        let corners: Vec<Point> = corners.iter().map(|&corner| self.pixel(corner)).collect();
        let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
        let area: f64 = edges().map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum();
        self.draw(&corners, 0.0, color, |[x, y]| {
            let outside = edges().map(|(a, b)| {
                let cross = (b[1] - a[1]) * (x - a[0]) - (b[0] - a[0]) * (y - a[1]);
                area.signum() * cross / distance(*a, *b).max(f64::MIN_POSITIVE)
            });
            outside.fold(f64::NEG_INFINITY, f64::max)
        });
    }

    /// Draws a rectangle between two opposite corners.
    pub fn rectangle(&mut self, [left, bottom]: Point, [right, top]: Point, color: Color) {
        self.polygon(&[[left, bottom], [right, bottom], [right, top], [left, top]], color);
    }

    /// Returns the picture.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`](crate::EnvError::ShapeMismatch) if the canvas has no pixels.
    pub fn into_frame(self) -> Result<Frame> {
        Frame::new(self.height, self.width, self.pixels)
    }

    /// The position in pixels, from the top left on.
    fn pixel(&self, [x, y]: Point) -> Point {
        [(x - self.left) * self.scale, self.height as f64 - (y - self.bottom) * self.scale]
    }

    /// Blends the color into the pixels near `points`, by the distance of a pixel from the shape.
    fn draw(
        &mut self,
        points: &[Point],
        margin: f64,
        color: Color,
        distance: impl Fn(Point) -> f64,
    ) {
        let range = |axis: usize, size: usize| {
            let at = points.iter().map(|point| point[axis]);
            let low = at.clone().fold(f64::INFINITY, f64::min) - margin - 1.0;
            let high = at.fold(f64::NEG_INFINITY, f64::max) + margin + 1.0;
            // Casts saturate, and NaN becomes 0.
            (low.floor() as usize).min(size)..(high.ceil() as usize).min(size)
        };
        let (rows, columns) = (range(1, self.height), range(0, self.width));
        for row in rows {
            for column in columns.clone() {
                let distance = distance([column as f64 + 0.5, row as f64 + 0.5]);
                let opacity = (0.5 - distance).clamp(0.0, 1.0);
                // Also skips NaN, the distance of a shape without a position.
                if opacity.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
                    continue;
                }
                let start = 3 * (row * self.width + column);
                let pixel = self.pixels.get_mut(start..start + 3).unwrap_or_default();
                for (byte, color) in pixel.iter_mut().zip(color) {
                    let (old, new) = (f64::from(*byte), f64::from(color));
                    *byte = (old + opacity * (new - old)).round() as u8;
                }
            }
        }
    }
}

fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[cfg(test)]
mod tests {
    use super::colors::{BLACK, RED, WHITE};
    use super::*;

    /// The number of red pixels, counting those at the edges in part.
    fn red_area(draw: impl Fn(&mut Canvas)) -> f64 {
        let mut canvas = Canvas::new(100, 200, [-1.0, 1.0], 0.0);
        canvas.fill(BLACK);
        draw(&mut canvas);
        let frame = canvas.into_frame().unwrap();
        let reds = frame.pixels().iter().step_by(3).map(|&red| f64::from(red));
        reds.sum::<f64>() / f64::from(RED[0])
    }

    #[test]
    fn shapes_have_their_areas() {
        let circle = red_area(|canvas| canvas.circle([0.1, 0.5], 0.2, RED));
        assert!((circle - std::f64::consts::PI * 400.0).abs() < 5.0, "{circle}");
        let rectangle = red_area(|canvas| canvas.rectangle([-0.5, 0.1], [0.5, 0.4], RED));
        assert!((rectangle - 3000.0).abs() < 5.0, "{rectangle}");
        let line = red_area(|canvas| canvas.line([-0.5, 0.5], [0.5, 0.5], 0.04, RED));
        assert!((line - 400.0 - std::f64::consts::PI * 4.0).abs() < 5.0, "{line}");
    }

    #[test]
    fn corners_may_have_either_order() {
        let corners = [[-0.5, 0.2], [0.5, 0.2], [0.0, 0.8]];
        let area = red_area(|canvas| canvas.polygon(&corners, RED));
        let reversed: Vec<_> = corners.into_iter().rev().collect();
        assert_eq!(area, red_area(|canvas| canvas.polygon(&reversed, RED)));
        assert!((area - 3000.0).abs() < 5.0, "{area}");
    }

    #[test]
    fn shapes_outside_and_without_a_position_are_not_drawn() {
        let mut canvas = Canvas::new(10, 10, [0.0, 1.0], 0.0);
        canvas.circle([50.0, -50.0], 0.5, RED);
        canvas.circle([f64::NAN, 0.5], 0.5, RED);
        canvas.line([f64::NEG_INFINITY, 0.0], [-3.0, 1.0], 0.1, RED);
        canvas.polygon(&[], RED);
        let frame = canvas.into_frame().unwrap();
        assert!(frame.pixels().iter().all(|&byte| byte == WHITE[0]));
    }
}
