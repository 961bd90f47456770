//! What a runner does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::algorithms::Algorithm;
use rekindle::learner::Fault;

use crate::error::{EngineError, Result};
use crate::frame::{Frame, FrameError, Kind};
use crate::transport::Transport;

/// How often a runner that waits looks whether its limit is reached.
const LOOK: Duration = Duration::from_millis(100);

/// The only peer of a runner.
const LEARNER: usize = 0;

/// How runners collect.
#[derive(Debug, Clone, Copy)]
pub struct RunnerOptions {
    /// How many batches a runner may collect before the learner has learned from the first of them: 1 waits for weights
    /// that have learned from it, and 2 collects a batch while the learner learns from the one before.
    pub batches_in_flight: usize,
    /// How long a runner waits for the learner.
    pub limit: Duration,
}

/// Collects batches with the newest weights, and sends them to the learner, until training ends. `flag` is sent with each
/// batch: 0, or the signal that asks this process to stop.
///
/// # Errors
/// If an environment or a forward pass fails, which the learner is told, or if the learner is lost.
pub fn collect(
    algorithm: &mut Algorithm,
    transport: &mut dyn Transport,
    options: RunnerOptions,
    flag: impl Fn() -> u32,
) -> Result<()> {
    let outcome = collect_until_end(algorithm, transport, options, flag);
    if let Err(error @ (EngineError::Algorithm(_) | EngineError::Frame(_))) = &outcome {
        // The error of this runner matters more than one of telling it.
        let failed = Frame::new(Kind::Failed, error.to_string().into_bytes());
        let _ = transport.send(LEARNER, Arc::new(failed.to_bytes()));
    }
    outcome
}

fn collect_until_end(
    algorithm: &mut Algorithm,
    transport: &mut dyn Transport,
    RunnerOptions { batches_in_flight, limit }: RunnerOptions,
    flag: impl Fn() -> u32,
) -> Result<()> {
    let mut version = None;
    let mut in_flight = 0;
    loop {
        let mut newest = None;
        loop {
            let must_wait =
                (version.is_none() && newest.is_none()) || in_flight >= batches_in_flight;
            let frame = match must_wait {
                true => Some(next(transport, limit)?),
                false => transport.receive(Duration::ZERO)?.map(|(_, frame)| frame),
            };
            let Some(frame) = frame else { break };
            match frame.kind {
                Kind::Weights => newest = Some(frame),
                Kind::Unchanged => {}
                Kind::End => {
                    let bye = Frame::new(Kind::Bye, Vec::new());
                    return transport.send(LEARNER, Arc::new(bye.to_bytes()));
                }
                found => {
                    return Err(FrameError::Unexpected { found, expected: "weights" }.into());
                }
            }
            // The first weights answer no batch.
            in_flight = in_flight.saturating_sub(1);
        }
        if let Some(weights) = newest {
            version = Some(algorithm.adopt(&weights.body)?);
        }
        let batch = Frame::new(Kind::Batch, algorithm.collect_batch()?)
            .weights_version(version.unwrap_or_default())
            .flags(flag());
        transport.send(LEARNER, Arc::new(batch.to_bytes()))?;
        in_flight += 1;
    }
}

/// Waits for a frame of the learner.
fn next(transport: &mut dyn Transport, limit: Duration) -> Result<Frame> {
    let started = Instant::now();
    loop {
        if let Some((_, frame)) = transport.receive(LOOK)? {
            return Ok(frame);
        }
        if started.elapsed() > limit {
            return Err(Fault::Timeout { seconds: limit.as_secs() }.into());
        }
    }
}
