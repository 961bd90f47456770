//! The runners, as the first learner sees them.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::algorithms::Algorithm;
use rekindle::metrics::Metrics;

use crate::error::{EngineError, Result};
use crate::frame::{Frame, FrameError, Kind};
use crate::transport::Transport;

/// How long the learner waits for a frame before it looks which runner is silent.
const LOOK: Duration = Duration::from_millis(100);

/// Learns from the batches of runners in other processes, and gives them the newest weights.
#[derive(Debug)]
pub struct Runners {
    transport: Box<dyn Transport>,
    /// When each runner was last heard or served.
    heard: Vec<Instant>,
    limit: Duration,
    /// The largest flag of a batch.
    flag: u32,
}

impl Runners {
    /// Gives all runners the weights of `algorithm`. `limit` is how long a runner may be silent.
    ///
    /// # Errors
    /// If a runner cannot be reached.
    pub fn start(
        algorithm: &Algorithm,
        mut transport: Box<dyn Transport>,
        limit: Duration,
    ) -> Result<Self> {
        let weights = weights(algorithm)?;
        for runner in 0..transport.len() {
            transport.send(runner, weights.clone())?;
        }
        let heard = vec![Instant::now(); transport.len()];
        Ok(Self { transport, heard, limit, flag: 0 })
    }

    /// Runs an iteration: learns from batches until the minima of the reporting settings are reached, and from one if
    /// none is set.
    ///
    /// # Errors
    /// If a runner fails or is silent for too long; otherwise as [`Algorithm::learn_from`].
    pub fn train(&mut self, algorithm: &mut Algorithm) -> Result<Metrics> {
        let (started, mut steps) = (Instant::now(), 0);
        loop {
            let (runner, batch) = self.next_batch()?;
            steps += algorithm.learn_from(&batch)?;
            self.transport.send(runner, weights(algorithm)?)?;
            self.heard[runner] = Instant::now();
            let seconds = started.elapsed().as_secs_f64();
            if algorithm.config().reporting.is_met(seconds, steps, steps) {
                return Ok(algorithm.end_iteration(started)?);
            }
        }
    }

    /// Returns the largest number that runners have sent with their batches: a signal that asks one of them to stop.
    #[must_use]
    pub fn flag(&self) -> u32 {
        self.flag
    }

    /// Tells all runners that training has ended, and waits until they have heard it.
    ///
    /// # Errors
    /// If a runner fails or is silent for too long.
    pub fn end(mut self) -> Result<()> {
        let end = Arc::new(Frame::new(Kind::End, Vec::new()).to_bytes());
        let mut left = vec![true; self.transport.len()];
        for runner in 0..left.len() {
            self.transport.send(runner, end.clone())?;
            self.heard[runner] = Instant::now();
        }
        while left.contains(&true) {
            let Some((runner, frame)) = self.receive(&left)? else { continue };
            match frame.kind {
                Kind::Bye => left[runner] = false,
                // Its batch was on the way.
                Kind::Batch => {}
                found => return Err(FrameError::Unexpected { found, expected: "the end" }.into()),
            }
        }
        Ok(())
    }

    /// Waits for a batch.
    fn next_batch(&mut self) -> Result<(usize, Vec<u8>)> {
        let all = vec![true; self.transport.len()];
        loop {
            let Some((runner, frame)) = self.receive(&all)? else { continue };
            let flag = frame.flags;
            let batch = frame.expect(Kind::Batch, "a batch")?;
            self.flag = self.flag.max(flag);
            return Ok((runner, batch.body));
        }
    }

    /// Waits for a frame, and checks that none of the runners that owe one is silent for too long.
    fn receive(&mut self, owing: &[bool]) -> Result<Option<(usize, Frame)>> {
        if let Some((runner, frame)) = self.transport.receive(LOOK)? {
            self.heard[runner] = Instant::now();
            if frame.kind == Kind::Failed {
                let message = String::from_utf8_lossy(&frame.body).into_owned();
                return Err(EngineError::Runner { number: runner, message });
            }
            return Ok(Some((runner, frame)));
        }
        let silent = |(number, heard): (usize, &Instant)| {
            (owing[number] && heard.elapsed() > self.limit).then_some(number)
        };
        match self.heard.iter().enumerate().find_map(silent) {
            None => Ok(None),
            Some(number) => Err(EngineError::Silent { number, seconds: self.limit.as_secs() }),
        }
    }
}

/// Returns the weights of the learner as the bytes of a frame.
fn weights(algorithm: &Algorithm) -> Result<Arc<Vec<u8>>> {
    let version = algorithm.learner().weights_seq_no();
    let frame = Frame::new(Kind::Weights, algorithm.publication()?).weights_version(version);
    Ok(Arc::new(frame.to_bytes()))
}
