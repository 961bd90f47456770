//! How a job passes from its caller to the workers, and back.
//!
//! A job borrows from its caller's stack, so the caller must not return before every worker has
//! left it. One shared word of state ensures this. It holds how many workers are inside, whether
//! others may enter, and the number of the job:
//!
//! 1. The caller takes the crew, stores a pointer to the job, and opens the gate under a new number.
//! 2. A worker that sees an open gate with a number it has not served enters by one compare-and-swap on
//!    the whole word. The swap fails if the caller has closed the gate meanwhile.
//! 3. The caller works itself, closes the gate, and waits until no worker is inside.
//!
//! A worker sleeps if there is no job for a while. It announces its sleep before it reads the state
//! for the last time, and the caller reads the announcement after it has opened the gate.
//! Sequentially consistent fences between the two steps, on both sides, make sure that one of them
//! sees the other.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence, spin_loop, thread};

/// The work of one caller, given the number of the thread.
struct Job<'a>(&'a (dyn Fn(usize) + Sync));

/// The bits of the state word: the number of workers inside (low half), whether they may enter, whether
/// the crew is dissolved, and above those the number of the job.
const OPEN: u64 = 1 << 32;
const RETIRED: u64 = 1 << 33;
const NUMBER: u64 = 1 << 34;
const INSIDE: u64 = OPEN - 1;

/// The state that a caller shares with its workers.
#[derive(Debug)]
pub(super) struct Gate {
    taken: AtomicBool,
    state: AtomicU64,
    job: AtomicPtr<Job<'static>>,
    panicked: AtomicBool,
    /// Whether workers without a job sleep at once. It only shortens their wait, so it needs no order.
    resting: AtomicBool,
    /// Whether each thread has announced its sleep, by its number.
    asleep: Vec<AtomicBool>,
}

impl Gate {
    /// Creates a closed gate for `threads` threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            taken: AtomicBool::new(false),
            state: AtomicU64::new(0),
            job: AtomicPtr::new(ptr::null_mut()),
            panicked: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            asleep: (0..threads).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Runs the job on this thread and on the workers that enter before it is done here. `wake` is
    /// called once they may enter.
    pub(super) fn run(&self, job: &(dyn Fn(usize) + Sync), wake: impl FnOnce()) {
        if self.taken.swap(true, Ordering::Acquire) {
            return job(0);
        }
        let job = Job(job);
        self.job.store(ptr::from_ref(&job).cast_mut().cast(), Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
        self.resting.store(false, Ordering::Relaxed);
        // Closes the gate and waits for those inside, also when this thread's part panics.
        let closing = Closing(self);
        let number = self.state.load(Ordering::Relaxed) & !(NUMBER - 1);
        self.state.store(number.wrapping_add(NUMBER) | OPEN, Ordering::Release);
        fence(Ordering::SeqCst);
        wake();
        (job.0)(0);
        drop(closing);
    }

    /// Whether a worker has announced its sleep; it counts as awake from then on.
    pub(super) fn must_wake(&self, number: usize) -> bool {
        let asleep = &self.asleep[number];
        asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::AcqRel)
    }

    /// Lets workers without a job sleep at once, until the next job.
    pub(super) fn rest(&self) {
        if !self.taken.load(Ordering::Relaxed) {
            self.resting.store(true, Ordering::Relaxed);
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn is_asleep(&self, number: usize) -> bool {
        self.asleep[number].load(Ordering::Relaxed)
    }

    /// Ends the workers, which must be woken afterwards. There must be no job.
    pub(super) fn retire(&self) {
        self.state.fetch_or(RETIRED, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Serves jobs as the worker of this number until the crew retires.
    pub(super) fn serve(&self, number: usize) {
        let mut seen = 0;
        while let Some(state) = self.await_job(seen, number) {
            let job_number = state & !(NUMBER - 1);
            let entered =
                self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if entered.is_err() {
                // Another worker has entered meanwhile, or the gate was closed: look again.
                continue;
            }
            seen = job_number;
            // SAFETY: the pointer was stored before the gate was opened, which this thread has seen by
            // entering. The caller keeps the job alive until no worker is inside.
            #[allow(unsafe_code)]
            let job = unsafe { &*self.job.load(Ordering::Relaxed) };
            if catch_unwind(AssertUnwindSafe(|| (job.0)(number))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for an open gate with another job than `seen`; `None` if the crew retires.
    fn await_job(&self, seen: u64, number: usize) -> Option<u64> {
        let asleep = &self.asleep[number];
        loop {
            let look = || news(self.state.load(Ordering::Acquire), seen);
            if let Some(news) = spin(look, || self.resting.load(Ordering::Relaxed)) {
                return news.job();
            }
            asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // A caller that has opened the gate since the last look may have missed the
            // announcement.
            if news(self.state.load(Ordering::Acquire), seen).is_none() {
                thread::park();
            }
            asleep.store(false, Ordering::Relaxed);
        }
    }
}

/// What a worker waits for.
enum News {
    Job(u64),
    Retired,
}

impl News {
    fn job(self) -> Option<u64> {
        match self {
            Self::Job(state) => Some(state),
            Self::Retired => None,
        }
    }
}

/// Returns the instruction of the state for a worker that has served the job `seen`.
fn news(state: u64, seen: u64) -> Option<News> {
    match state {
        _ if state & RETIRED != 0 => Some(News::Retired),
        _ if state & OPEN != 0 && state & !(NUMBER - 1) != seen => Some(News::Job(state)),
        _ => None,
    }
}

/// Polls the state for as long as it is cheaper to stay awake than to sleep, but not while the crew rests.
#[cfg(not(loom))]
fn spin(look: impl Fn() -> Option<News>, rests: impl Fn() -> bool) -> Option<News> {
    use std::time::{Duration, Instant};

    /// A thread that sleeps is back after some fifty microseconds, and then its caches are cold.
    const AWAKE: Duration = Duration::from_millis(2);
    /// Pauses between two looks (some hundred nanoseconds), which leave the core to its sibling.
    const PAUSES: u32 = 8;
    /// Looks between two offers to let another thread run.
    const LOOKS: u32 = 256;

    let since = Instant::now();
    while since.elapsed() < AWAKE {
        for _ in 0..LOOKS {
            let news = look();
            if news.is_some() || rests() {
                return news;
            }
            (0..PAUSES).for_each(|_| spin_loop());
        }
        thread::yield_now();
    }
    None
}

/// Looks once: more looks are other interleavings of the same steps.
#[cfg(loom)]
fn spin(look: impl Fn() -> Option<News>, _rests: impl Fn() -> bool) -> Option<News> {
    look()
}

/// Closes the gate and gives the crew back.
struct Closing<'a>(&'a Gate);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let gate = self.0;
        gate.state.fetch_and(!OPEN, Ordering::AcqRel);
        while gate.state.load(Ordering::Acquire) & INSIDE > 0 {
            spin_loop();
        }
        let panicked = gate.panicked.load(Ordering::Relaxed);
        gate.taken.store(false, Ordering::Release);
        if panicked && !std::thread::panicking() {
            resume_unwind(Box::new("a kernel panicked on another thread"));
        }
    }
}
