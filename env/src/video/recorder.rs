//! Which episodes are recorded.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{VideoFormat, VideoWriter, file_name};
use crate::error::Result;
use crate::render::Frame;

/// Chooses the episodes that are recorded, in all environments that share it.
///
/// Nothing is recorded until [`start`](Self::start). Clones share the choice, so that a program can hold one while
/// environments hold others.
///
/// ```no_run
/// use rekindle_env::video::{VideoFormat, VideoRecorder};
/// use rekindle_env::{make, wrappers::RecordVideo};
///
/// let recorder = VideoRecorder::new(VideoFormat::Gif);
/// let env = RecordVideo::new(make("CartPole-v1")?, recorder.clone());
/// recorder.start("videos", "random", 3); // videos/random-episode-1.gif, …
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct VideoRecorder {
    format: VideoFormat,
    choice: Arc<Mutex<Choice>>,
}

impl PartialEq for VideoRecorder {
    /// Returns whether two recorders share their choice.
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format && Arc::ptr_eq(&self.choice, &other.choice)
    }
}

#[derive(Debug, Default)]
struct Choice {
    /// Counts calls of `start` and `stop`, which end the recordings of earlier ones.
    generation: u64,
    folder: PathBuf,
    name: String,
    begun: usize,
    episodes: usize,
    finished: Vec<PathBuf>,
}

impl VideoRecorder {
    /// Creates a recorder that records nothing yet.
    #[must_use]
    pub fn new(format: VideoFormat) -> Self {
        Self { format, choice: Arc::default() }
    }

    /// Records the next `episodes` episodes that begin, as `name-episode-1.gif` and so on in `folder`. Replaces
    /// videos of the same names.
    pub fn start(&self, folder: impl Into<PathBuf>, name: impl Into<String>, episodes: usize) {
        let mut choice = self.choice();
        choice.generation += 1;
        (choice.folder, choice.name) = (folder.into(), name.into());
        (choice.begun, choice.episodes) = (0, episodes);
        choice.finished.clear();
    }

    /// Records nothing more. Episodes that have not ended leave no video. Returns the paths of the videos since
    /// the last [`start`](Self::start).
    pub fn stop(&self) -> Vec<PathBuf> {
        let mut choice = self.choice();
        choice.generation += 1;
        choice.episodes = 0;
        std::mem::take(&mut choice.finished)
    }

    /// Returns the video of an episode that begins, if it is recorded.
    fn begin(&self) -> Option<Recording> {
        let mut choice = self.choice();
        if choice.begun >= choice.episodes {
            return None;
        }
        choice.begun += 1;
        let path = file_name(&choice.folder, &choice.name, choice.begun, self.format);
        let video = VideoWriter::new(&path, self.format);
        Some(Recording { video, path, generation: choice.generation })
    }

    fn choice(&self) -> MutexGuard<'_, Choice> {
        // A panic elsewhere cannot leave the choice half changed.
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The video of a running episode.
#[derive(Debug)]
struct Recording {
    video: VideoWriter,
    path: PathBuf,
    generation: u64,
}

/// The videos of the running episodes of some environments.
#[derive(Debug)]
pub(crate) struct Recordings {
    recorder: VideoRecorder,
    running: Vec<Option<Recording>>,
}

impl Recordings {
    pub(crate) fn new(recorder: VideoRecorder, num_envs: usize) -> Self {
        Self { recorder, running: (0..num_envs).map(|_| None).collect() }
    }

    /// Notes that environment `index` began an episode. Returns whether it is recorded.
    pub(crate) fn begin(&mut self, index: usize) -> bool {
        let Some(running) = self.running.get_mut(index) else { return false };
        *running = self.recorder.begin();
        running.is_some()
    }

    /// Whether the episode of environment `index` is recorded.
    pub(crate) fn is_recorded(&mut self, index: usize) -> bool {
        let Some(running) = self.running.get_mut(index) else { return false };
        let generation = self.recorder.choice().generation;
        running.take_if(|recording| recording.generation != generation);
        running.is_some()
    }

    /// Drops the video of an episode that failed.
    pub(crate) fn discard(&mut self, index: usize) {
        if let Some(running) = self.running.get_mut(index) {
            *running = None;
        }
    }

    /// Adds a frame to the video of environment `index`.
    pub(crate) fn push(&mut self, index: usize, frame: &Frame) -> Result<()> {
        match self.running.get_mut(index) {
            Some(Some(recording)) => recording.video.push(frame),
            _ => Ok(()),
        }
    }

    /// Completes the video of environment `index`, whose episode ended.
    pub(crate) fn end(&mut self, index: usize) -> Result<()> {
        let Some(Recording { video, path, generation }) =
            self.running.get_mut(index).and_then(Option::take)
        else {
            return Ok(());
        };
        video.finish()?;
        let mut choice = self.recorder.choice();
        if choice.generation == generation {
            choice.finished.push(path);
        }
        Ok(())
    }
}
