//! MPEG-4, written by the program `ffmpeg`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{EnvError, Result};
use crate::render::Frame;

/// The environment variable that names the program.
const VARIABLE: &str = "REKINDLE_FFMPEG";
/// H.264 needs even numbers of rows and columns.
const EVEN: &str = "pad=ceil(iw/2)*2:ceil(ih/2)*2";

/// Checks that the program can be started.
///
/// # Errors
///
/// [`EnvError::MissingProgram`].
pub(super) fn check() -> Result<()> {
    let program = program();
    let mut command = Command::new(&program);
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop).map_err(|source| missing(&program, source))
}

fn program() -> OsString {
    std::env::var_os(VARIABLE).unwrap_or_else(|| OsString::from("ffmpeg"))
}

fn missing(program: &OsStr, source: io::Error) -> EnvError {
    EnvError::MissingProgram {
        program: program.to_string_lossy().into_owned(),
        remedy: "install ffmpeg, name it in the environment variable `REKINDLE_FFMPEG`, or record GIFs",
        source,
    }
}

/// A running `ffmpeg`. It is killed when dropped.
#[derive(Debug)]
pub(super) struct Mp4(Option<Child>);

impl Mp4 {
    /// Starts the program for a video of frames like `frame`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingProgram`] if it cannot be started.
    pub(super) fn start(path: &Path, frame: &Frame) -> Result<Self> {
        let program = program();
        let size = format!("{}x{}", frame.width(), frame.height());
        let mut command = Command::new(&program);
        command.args(["-y", "-loglevel", "error", "-f", "rawvideo", "-pixel_format", "rgb24"]);
        command.args(["-video_size", &size, "-framerate", &frame.fps().to_string(), "-i", "-"]);
        command.args(["-an", "-vf", EVEN, "-pix_fmt", "yuv420p", "-f", "mp4"]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| missing(&program, source))?;
        Ok(Self(Some(child)))
    }

    pub(super) fn push(&mut self, frame: &Frame) -> io::Result<()> {
        let Some(child) = &mut self.0 else { return Ok(()) };
        let written = match &mut child.stdin {
            Some(stdin) => stdin.write_all(frame.pixels()),
            None => Ok(()),
        };
        // A program that reads no more has ended, and its message says why.
        written.or_else(|error| self.end().and(Err(error)))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    /// Waits for the end of the program, which ends when its input does.
    fn end(&mut self) -> io::Result<()> {
        let Some(child) = self.0.take() else { return Ok(()) };
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        let last = messages.lines().last().unwrap_or("no message");
        Err(io::Error::other(format!("ffmpeg ended ({}): {last}", output.status)))
    }
}

impl Drop for Mp4 {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Fails if the program has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
