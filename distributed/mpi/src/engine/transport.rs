//! The transport of processes of MPI.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rekindle::learner::Fault;

use super::communicator::{Communicator, Sending};
use crate::error::{EngineError, Result};
use crate::frame::{Frame, FrameError};
use crate::transport::Transport;

/// The tag of frames.
const TAG: i32 = 2;

/// The longest pause of the thread that has nothing to send or receive.
const LONGEST_PAUSE: Duration = Duration::from_micros(200);
const FIRST_PAUSE: Duration = Duration::from_micros(20);

/// How long the thread only yields to others while a frame is on its way, beside a microsecond for each [`SLOW`] bytes. A
/// frame has many parts, and each moves only when both sides look.
const YIELDS: Duration = Duration::from_millis(1);
/// Bytes that arrive in a microsecond at least.
const SLOW: usize = 250;

type Arrived = Result<(usize, Frame), ArrivalError>;

#[derive(Debug, Clone)]
enum ArrivalError {
    Fault(Fault),
    Frame(FrameError),
}

impl From<ArrivalError> for EngineError {
    fn from(error: ArrivalError) -> Self {
        match error {
            ArrivalError::Fault(fault) => fault.into(),
            ArrivalError::Frame(error) => error.into(),
        }
    }
}

/// Carries frames between the first learner and the runners, which are the ranks from `first_runner` on.
///
/// A thread sends and receives, because MPI moves messages only when it is called, and this process may learn or collect
/// for seconds.
#[derive(Debug)]
pub struct MpiTransport {
    peers: usize,
    /// `None` while it is dropped.
    outbox: Option<Sender<(usize, Arc<Vec<u8>>)>>,
    inbox: Receiver<Arrived>,
    thread: Option<JoinHandle<()>>,
}

impl MpiTransport {
    /// Creates the transport of the learner, rank 0 of `communicator`, or of a runner. No one else uses `communicator`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(communicator: Communicator, first_runner: usize) -> io::Result<Self> {
        let is_learner = communicator.rank() == 0;
        let peers = match is_learner {
            true => communicator.size().saturating_sub(first_runner),
            false => 1,
        };
        let first_peer = if is_learner { first_runner } else { 0 };
        let (outbox, to_send) = channel();
        let (arrived, inbox) = channel();
        let carrier = Carrier { communicator, first_peer, sending: VecDeque::new() };
        let thread = thread::Builder::new()
            .name("mpi-transport".into())
            .spawn(move || carrier.run(&to_send, &arrived))?;
        Ok(Self { peers, outbox: Some(outbox), inbox, thread: Some(thread) })
    }
}

impl Transport for MpiTransport {
    fn len(&self) -> usize {
        self.peers
    }

    fn send(&mut self, to: usize, frame: Arc<Vec<u8>>) -> Result<()> {
        let outbox = self.outbox.as_ref().ok_or(Fault::GroupLost)?;
        if outbox.send((to, frame)).is_err() {
            // The thread has ended, and said why before.
            return Err(self
                .inbox
                .try_iter()
                .find_map(Result::err)
                .map_or_else(|| Fault::GroupLost.into(), EngineError::from));
        }
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        Ok(())
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<(usize, Frame)>> {
        match self.inbox.recv_timeout(wait) {
            Ok(Ok(arrived)) => Ok(Some(arrived)),
            Ok(Err(error)) => Err(error.into()),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::GroupLost.into()),
        }
    }
}

impl Drop for MpiTransport {
    /// Waits until everything is sent.
    fn drop(&mut self) {
        self.outbox = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that sends and receives frames panicked");
            }
        }
    }
}

/// Returns how long the thread only yields while a frame of so many bytes is on its way.
fn yields(length: usize) -> Duration {
    YIELDS + Duration::from_micros((length / SLOW) as u64)
}

/// The thread's side.
struct Carrier {
    communicator: Communicator,
    first_peer: usize,
    /// Frames on their way, with their peer and the time of the start.
    sending: VecDeque<(usize, Instant, Sending)>,
}

impl Carrier {
    fn run(mut self, to_send: &Receiver<(usize, Arc<Vec<u8>>)>, arrived: &Sender<Arrived>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let moved = match self.step(to_send, arrived) {
                Ok(Some(moved)) => moved,
                Ok(None) => return,
                Err(fault) => {
                    // Nobody may be left to hear it.
                    let _ = arrived.send(Err(ArrivalError::Fault(fault)));
                    return;
                }
            };
            pause = if moved { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            match self.sending.back() {
                Some((_, started, sending)) if started.elapsed() < yields(sending.length()) => {
                    thread::yield_now();
                }
                _ => thread::park_timeout(pause),
            }
        }
    }

    /// Sends and receives what there is. Returns whether there was something, and `None` at the end.
    fn step(
        &mut self,
        to_send: &Receiver<(usize, Arc<Vec<u8>>)>,
        arrived: &Sender<Arrived>,
    ) -> Result<Option<bool>, Fault> {
        let mut moved = false;
        let mut is_ending = false;
        loop {
            match to_send.try_recv() {
                Ok((peer, frame)) => {
                    let sending =
                        self.communicator.start_send(frame, self.first_peer + peer, TAG)?;
                    self.sending.push_back((peer, Instant::now(), sending));
                    moved = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    is_ending = true;
                    break;
                }
            }
        }
        let mut still = VecDeque::with_capacity(self.sending.len());
        for (peer, started, mut sending) in self.sending.drain(..) {
            if sending.has_ended()? {
                moved = true;
            } else if started.elapsed() > self.communicator.limit() {
                let (rank, seconds) = (self.first_peer + peer, self.communicator.limit().as_secs());
                return Err(Fault::Fatal(format!(
                    "the process of rank {rank} has taken no message for {seconds} s: it hangs, or is busy for longer; a longer limit is set with --timeout"
                )));
            } else {
                still.push_back((peer, started, sending));
            }
        }
        self.sending = still;
        if is_ending && self.sending.is_empty() {
            return Ok(None);
        }
        while let Some((rank, frame)) = self.communicator.try_receive(None, TAG)? {
            moved = true;
            let peer = rank.saturating_sub(self.first_peer);
            let frame = frame.map(|frame| (peer, frame)).map_err(ArrivalError::Frame);
            // At the end, nobody reads what still arrives.
            let _ = arrived.send(frame);
        }
        Ok(Some(moved))
    }
}
