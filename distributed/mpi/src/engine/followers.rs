//! The learners beside the first one.

use rekindle::algorithms::{Algorithm, LearnerMessages};
use rekindle::learner::{Collective, Fault};

use super::collective::MpiCollective;
use super::communicator::Communicator;
use crate::frame::{Frame, FrameError, Kind};

/// The tag of answers.
const ANSWER: i32 = 1;

const AN_UPDATE: &str = "an update";
const AN_ANSWER: &str = "an answer";

/// How the first learner reaches the others: updates are broadcast, and answers come back one by one.
#[derive(Debug)]
pub struct Followers {
    control: Communicator,
}

impl Followers {
    /// Creates the first learner's side. `control` connects the learners, and is not used for anything else.
    #[must_use]
    pub fn new(control: Communicator) -> Self {
        Self { control }
    }

    /// Asks all learners for their flags, and returns the largest one.
    ///
    /// # Errors
    /// If a learner has failed.
    pub fn agree(&self, collective: &mut MpiCollective, flag: u32) -> Result<u32, Fault> {
        self.control.broadcast(&Frame::new(Kind::Agree, Vec::new()))?;
        collective.agree_max(flag)
    }

    /// Tells all other learners that training has ended.
    ///
    /// # Errors
    /// If a learner has failed.
    pub fn end(&self) -> Result<(), Fault> {
        self.control.broadcast(&Frame::new(Kind::End, Vec::new()))
    }
}

fn fatal(error: impl ToString) -> Fault {
    Fault::Fatal(error.to_string())
}

impl LearnerMessages for Followers {
    fn num_others(&self) -> usize {
        self.control.size() - 1
    }

    fn send(&mut self, message: Vec<u8>) -> Result<(), Fault> {
        self.control.broadcast(&Frame::new(Kind::Update, message))
    }

    fn receive(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        let answers = (1..self.control.size()).map(|rank| {
            let answer = self.control.receive(rank, ANSWER)?;
            Ok(answer.expect(Kind::Answer, AN_ANSWER).map_err(fatal)?.body)
        });
        answers.collect()
    }
}

/// Learns what the first learner asks for, until training ends. `flag` is asked when all learners agree on whether to
/// stop.
///
/// # Errors
/// If the learner or another process fails. The others wait, so end the job then ([`abort`](super::abort)).
pub fn follow(
    learner: &mut Algorithm,
    control: &Communicator,
    agreement: &mut MpiCollective,
    mut flag: impl FnMut() -> u32,
) -> Result<(), Fault> {
    loop {
        let frame = control.receive_broadcast(0)?;
        match frame.kind {
            Kind::Update => {
                let answer = learner.serve(&frame.body).map_err(fatal)?;
                control.send(&Frame::new(Kind::Answer, answer), 0, ANSWER)?;
            }
            Kind::Agree => drop(agreement.agree_max(flag())?),
            Kind::End => return Ok(()),
            found => {
                return Err(fatal(FrameError::Unexpected { found, expected: AN_UPDATE }));
            }
        }
    }
}
