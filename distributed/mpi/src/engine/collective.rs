//! The collective of learners that are processes of MPI.

use std::ffi::c_void;
use std::mem::{MaybeUninit, take};

use mpi::ffi;
use rekindle::learner::{Collective, Fault};

use super::communicator::{Communicator, Request, check, count, lock};
use super::world::abort;

/// The largest number of floats that are added up at once, about 1 MB.
pub const BUCKET: usize = 1 << 18;

/// What members call, for the check that all call the same.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Sum = 1,
    Broadcast = 2,
    Agree = 3,
}

/// A member of a group of learners, each a process of MPI.
///
/// Numbers are added up in buckets of about 1 MB, from one buffer into another. The result is the same on all members,
/// bit for bit, because each number is added up in one place and then distributed, or in the same order everywhere.
#[derive(Debug)]
pub struct MpiCollective {
    communicator: Communicator,
    sent: Vec<f32>,
    received: Vec<f32>,
}

impl MpiCollective {
    /// Creates a member. No one else uses the communicator for operations of all members.
    #[must_use]
    pub fn new(communicator: Communicator) -> Self {
        Self { communicator, sent: Vec::new(), received: Vec::new() }
    }

    /// Checks that all members have called the same operation with equally many numbers, and returns the largest flag.
    fn agree_on(&self, operation: Operation, length: usize, flag: u32) -> Result<u32, Fault> {
        let code = (length as u64) << 8 | operation as u64;
        let (own, all) = (vec![code, !code, u64::from(flag)], vec![0u64; 3]);
        let mut buffers = (own, all);
        let mut request = MaybeUninit::uninit();
        {
            let _lock = lock();
            // SAFETY: `wait` keeps the buffers until the request has ended, or leaks them.
            let started = unsafe {
                ffi::MPI_Iallreduce(
                    buffers.0.as_ptr().cast::<c_void>(),
                    buffers.1.as_mut_ptr().cast::<c_void>(),
                    3,
                    ffi::RSMPI_UINT64_T,
                    ffi::RSMPI_MAX,
                    self.communicator.raw(),
                    request.as_mut_ptr(),
                )
            };
            check("MPI_Iallreduce", started)?;
        }
        // SAFETY: MPI has set the request, because it returned success.
        let request = Request::new(unsafe { request.assume_init() });
        let (_, all) = self.communicator.wait("MPI_Iallreduce", request, buffers)?;
        if all[0] != code || all[1] != !code {
            return Err(Fault::Fatal(format!(
                "learners called different operations, or with different numbers of values (here {operation:?} of {length}): run one version of rekindle with the same settings on all machines"
            )));
        }
        Ok(u32::try_from(all[2]).unwrap_or(u32::MAX))
    }

    /// Adds up the numbers in `sent` into `received`.
    fn sum_bucket(&mut self) -> Result<(), Fault> {
        let mut buffers = (take(&mut self.sent), take(&mut self.received));
        let mut request = MaybeUninit::uninit();
        {
            let _lock = lock();
            // SAFETY: both buffers have the same length; `wait` keeps them until the request has ended, or leaks them.
            let started = unsafe {
                ffi::MPI_Iallreduce(
                    buffers.0.as_ptr().cast::<c_void>(),
                    buffers.1.as_mut_ptr().cast::<c_void>(),
                    count(buffers.0.len())?,
                    ffi::RSMPI_FLOAT,
                    ffi::RSMPI_SUM,
                    self.communicator.raw(),
                    request.as_mut_ptr(),
                )
            };
            check("MPI_Iallreduce", started)?;
        }
        // SAFETY: MPI has set the request, because it returned success.
        let request = Request::new(unsafe { request.assume_init() });
        (self.sent, self.received) = self.communicator.wait("MPI_Iallreduce", request, buffers)?;
        Ok(())
    }
}

impl Collective for MpiCollective {
    fn rank(&self) -> usize {
        self.communicator.rank()
    }

    fn size(&self) -> usize {
        self.communicator.size()
    }

    fn all_reduce_sum(&mut self, buffer: &mut [f32]) -> Result<(), Fault> {
        self.agree_on(Operation::Sum, buffer.len(), 0)?;
        for bucket in buffer.chunks_mut(BUCKET) {
            self.sent.clear();
            self.sent.extend_from_slice(bucket);
            self.received.resize(bucket.len(), 0.0);
            self.sum_bucket()?;
            bucket.copy_from_slice(&self.received);
        }
        Ok(())
    }

    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault> {
        self.agree_on(Operation::Broadcast, buffer.len(), 0)?;
        let bytes = self.communicator.broadcast_bytes(buffer.to_vec(), root)?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        self.agree_on(Operation::Agree, 0, flag)
    }

    /// Prints the reason and ends the job: MPI cannot end the operations of others otherwise.
    fn abort(&mut self, reason: &str) {
        abort(reason);
    }

    /// Fails: without fault tolerance, MPI ends the whole job when a process is lost.
    fn rebuild(&mut self) -> Result<(), Fault> {
        Err(Fault::Fatal(
            "MPI cannot continue after a failure; resume the run from its last checkpoint".into(),
        ))
    }
}
