//! Collectives: operations that all members of a group of learners take part in.

pub(crate) mod local;

use std::fmt::Debug;

use thiserror::Error;

pub use local::LocalCollective;

/// A failure of a group of learners or runners.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A member that failed or ended while others waited for it.
    #[error("learner {rank} ended the operation: {reason}")]
    PeerLost {
        /// The rank of the member.
        rank: usize,
        /// What it said, or why it is taken for lost.
        reason: String,
    },
    /// A group whose members have gone.
    #[error("the group has ended")]
    GroupLost,
    /// An operation that took too long.
    #[error("no answer within {seconds} s; another member hangs or is much slower")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// Any other failure, which the group does not survive.
    #[error("{0}")]
    Fatal(String),
}

/// Operations among the learners of a group.
///
/// All members call the same operations in the same order. An operation returns when all members have
/// called it, or with a [`Fault`] if one of them cannot any more. Results are the same on all members, bit for
/// bit.
///
/// [`LocalCollective`] connects threads of one process. Engines for several machines implement this trait
/// in crates of their own.
pub trait Collective: Debug + Send {
    /// Returns the number of this member, counted from 0.
    fn rank(&self) -> usize;

    /// Returns the number of members.
    fn size(&self) -> usize;

    /// Replaces the numbers of each member by the sums over all members, which have equally many.
    ///
    /// # Errors
    /// If a member has failed, or has another number of numbers.
    fn all_reduce_sum(&mut self, buffer: &mut [f32]) -> Result<(), Fault>;

    /// Replaces the bytes of each member by those of the member `root`. All have equally many.
    ///
    /// # Errors
    /// If a member has failed, or has another number of bytes.
    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault>;

    /// Returns the largest number of all members: a request to stop or to save, for example, on which all members then
    /// act at the same step.
    ///
    /// # Errors
    /// If a member has failed.
    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault>;

    /// Ends the current and all later operations of all members with [`Fault::PeerLost`]. A member that cannot go on
    /// calls it, so that no other waits for it.
    fn abort(&mut self, reason: &str);

    /// Makes the group usable again after a failure. All members that are left call it, and the group may be
    /// smaller afterwards.
    ///
    /// # Errors
    /// If the engine cannot do so, or a member fails again.
    fn rebuild(&mut self) -> Result<(), Fault>;
}
