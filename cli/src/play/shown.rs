//! Where frames go: a terminal or a video.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use rekindle::env::render::Frame;
use rekindle::env::video::{VideoFormat, VideoWriter};

use super::game::of_env;
use super::screen::Screen;
use crate::args::PlayArgs;
use crate::error::{CliError, Result};

pub(super) enum Shown {
    Terminal(Terminal),
    Video(VideoWriter),
}

impl Shown {
    pub(super) fn new(args: &PlayArgs) -> Result<Self> {
        if let Some(out) = &args.out {
            let kind = out.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            let format = match kind.to_ascii_lowercase().as_str() {
                "gif" => VideoFormat::Gif,
                "mp4" => VideoFormat::Mp4,
                _ => {
                    let message = format!("`{}` is neither a .gif nor an .mp4 file", out.display());
                    return Err(CliError::Usage(message));
                }
            };
            return Ok(Self::Video(VideoWriter::new(out, format)));
        }
        if !io::stdout().is_terminal() {
            let message = "`play` draws in a terminal; write a video with --out FILE.gif instead";
            return Err(CliError::Usage(message.into()));
        }
        let screen = Screen::new(args.width);
        Ok(Self::Terminal(Terminal { screen, fps: args.fps, next: Instant::now() }))
    }

    /// Shows a frame with a line of text, which videos leave out.
    pub(super) fn show(&mut self, frame: &Frame, about: &str) -> Result<()> {
        match self {
            Self::Video(video) => video.push(frame).map_err(of_env),
            Self::Terminal(terminal) => terminal.show(frame, about),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Video(video) => video.finish().map_err(of_env),
            Self::Terminal(_) => Ok(()),
        }
    }
}

/// Frames in a terminal, at the speed of the environment.
pub(super) struct Terminal {
    screen: Screen,
    /// Frames per second; `None` for those of the environment.
    fps: Option<f64>,
    /// When the next frame is due.
    next: Instant,
}

impl Terminal {
    fn show(&mut self, frame: &Frame, about: &str) -> Result<()> {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let pause = Duration::from_secs_f64(1.0 / self.fps.unwrap_or(frame.fps()));
        self.next = Instant::now() + pause;
        let mut out = io::stdout().lock();
        out.write_all(self.screen.draw(frame, about).as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| CliError::Failed(format!("cannot draw: {error}")))
    }
}

impl Drop for Terminal {
    /// Shows the cursor again, also after an error.
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // A terminal that is gone needs no cursor.
        let _ = out.write_all(self.screen.end().as_bytes()).and_then(|()| out.flush());
    }
}
