//! Frames between the first learner and the runners.

mod local;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::frame::Frame;

pub use self::local::LocalTransport;

/// Carries frames between the first learner and the runners.
///
/// The peers of the learner are the runners, and the only peer of a runner is the learner. Frames of a peer arrive in
/// the order in which they were sent. [`LocalTransport`] connects threads of one process.
pub trait Transport: Debug + Send {
    /// Returns the number of peers.
    fn len(&self) -> usize;

    /// Whether there are no peers.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a frame, as [`Frame::to_bytes`] writes it, to a peer. Does not wait for the peer to take it.
    ///
    /// # Errors
    /// If the peer cannot be reached.
    fn send(&mut self, to: usize, frame: Arc<Vec<u8>>) -> Result<()>;

    /// Waits for the next frame of any peer. `None` after `wait` without one.
    ///
    /// # Errors
    /// If a peer is lost, or its frame is damaged.
    fn receive(&mut self, wait: Duration) -> Result<Option<(usize, Frame)>>;
}
