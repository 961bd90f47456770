//! Learners of one algorithm in different processes.

use std::fmt::Debug;

use rekindle_checkpoint::State;
use rekindle_learner::{Collective, Fault, RemoteLearners};

use super::frame;
use crate::algorithm::Algorithm;
use crate::{AlgorithmError, Result};

const UPDATE: &str = "an update";
const ANSWER: &str = "the answer to an update";

/// How the algorithm of the first learner exchanges bytes with those of the other learners, in the order of their
/// ranks. Engines implement this trait.
pub trait LearnerMessages: Debug + Send {
    /// Returns the number of the other learners.
    fn num_others(&self) -> usize;

    /// Sends a message to each of the others, which pass it to [`Algorithm::serve`].
    ///
    /// # Errors
    /// If one of them cannot be reached.
    fn send(&mut self, message: Vec<u8>) -> Result<(), Fault>;

    /// Waits for what [`Algorithm::serve`] returns on each of the others.
    ///
    /// # Errors
    /// If one of them has failed.
    fn receive(&mut self) -> Result<Vec<Vec<u8>>, Fault>;
}

/// Writes and reads the states that learners exchange.
#[derive(Debug)]
struct Frames(Box<dyn LearnerMessages>);

impl RemoteLearners for Frames {
    fn len(&self) -> usize {
        self.0.num_others()
    }

    fn send(&mut self, message: &State) -> Result<(), Fault> {
        self.0.send(frame::to_bytes(UPDATE, message).map_err(unusable)?)
    }

    fn receive(&mut self) -> Result<Vec<State>, Fault> {
        let answers = self.0.receive()?;
        if answers.len() != self.len() {
            let (found, expected) = (answers.len(), self.len());
            return Err(Fault::Fatal(format!("{found} of {expected} learners have answered")));
        }
        answers.iter().map(|answer| frame::from_bytes(ANSWER, answer).map_err(unusable)).collect()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of `map_err`")]
fn unusable(error: AlgorithmError) -> Fault {
    Fault::Fatal(error.to_string())
}

impl Algorithm {
    /// Makes the learner of this algorithm the first of a group whose other learners are in other processes. It shares
    /// every update from now on, whichever plan runs. `collective` connects the learners, and has rank 0.
    ///
    /// A group that failed is replaced by calling this again: the next update begins with the weights of this learner.
    ///
    /// # Errors
    /// [`AlgorithmError::NotLed`] for a plan that computes gradients itself, or environments on a device;
    /// [`LearnerError::NotShared`](rekindle_learner::LearnerError::NotShared) for a loss whose minibatches cannot be
    /// divided, which is tried on drawn experience.
    pub fn lead(
        &mut self,
        collective: Box<dyn Collective>,
        others: Box<dyn LearnerMessages>,
    ) -> Result<()> {
        self.check_shares_updates()?;
        self.learner.lead(collective, Box::new(Frames(others)))?;
        self.learner.module().keys().try_for_each(|id| self.dry_run(id))
    }

    /// Makes the learner of this algorithm one of the others of a group. It learns by [`serve`](Self::serve) alone. The
    /// algorithm is built from the settings of the first one; its weights are replaced.
    ///
    /// # Errors
    /// As [`lead`](Self::lead).
    pub fn join(&mut self, collective: Box<dyn Collective>) -> Result<()> {
        self.check_shares_updates()?;
        Ok(self.learner.join(collective)?)
    }

    /// Takes a share in an update of the first learner. Returns the answer for it.
    ///
    /// # Errors
    /// [`AlgorithmError::Frame`] for bytes that are damaged or something else; otherwise if they do not fit this learner,
    /// or a step fails. The other learners wait for this one, so call [`Collective::abort`] then.
    pub fn serve(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let answer = self.learner.serve(&frame::from_bytes(UPDATE, message)?)?;
        frame::to_bytes(ANSWER, &answer)
    }

    fn check_shares_updates(&self) -> Result<()> {
        let reason = if !self.plan.shares_updates() {
            "it computes gradients itself"
        } else if self.config.env_runners.on_device {
            "experience of `env_runners.on_device` stays on one device"
        } else {
            return Ok(());
        };
        Err(AlgorithmError::NotLed { plan: self.plan.name().to_owned(), reason })
    }
}
