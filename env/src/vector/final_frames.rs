//! The last pictures of episodes.

use crate::error::Result;
use crate::render::Frame;

/// The last pictures of the episodes of some environments. Empty until one is kept.
#[derive(Debug, Default)]
pub(crate) struct FinalFrames(Vec<FinalFrame>);

#[derive(Clone, Debug, Default)]
struct FinalFrame {
    is_kept: bool,
    frame: Option<Frame>,
}

impl FinalFrames {
    /// Sets whether the frames of environment `index` are kept.
    pub(crate) fn keep(&mut self, index: usize, keep: bool) {
        if keep && self.0.len() <= index {
            self.0.resize(index + 1, FinalFrame::default());
        }
        if let Some(entry) = self.0.get_mut(index) {
            *entry = FinalFrame { is_kept: keep, frame: None };
        }
    }

    /// Draws the last frame of an episode that ended, if it is kept.
    #[inline]
    pub(crate) fn ended(&mut self, index: usize, render: impl FnOnce() -> Result<Frame>) {
        if let Some(entry) = self.0.get_mut(index)
            && entry.is_kept
        {
            // The next picture of the environment fails, too, and its error is reported.
            entry.frame = render().ok();
        }
    }

    /// Returns the last frame of environment `index`.
    pub(crate) fn take(&mut self, index: usize) -> Option<Frame> {
        self.0.get_mut(index)?.frame.take()
    }
}
