//! Animated GIFs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use gif::{Encoder, EncodingError, Frame as Picture, Repeat};

use crate::render::Frame;

/// Hundredths of a second of the shortest picture. Programs show shorter ones for longer.
const MIN_DELAY: f64 = 2.0;
/// Speed of the choice of colors, from 1 (best) to 30.
const SPEED: i32 = 10;

/// A GIF that is written picture by picture.
///
/// A picture covers the rectangle in which it differs from the previous one. Frames that come faster than programs
/// show them are left out.
pub(super) struct Gif {
    encoder: Encoder<BufWriter<File>>,
    width: usize,
    /// The frame of the last picture.
    shown: Vec<u8>,
    /// Hundredths of a second between two frames.
    interval: f64,
    /// Every how many frames there is a picture.
    stride: usize,
    frames: usize,
}

impl std::fmt::Debug for Gif {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gif").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl Gif {
    /// Creates the file of a video of frames like `frame`.
    pub(super) fn create(path: &Path, frame: &Frame) -> io::Result<Self> {
        let size = |pixels: usize| {
            let too_large = || io::Error::other("a GIF has at most 65535 rows and columns");
            u16::try_from(pixels).map_err(|_| too_large())
        };
        let (height, width) = (size(frame.height())?, size(frame.width())?);
        let file = BufWriter::new(File::create(path)?);
        let mut encoder = Encoder::new(file, width, height, &[]).map_err(of_encoder)?;
        encoder.set_repeat(Repeat::Infinite).map_err(of_encoder)?;
        let interval = 100.0 / frame.fps();
        let stride = ((MIN_DELAY / interval).ceil() as usize).max(1);
        let (width, shown) = (frame.width(), Vec::new());
        Ok(Self { encoder, width, shown, interval, stride, frames: 0 })
    }

    pub(super) fn push(&mut self, frame: &Frame) -> io::Result<()> {
        let at = self.frames;
        self.frames += 1;
        if !at.is_multiple_of(self.stride) {
            return Ok(());
        }
        let (rows, columns) = self.changed(frame);
        let mut pixels = Vec::with_capacity(4 * rows.len() * columns.len());
        for row in rows.clone() {
            for column in columns.clone() {
                let start = 3 * (row * self.width + column);
                let pixel = frame.pixels().get(start..start + 3).unwrap_or_default();
                pixels.extend_from_slice(pixel);
                // Pixels that stay as they are need no color.
                let stays = self.shown.get(start..start + 3) == Some(pixel);
                pixels.push(if stays { 0 } else { 255 });
            }
        }
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let (height, width) = (short(rows.len()), short(columns.len()));
        let mut picture = Picture::from_rgba_speed(width, height, &mut pixels, SPEED);
        (picture.top, picture.left) = (short(rows.start), short(columns.start));
        let due = |frame: usize| (frame as f64 * self.interval).round();
        // Casts saturate: nothing is shown for longer than 11 minutes.
        picture.delay = (due(at + self.stride) - due(at)) as u16;
        self.encoder.write_frame(&picture).map_err(of_encoder)?;
        self.shown.clear();
        self.shown.extend_from_slice(frame.pixels());
        Ok(())
    }

    /// The rows and columns that contain all changes. At least one pixel.
    fn changed(&self, frame: &Frame) -> (Range<usize>, Range<usize>) {
        if self.shown.is_empty() {
            return (0..frame.height(), 0..frame.width());
        }
        let pixels = frame.pixels().chunks_exact(3).zip(self.shown.chunks_exact(3));
        let changes = pixels.enumerate().filter(|(_, (new, old))| new != old);
        let (mut rows, mut columns) = (None, None);
        let extended = |range: Option<Range<usize>>, at: usize| match range {
            Some(range) => range.start.min(at)..range.end.max(at + 1),
            None => at..at + 1,
        };
        for (index, _) in changes {
            rows = Some(extended(rows, index / self.width));
            columns = Some(extended(columns, index % self.width));
        }
        (rows.unwrap_or(0..1), columns.unwrap_or(0..1))
    }

    pub(super) fn finish(self) -> io::Result<()> {
        let mut file = self.encoder.into_inner().map_err(of_encoder)?;
        file.flush()
    }
}

fn of_encoder(error: EncodingError) -> io::Error {
    match error {
        EncodingError::Io(error) => error,
        other => io::Error::other(other),
    }
}
