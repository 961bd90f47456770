//! Pictures of environments.
//!
//! [`Env::render`](crate::Env::render) returns a [`Frame`]. A [`Canvas`] draws one from a few shapes.
//! [`video`](crate::video) writes frames as videos.

mod canvas;

pub use canvas::{Canvas, Color, Point, colors};

use crate::error::{EnvError, Result};

/// A picture of an environment: `height` rows of `width` pixels of three bytes (red, green, blue), from the top
/// left on.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    fps: f64,
}

impl Frame {
    /// Creates a frame from its pixels, `height * width * 3` bytes.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] for another number of bytes, and for a frame without pixels.
    pub fn new(height: usize, width: usize, pixels: Vec<u8>) -> Result<Self> {
        let bytes = height.saturating_mul(width).saturating_mul(3);
        if bytes == 0 || bytes != pixels.len() {
            return Err(EnvError::length("bytes of a frame", bytes.max(3), pixels.len()));
        }
        Ok(Self { height, width, pixels, fps: 30.0 })
    }

    /// Sets the number of frames per second at which a video of the environment plays in real time. Other
    /// numbers than those above 0 are ignored.
    #[must_use]
    pub fn with_fps(mut self, fps: f64) -> Self {
        if fps.is_finite() && fps > 0.0 {
            self.fps = fps;
        }
        self
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the number of pixels of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the bytes of all pixels, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns the number of frames per second at which a video plays in real time (30 unless it is set).
    #[must_use]
    pub fn fps(&self) -> f64 {
        self.fps
    }

    /// Returns the color of a pixel, or `None` outside the frame.
    #[must_use]
    pub fn color(&self, row: usize, column: usize) -> Option<Color> {
        if row >= self.height || column >= self.width {
            return None;
        }
        self.row(row).get(3 * column..)?.first_chunk().copied()
    }

    fn row(&self, row: usize) -> &[u8] {
        let bytes = 3 * self.width;
        self.pixels.get(row * bytes..(row + 1) * bytes).unwrap_or_default()
    }

    /// Places frames next to each other, from the left to the right. Below shorter frames, the picture is black.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] without frames.
    pub fn beside(frames: &[Self]) -> Result<Self> {
        let height = frames.iter().map(Self::height).max().unwrap_or(0);
        let width: usize = frames.iter().map(Self::width).sum();
        let mut pixels = Vec::with_capacity(3 * height * width);
        for row in 0..height {
            for frame in frames {
                let bytes = frame.row(row);
                pixels.extend_from_slice(bytes);
                pixels.resize(pixels.len() + 3 * frame.width - bytes.len(), 0);
            }
        }
        let fps = frames.first().map_or(0.0, Self::fps);
        Ok(Self::new(height, width, pixels)?.with_fps(fps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_three_bytes_for_each_pixel() {
        assert!(Frame::new(2, 3, vec![0; 18]).is_ok());
        for (height, width, bytes) in [(2, 3, 17), (0, 3, 0), (usize::MAX, 2, 6)] {
            let message = Frame::new(height, width, vec![0; bytes]).unwrap_err().to_string();
            assert!(message.contains("bytes of a frame"), "{message}");
        }
    }

    #[test]
    fn frames_are_joined_at_their_tops() {
        let frame = |height, width, byte| Frame::new(height, width, vec![byte; 3 * height * width]);
        let both = Frame::beside(&[frame(2, 1, 7).unwrap(), frame(1, 2, 9).unwrap()]).unwrap();
        assert_eq!((both.height(), both.width()), (2, 3));
        assert_eq!([0, 1, 2].map(|x| both.color(0, x)), [Some([7; 3]), Some([9; 3]), Some([9; 3])]);
        assert_eq!([0, 1].map(|x| both.color(1, x)), [Some([7; 3]), Some([0; 3])]);
        assert_eq!((both.color(2, 0), both.color(0, 3)), (None, None));
        assert!(Frame::beside(&[]).is_err());
    }
}
