//! The transport of threads in one process.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rekindle::learner::Fault;

use super::Transport;
use crate::error::Result;
use crate::frame::Frame;

type Bytes = Arc<Vec<u8>>;

/// Connects the learner and runners that are threads of one process.
#[derive(Debug)]
pub struct LocalTransport {
    /// The number of this member among the peers of its peers.
    number: usize,
    peers: Vec<Sender<(usize, Bytes)>>,
    frames: Receiver<(usize, Bytes)>,
}

impl LocalTransport {
    /// Creates the learner's side, and that of each runner.
    #[must_use]
    pub fn group(num_runners: usize) -> (Self, Vec<Self>) {
        let (to_learner, at_learner) = channel();
        let (mut peers, mut runners) = (Vec::new(), Vec::new());
        for number in 0..num_runners {
            let (to_runner, frames) = channel();
            peers.push(to_runner);
            runners.push(Self { number, peers: vec![to_learner.clone()], frames });
        }
        (Self { number: 0, peers, frames: at_learner }, runners)
    }
}

impl Transport for LocalTransport {
    fn len(&self) -> usize {
        self.peers.len()
    }

    fn send(&mut self, to: usize, frame: Bytes) -> Result<()> {
        let peer = self.peers.get(to).ok_or(Fault::GroupLost)?;
        Ok(peer.send((self.number, frame)).map_err(|_| Fault::GroupLost)?)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<(usize, Frame)>> {
        match self.frames.recv_timeout(wait) {
            Ok((from, bytes)) => Ok(Some((from, Frame::from_bytes(&bytes)?))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::GroupLost.into()),
        }
    }
}
