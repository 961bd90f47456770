//! Communicators of MPI, whose return codes are all checked.
//!
//! The safe functions of the crate `mpi` drop return codes, so this module calls MPI itself. No call blocks: each
//! operation is started, and tested until it ends. Buffers of operations that did not end are leaked, because MPI may
//! still write to them.

use std::ffi::{c_char, c_int, c_void};
use std::mem::{MaybeUninit, forget};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use mpi::ffi;
use rekindle::learner::Fault;

use crate::frame::{Frame, FrameError, HEADER, Header};
use crate::patience::Patience;

/// The largest part of a frame that one message of MPI carries, in bytes. Counts of MPI are 32-bit.
const CHUNK: usize = 1 << 26;

/// MPI is initialized for one thread at a time, so each call holds this lock.
static MPI: Mutex<()> = Mutex::new(());

pub(super) fn lock() -> MutexGuard<'static, ()> {
    MPI.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn try_lock_once() -> Option<MutexGuard<'static, ()>> {
    match MPI.try_lock() {
        Ok(lock) => Some(lock),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Turns a return code into an error with the message of MPI. The caller holds the lock.
pub(super) fn check(operation: &str, code: c_int) -> Result<(), Fault> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = [0 as c_char; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer has the length that MPI asks for, and one more byte.
    let found = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr(), &raw mut length) };
    let length = usize::try_from(length).unwrap_or(0).min(text.len());
    let text: Vec<u8> = text[..length].iter().map(|byte| *byte as u8).collect();
    let text = match found == ffi::MPI_SUCCESS as c_int {
        true => String::from_utf8_lossy(&text).into_owned(),
        false => format!("error {code}"),
    };
    Err(Fault::Fatal(format!("{operation} failed: {text}")))
}

/// A group of processes that exchange messages. Clones share the group.
#[derive(Debug, Clone)]
pub struct Communicator {
    shared: Arc<Shared>,
    limit: Duration,
}

#[derive(Debug)]
struct Shared {
    raw: Raw,
    rank: usize,
    size: usize,
}

/// A frame that has arrived, or what is wrong with it, and the rank of its sender.
pub(super) type Arrival = (usize, Result<Frame, FrameError>);

/// The handle of MPI.
#[derive(Debug, Clone, Copy)]
struct Raw(ffi::MPI_Comm);

// SAFETY: a handle is a number or a pointer that only MPI follows, and MPI is called by one thread at a time.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

/// An operation that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request(ffi::MPI_Request);

// SAFETY: as for `Raw`.
unsafe impl Send for Request {}

impl Request {
    pub(super) fn new(raw: ffi::MPI_Request) -> Self {
        Self(raw)
    }

    /// Whether the operation has ended.
    pub(super) fn test(&mut self, operation: &str) -> Result<bool, Fault> {
        let mut flag = 0;
        let _lock = lock();
        // SAFETY: the request was returned by MPI, and MPI sets it to null when it has ended.
        let code =
            unsafe { ffi::MPI_Test(&raw mut self.0, &raw mut flag, ffi::RSMPI_STATUS_IGNORE) };
        check(operation, code)?;
        Ok(flag != 0)
    }
}

impl Communicator {
    pub(super) fn world(limit: Duration) -> Result<Self, Fault> {
        // SAFETY: MPI is initialized before this is called.
        Self::of(unsafe { ffi::RSMPI_COMM_WORLD }, limit)
    }

    fn of(raw: ffi::MPI_Comm, limit: Duration) -> Result<Self, Fault> {
        let (mut rank, mut size) = (0, 0);
        let _lock = lock();
        // SAFETY: the handle is that of a communicator, and the pointers are those of local variables.
        unsafe {
            // Children inherit the handler, so that errors are returned instead of ending the process.
            check(
                "MPI_Comm_set_errhandler",
                ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN),
            )?;
            check("MPI_Comm_rank", ffi::MPI_Comm_rank(raw, &raw mut rank))?;
            check("MPI_Comm_size", ffi::MPI_Comm_size(raw, &raw mut size))?;
        }
        let number = |value: c_int| usize::try_from(value).unwrap_or(0);
        let shared = Shared { raw: Raw(raw), rank: number(rank), size: number(size) };
        Ok(Self { shared: Arc::new(shared), limit })
    }

    /// Returns the number of this process in the group.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shared.rank
    }

    /// Returns the number of processes in the group.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.size
    }

    /// Returns how long an operation may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn raw(&self) -> ffi::MPI_Comm {
        self.shared.raw.0
    }

    /// Returns a group of the same processes whose messages are separate. All processes call it.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn duplicate(&self) -> Result<Self, Fault> {
        let mut raw = self.raw();
        {
            let _lock = lock();
            // SAFETY: the handle is that of a communicator, and the pointer is that of a local variable.
            let code = unsafe { ffi::MPI_Comm_dup(self.raw(), &raw mut raw) };
            check("MPI_Comm_dup", code)?;
        }
        Self::of(raw, self.limit)
    }

    /// Returns the group of the processes that pass `true`, in the same order, and `None` to the others. All processes
    /// call it.
    ///
    /// # Errors
    /// If MPI fails.
    pub fn subgroup(&self, belongs: bool) -> Result<Option<Self>, Fault> {
        let mut raw = self.raw();
        {
            let _lock = lock();
            // SAFETY: the handle is that of a communicator, and the pointer is that of a local variable.
            let code = unsafe {
                let color = if belongs { 0 } else { ffi::RSMPI_UNDEFINED };
                ffi::MPI_Comm_split(self.raw(), color, 0, &raw mut raw)
            };
            check("MPI_Comm_split", code)?;
        }
        belongs.then(|| Self::of(raw, self.limit)).transpose()
    }

    /// Waits for an operation whose buffers are `buffers`, and returns them. They are leaked if it fails.
    pub(super) fn wait<T>(
        &self,
        operation: &str,
        mut request: Request,
        buffers: T,
    ) -> Result<T, Fault> {
        let mut patience = Patience::new(self.limit);
        let ended = loop {
            match request.test(operation) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(fault) => break Err(fault),
            }
            if let Err(fault) = patience.pause() {
                break Err(fault);
            }
        };
        match ended {
            Ok(()) => Ok(buffers),
            Err(fault) => {
                forget(buffers);
                Err(fault)
            }
        }
    }

    /// Begins to send bytes that stay where they are until the operation has ended.
    fn begin_send(&self, bytes: &[u8], to: usize, tag: c_int) -> Result<Request, Fault> {
        let mut request = MaybeUninit::uninit();
        let _lock = lock();
        // SAFETY: callers keep the bytes until the request has ended, or leak them.
        let code = unsafe {
            ffi::MPI_Isend(
                bytes.as_ptr().cast::<c_void>(),
                count(bytes.len())?,
                ffi::RSMPI_UINT8_T,
                count(to)?,
                tag,
                self.raw(),
                request.as_mut_ptr(),
            )
        };
        check("MPI_Isend", code)?;
        // SAFETY: MPI has set the request, because it returned success.
        Ok(Request(unsafe { request.assume_init() }))
    }

    /// Begins to send a frame to a process.
    pub(super) fn start_send(
        &self,
        frame: Arc<Vec<u8>>,
        to: usize,
        tag: c_int,
    ) -> Result<Sending, Fault> {
        let mut sending = Sending { requests: Vec::new(), frame: Some(frame.clone()) };
        for chunk in frame.chunks(CHUNK) {
            sending.requests.push(self.begin_send(chunk, to, tag)?);
        }
        Ok(sending)
    }

    /// Sends a frame to a process, and waits until the buffer is free.
    pub(super) fn send(&self, frame: &Frame, to: usize, tag: c_int) -> Result<(), Fault> {
        let mut sending = self.start_send(Arc::new(frame.to_bytes()), to, tag)?;
        let mut patience = Patience::new(self.limit);
        while !sending.has_ended()? {
            patience.pause()?;
        }
        Ok(())
    }

    /// Returns the sender and length of a message that has arrived, from one process or from any.
    fn probe(&self, from: Option<usize>, tag: c_int) -> Result<Option<(usize, usize)>, Fault> {
        let (mut flag, mut length) = (0, 0);
        let mut status = MaybeUninit::<ffi::MPI_Status>::zeroed();
        let _lock = lock();
        // SAFETY: pointers are those of local variables.
        unsafe {
            let source = match from {
                Some(rank) => count(rank)?,
                None => ffi::RSMPI_ANY_SOURCE,
            };
            let code = ffi::MPI_Iprobe(source, tag, self.raw(), &raw mut flag, status.as_mut_ptr());
            check("MPI_Iprobe", code)?;
            if flag == 0 {
                return Ok(None);
            }
            let code = ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &raw mut length);
            check("MPI_Get_count", code)?;
            let source = usize::try_from(status.assume_init().MPI_SOURCE).unwrap_or(0);
            Ok(Some((source, usize::try_from(length).unwrap_or(0))))
        }
    }

    /// Receives one message of a known length.
    fn receive_message(&self, length: usize, from: usize, tag: c_int) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0u8; length];
        let mut request = MaybeUninit::uninit();
        {
            let _lock = lock();
            // SAFETY: `wait` keeps the buffer until the request has ended, or leaks it.
            let code = unsafe {
                ffi::MPI_Irecv(
                    bytes.as_mut_ptr().cast::<c_void>(),
                    count(length)?,
                    ffi::RSMPI_UINT8_T,
                    count(from)?,
                    tag,
                    self.raw(),
                    request.as_mut_ptr(),
                )
            };
            check("MPI_Irecv", code)?;
        }
        // SAFETY: MPI has set the request, because it returned success.
        let request = Request(unsafe { request.assume_init() });
        self.wait("MPI_Irecv", request, bytes)
    }

    /// Returns a frame if its first message has arrived, with the rank of its sender.
    pub(super) fn try_receive(
        &self,
        from: Option<usize>,
        tag: c_int,
    ) -> Result<Option<Arrival>, Fault> {
        let Some((source, length)) = self.probe(from, tag)? else { return Ok(None) };
        let mut bytes = self.receive_message(length, source, tag)?;
        let header = match Header::read(&bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Some((source, Err(error)))),
        };
        let length = HEADER.saturating_add(header.length());
        let mut patience = Patience::new(self.limit);
        while bytes.len() < length && bytes.len().is_multiple_of(CHUNK) {
            match self.probe(Some(source), tag)? {
                Some((_, more)) => bytes.extend(self.receive_message(more, source, tag)?),
                None => patience.pause()?,
            }
        }
        bytes.drain(..HEADER);
        Ok(Some((source, header.with_body(bytes))))
    }

    /// Waits for a frame of a process.
    pub(super) fn receive(&self, from: usize, tag: c_int) -> Result<Frame, Fault> {
        let mut patience = Patience::new(self.limit);
        loop {
            if let Some((_, frame)) = self.try_receive(Some(from), tag)? {
                return frame.map_err(|error| Fault::Fatal(error.to_string()));
            }
            patience.pause()?;
        }
    }

    /// Replaces the bytes of all processes by those of `root`, all at once.
    pub(super) fn broadcast_bytes(
        &self,
        mut bytes: Vec<u8>,
        root: usize,
    ) -> Result<Vec<u8>, Fault> {
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + CHUNK).min(bytes.len());
            let mut request = MaybeUninit::uninit();
            {
                let _lock = lock();
                // SAFETY: `wait` keeps the buffer until the request has ended, or leaks it.
                let code = unsafe {
                    ffi::MPI_Ibcast(
                        bytes[at..end].as_mut_ptr().cast::<c_void>(),
                        count(end - at)?,
                        ffi::RSMPI_UINT8_T,
                        count(root)?,
                        self.raw(),
                        request.as_mut_ptr(),
                    )
                };
                check("MPI_Ibcast", code)?;
            }
            // SAFETY: MPI has set the request, because it returned success.
            let request = Request(unsafe { request.assume_init() });
            bytes = self.wait("MPI_Ibcast", request, bytes)?;
            at = end;
        }
        Ok(bytes)
    }

    /// Sends a frame to all other processes, which call [`receive_broadcast`](Self::receive_broadcast).
    ///
    /// # Errors
    /// If MPI fails, or another process does not call it in time.
    pub fn broadcast(&self, frame: &Frame) -> Result<(), Fault> {
        let mut header = frame.to_bytes();
        let body = header.split_off(HEADER);
        self.broadcast_bytes(header, self.rank())?;
        self.broadcast_bytes(body, self.rank()).map(drop)
    }

    /// Waits for a frame that the process `root` sends to all others.
    ///
    /// # Errors
    /// If MPI fails, the frame is damaged, or it does not come in time.
    pub fn receive_broadcast(&self, root: usize) -> Result<Frame, Fault> {
        let failed = |error: FrameError| Fault::Fatal(error.to_string());
        let header = self.broadcast_bytes(vec![0; HEADER], root)?;
        let header = Header::read(&header).map_err(failed)?;
        let body = self.broadcast_bytes(vec![0; header.length()], root)?;
        header.with_body(body).map_err(failed)
    }
}

/// A frame on its way. The buffer is leaked if it is dropped before.
#[derive(Debug)]
pub(super) struct Sending {
    requests: Vec<Request>,
    frame: Option<Arc<Vec<u8>>>,
}

impl Sending {
    /// Returns the number of bytes.
    pub(super) fn length(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.len())
    }

    /// Whether the buffer is free again.
    pub(super) fn has_ended(&mut self) -> Result<bool, Fault> {
        while let Some(request) = self.requests.first_mut() {
            if !request.test("MPI_Isend")? {
                return Ok(false);
            }
            self.requests.remove(0);
        }
        self.frame = None;
        Ok(true)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            forget(frame);
        }
    }
}

/// Returns a count or rank as MPI wants it.
pub(super) fn count(number: usize) -> Result<c_int, Fault> {
    c_int::try_from(number).map_err(|_| Fault::Fatal(format!("{number} is too large for MPI")))
}
