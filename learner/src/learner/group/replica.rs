//! A learner on a thread of its own, which follows the first one.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use burn::prelude::Device;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::panics::caught;

use super::snapshot::Snapshot;
use crate::collective::Fault;
use crate::collective::local::Stopper;
use crate::error::{LearnerError, Result};
use crate::learner::Learner;
use crate::learner::update::ModuleData;
use crate::learner::update::readings::RowHistory;

/// What the first learner asks of another one.
#[derive(Debug)]
pub(super) enum Work {
    /// A share in an update.
    Learn {
        snapshot: Box<Snapshot>,
        data: ModuleData,
        env_steps: u64,
        /// Whether the collective is to be rebuilt before.
        rebuild: bool,
    },
    /// Its state.
    State,
}

/// What another learner answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// The values of its rows.
    Learned(RowHistory),
    State(Box<State>),
}

/// The handle of another learner.
#[derive(Debug)]
pub(super) struct Replica {
    device: Device,
    /// `None` while it is dropped.
    work: Option<Sender<Work>>,
    answers: Receiver<Result<Answer>>,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    /// Starts the thread of a learner. `stopper` ends the operations of the group if it fails.
    pub(super) fn start(rank: usize, mut learner: Learner, stopper: Stopper) -> io::Result<Self> {
        let device = learner.device.clone();
        let ((work, received), (sender, answers)) = (channel(), channel());
        let thread = Builder::new().name(format!("learner-{rank}")).spawn(move || {
            for work in received {
                let answer = caught(|| learner.work(work));
                let answer =
                    answer.unwrap_or_else(|panic| Err(LearnerError::LearnerPanicked(panic)));
                if let Err(error) = &answer {
                    stopper.stop(&error.to_string());
                }
                if sender.send(answer).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { device, work: Some(work), answers, thread: Some(thread) })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn send(&self, work: Work) -> Result<(), Fault> {
        let sender = self.work.as_ref().ok_or(Fault::GroupLost)?;
        sender.send(work).map_err(|_| Fault::GroupLost)
    }

    /// Waits for the answer to the work sent last.
    pub(super) fn receive(&self) -> Result<Answer> {
        self.answers.recv().unwrap_or_else(|_| Err(Fault::GroupLost.into()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // Closing the channel ends the thread.
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a learner panicked");
        }
    }
}

impl Learner {
    fn work(&mut self, work: Work) -> Result<Answer> {
        match work {
            Work::State => Ok(Answer::State(Box::new(self.get_state()?))),
            Work::Learn { snapshot, data, env_steps, rebuild } => {
                let followed = self.follow(*snapshot);
                // Also after an error, because all others wait for it.
                let learned = match followed {
                    Ok(()) => self.learn_as_member(&data, env_steps, rebuild),
                    Err(error) if rebuild => {
                        if let Some(member) = &mut self.member {
                            member.collective.rebuild()?;
                        }
                        Err(error)
                    }
                    Err(error) => Err(error),
                };
                learned.map(Answer::Learned)
            }
        }
    }
}
