//! Videos of episodes.
//!
//! A [`VideoWriter`] writes frames to a file. A [`VideoRecorder`] chooses the episodes of the environments that
//! [`RecordVideo`](crate::wrappers::RecordVideo) wraps.

mod gif;
mod mp4;
mod recorder;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use recorder::Recordings;
pub use recorder::VideoRecorder;

use crate::error::{EnvError, Result};
use crate::render::Frame;

/// The format of a video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VideoFormat {
    /// An animated picture, which browsers and README files show. Loses colors if a frame has more than 256.
    #[default]
    Gif,
    /// H.264 in MPEG-4, written by the program `ffmpeg`.
    Mp4,
}

impl VideoFormat {
    /// Returns the ending of file names.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Mp4 => "mp4",
        }
    }

    /// Checks that the program that writes the format can be started.
    ///
    /// # Errors
    /// [`EnvError::MissingProgram`].
    pub fn check(self) -> Result<()> {
        match self {
            Self::Gif => Ok(()),
            Self::Mp4 => mp4::check(),
        }
    }
}

/// Writes frames of the same size as a video.
///
/// The file appears under its name when it is complete. Without [`finish`](Self::finish), nothing remains.
///
/// ```no_run
/// use rekindle_env::render::{Canvas, colors};
/// use rekindle_env::video::{VideoFormat, VideoWriter};
///
/// let mut video = VideoWriter::new("ball.gif", VideoFormat::Gif);
/// for step in 0..30 {
///     let mut canvas = Canvas::new(100, 100, [0.0, 1.0], 0.0);
///     canvas.circle([0.5, f64::from(step) / 30.0], 0.1, colors::RED);
///     video.push(&canvas.into_frame()?)?;
/// }
/// video.finish()?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Debug)]
pub struct VideoWriter {
    path: PathBuf,
    format: VideoFormat,
    /// Made with the first frame, which has the size and the frequency.
    encoder: Option<Encoder>,
    size: (usize, usize),
}

#[derive(Debug)]
enum Encoder {
    Gif(Box<gif::Gif>),
    Mp4(mp4::Mp4),
}

impl VideoWriter {
    /// Creates the writer of a video at `path`. Nothing is written before the first frame.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, format: VideoFormat) -> Self {
        Self { path: path.into(), format, encoder: None, size: (0, 0) }
    }

    /// Adds a frame. The first one decides the size and the frequency of the video.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] for a frame of another size than the first one,
    /// [`EnvError::MissingProgram`] if `ffmpeg` is needed and cannot be started, and [`EnvError::Video`] if the
    /// video cannot be written.
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let size = (frame.height(), frame.width());
        if self.encoder.is_none() {
            self.size = size;
            self.encoder = Some(self.start(frame)?);
        }
        if size != self.size {
            return Err(EnvError::ShapeMismatch {
                what: "height and width of a frame",
                expected: vec![self.size.0, self.size.1],
                found: vec![size.0, size.1],
            });
        }
        let written = match &mut self.encoder {
            Some(Encoder::Gif(gif)) => gif.push(frame),
            Some(Encoder::Mp4(mp4)) => mp4.push(frame),
            None => Ok(()),
        };
        written.map_err(|error| self.failed(error))
    }

    /// Completes the video. A video without frames leaves no file.
    ///
    /// # Errors
    ///
    /// [`EnvError::Video`] if the video cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let written = match self.encoder.take() {
            None => return Ok(()),
            Some(Encoder::Gif(gif)) => gif.finish(),
            Some(Encoder::Mp4(mp4)) => mp4.finish(),
        };
        let finished = written.and_then(|()| fs::rename(self.partial(), &self.path));
        finished.map_err(|error| {
            // The error of the video matters more.
            let _ = fs::remove_file(self.partial());
            self.failed(error)
        })
    }

    fn start(&self, frame: &Frame) -> Result<Encoder> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| self.failed(error))?;
        }
        match self.format {
            VideoFormat::Gif => {
                let gif = gif::Gif::create(&self.partial(), frame);
                Ok(Encoder::Gif(Box::new(gif.map_err(|error| self.failed(error))?)))
            }
            VideoFormat::Mp4 => Ok(Encoder::Mp4(mp4::Mp4::start(&self.partial(), frame)?)),
        }
    }

    /// The name of the file until it is complete.
    fn partial(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    fn failed(&self, error: io::Error) -> EnvError {
        EnvError::Video { path: self.path.clone(), source: error }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        if self.encoder.take().is_some() {
            // Nobody waits for the rest of this video.
            let _ = fs::remove_file(self.partial());
        }
    }
}

/// Returns the file name of a recorded episode, counted from 1.
fn file_name(folder: &Path, name: &str, episode: usize, format: VideoFormat) -> PathBuf {
    folder.join(format!("{name}-episode-{episode}.{}", format.extension()))
}
