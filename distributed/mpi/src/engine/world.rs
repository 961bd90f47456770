//! The processes of a job.

use std::io::Write;
use std::process;
use std::ptr;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mpi::ffi;
use rekindle::learner::Fault;

use super::communicator::{Communicator, check, lock, try_lock_once};

/// The rank of this process, for messages.
static RANK: AtomicUsize = AtomicUsize::new(0);
static IS_INITIALIZED: AtomicBool = AtomicBool::new(false);

/// How long a process waits for MPI to end it after it has asked for the end of the job.
const END: Duration = Duration::from_secs(5);

/// How often a process that ends the job tries to be the only one that calls MPI.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

fn try_lock() -> Option<MutexGuard<'static, ()>> {
    try_lock_once().or_else(|| {
        thread::sleep(PAUSE);
        None
    })
}

/// All processes of a job. Dropping it does not finalize MPI, which would hang after a failure:
/// [`finalize`](Self::finalize) does, where nothing has failed.
#[derive(Debug)]
pub struct World {
    communicator: Communicator,
}

impl World {
    /// Initializes MPI. `limit` is how long any operation may take.
    ///
    /// # Errors
    /// If MPI fails, was initialized before, or allows calls of one thread only.
    pub fn initialize(limit: Duration) -> Result<Self, Fault> {
        if IS_INITIALIZED.swap(true, Ordering::SeqCst) {
            return Err(Fault::Fatal("MPI is initialized already".into()));
        }
        let mut provided = 0;
        {
            let _lock = lock();
            // SAFETY: MPI allows null for the arguments, and is initialized once.
            unsafe {
                let wanted = ffi::RSMPI_THREAD_SERIALIZED;
                let code = ffi::MPI_Init_thread(
                    ptr::null_mut(),
                    ptr::null_mut(),
                    wanted,
                    &raw mut provided,
                );
                check("MPI_Init_thread", code)?;
                if provided < wanted {
                    return Err(Fault::Fatal(
                        "this MPI allows calls of one thread only; use one with MPI_THREAD_SERIALIZED"
                            .into(),
                    ));
                }
            }
        }
        let communicator = Communicator::world(limit)?;
        RANK.store(communicator.rank(), Ordering::Relaxed);
        Ok(Self { communicator })
    }

    /// Returns the group of all processes.
    #[must_use]
    pub fn communicator(&self) -> &Communicator {
        &self.communicator
    }

    /// Ends MPI. All processes call it, when none has failed.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn finalize(self) -> Result<(), Fault> {
        let _lock = lock();
        // SAFETY: MPI is initialized, and no operation is under way.
        check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }
}

/// Prints a message with the rank of this process, and ends all processes of the job. MPI is not finalized.
pub fn abort(message: &str) -> ! {
    let rank = RANK.load(Ordering::Relaxed);
    // Nobody is left to be told about an error.
    let _ = writeln!(std::io::stderr(), "error on rank {rank}: {message}");
    if IS_INITIALIZED.load(Ordering::SeqCst) {
        // Another thread may hold the lock forever, in a call that does not return.
        let _lock = (0..LOOKS).find_map(|_| try_lock());
        // SAFETY: MPI is initialized. The process does nothing else with MPI afterwards.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, 1) };
        thread::sleep(END);
    }
    process::exit(1)
}
