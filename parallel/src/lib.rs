//! Fork and join of short work on a fixed crew of threads.
//!
//! A training step on a small network takes some ten microseconds a layer. A work-stealing pool
//! that puts its threads to sleep between two such pieces costs more than the second core gains;
//! this crew spins for a moment before it sleeps and forks in under a microsecond.
// One exception: threads that borrow from the caller they work for.
#![deny(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The environment variable that bounds the threads of all CPU kernels, the caller's included.
const NUM_THREADS: &str = "REKINDLE_NUM_THREADS";

/// How long a worker that finds no work stays awake. A thread that sleeps is back after some fifty
/// microseconds, and then its caches are cold.
const AWAKE: Duration = Duration::from_millis(2);

/// How many pauses it makes before it looks again (some hundred nanoseconds), which leave the core
/// to its sibling, and after how many looks it lets another thread run.
const PAUSES: u32 = 8;
const LOOKS: u32 = 256;

/// Free memory at the end of the heap that is kept, in bytes.
const HEAP_KEPT: usize = 16 << 20;

/// How many threads work on one operation, the caller's included.
pub fn num_threads() -> usize {
    crew().workers.len() + 1
}

/// Does `work` on every task, on several threads if there are several tasks.
///
/// A thread begins with the same share of the tasks every time, so that it finds in its cache what
/// it worked on before, and then helps with what is left. Where another caller has the crew, all is
/// done on this thread: a task's result must not depend on who does it.
pub fn for_each<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Sync) {
    if tasks.len() < 2 {
        return tasks.into_iter().for_each(work);
    }
    let helpers = tasks.len() - 1;
    let slots: Vec<Mutex<Option<T>>> = tasks.into_iter().map(|t| Mutex::new(Some(t))).collect();
    let threads = num_threads();
    crew().run(helpers, &|thread| {
        let (before, own) = slots.split_at(thread * slots.len() / threads);
        for slot in own.iter().chain(before) {
            let task = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            task.into_iter().for_each(&work);
        }
    });
}

/// How many of `len` elements a thread takes of work that is worth a thread for `grain` elements:
/// equal shares, of whole cache lines.
pub fn share(len: usize, grain: usize) -> usize {
    let parts = (len / grain).clamp(1, num_threads());
    len.div_ceil(parts).next_multiple_of(16).max(16)
}

/// What every thread of the crew does for one caller, given its number; the caller's is 0.
struct Job<'a>(&'a (dyn Fn(usize) + Sync));

/// The state word: how many workers are in the job (low half), whether they may enter it, and
/// above that its number, by which a worker tells a new job from one it has seen.
const OPEN: u64 = 1 << 32;
const NUMBER: u64 = 1 << 33;
const INSIDE: u64 = OPEN - 1;

struct Worker {
    thread: Thread,
    asleep: &'static AtomicBool,
}

struct Crew {
    workers: Vec<Worker>,
    shared: &'static Shared,
}

#[derive(Default)]
struct Shared {
    taken: AtomicBool,
    state: AtomicU64,
    job: AtomicPtr<Job<'static>>,
    panicked: AtomicBool,
}

/// The crew of this process; its threads live as long as it does.
fn crew() -> &'static Crew {
    static CREW: OnceLock<Crew> = OnceLock::new();
    CREW.get_or_init(|| {
        // glibc gives the end of the heap back to the system whenever 128 KiB of it are free, and
        // fetches it again for the next buffer. Freeing one large block raises that bound.
        // The black box keeps the compiler from leaving out both.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_KEPT)));
        let wanted = std::env::var(NUM_THREADS).ok().and_then(|n| n.parse::<usize>().ok());
        let threads = wanted.or_else(|| thread::available_parallelism().ok().map(Into::into));
        let shared: &Shared = Box::leak(Box::default());
        // A thread that cannot be had is one worker less.
        let workers = (1..threads.unwrap_or(1)).filter_map(|index| {
            let asleep: &AtomicBool = Box::leak(Box::default());
            let name = format!("rekindle-kernel-{index}");
            let spawned = thread::Builder::new()
                .name(name)
                .spawn(move || shared.serve(index, asleep))
                .ok()?;
            Some(Worker { thread: spawned.thread().clone(), asleep })
        });
        Crew { workers: workers.collect(), shared }
    })
}

impl Crew {
    /// Runs the job on this thread and, if they come in time, on up to `helpers` workers.
    fn run(&self, helpers: usize, job: &(dyn Fn(usize) + Sync)) {
        let shared = self.shared;
        if self.workers.is_empty() || shared.taken.swap(true, Ordering::Acquire) {
            return job(0);
        }
        let job = Job(job);
        shared.job.store(ptr::from_ref(&job).cast_mut().cast(), Ordering::Relaxed);
        shared.panicked.store(false, Ordering::Relaxed);
        // Closes the job and waits for those inside, also when this thread's part panics.
        let closing = Closing(shared);
        let number = shared.state.load(Ordering::Relaxed) & !(NUMBER - 1);
        shared.state.store(number.wrapping_add(NUMBER) | OPEN, Ordering::SeqCst);
        for worker in self.workers.iter().take(helpers) {
            if worker.asleep.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        (job.0)(0);
        drop(closing);
    }
}

struct Closing(&'static Shared);

impl Drop for Closing {
    fn drop(&mut self) {
        let shared = self.0;
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        while shared.state.load(Ordering::Acquire) & INSIDE > 0 {
            std::hint::spin_loop();
        }
        let panicked = shared.panicked.load(Ordering::Relaxed);
        shared.taken.store(false, Ordering::Release);
        if panicked && !thread::panicking() {
            resume_unwind(Box::new("a kernel panicked on another thread"));
        }
    }
}

impl Shared {
    /// The life of a worker.
    fn serve(&self, number: usize, asleep: &AtomicBool) {
        let mut seen = 0;
        loop {
            let state = self.await_job(seen, asleep);
            seen = state & !(NUMBER - 1);
            let entered =
                self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if entered.is_err() {
                // Another worker entered first, or the job was closed: look again.
                seen = seen.wrapping_sub(NUMBER);
                continue;
            }
            // SAFETY: the pointer was stored before the job was opened, which this thread has seen
            // by entering it. Its caller keeps the job alive until no worker is inside.
            #[allow(unsafe_code)]
            let job = unsafe { &*self.job.load(Ordering::Relaxed) };
            if catch_unwind(AssertUnwindSafe(|| (job.0)(number))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for an open job with another number than `seen`.
    fn await_job(&self, seen: u64, asleep: &AtomicBool) -> u64 {
        let fresh = |state: u64| state & OPEN != 0 && state & !(NUMBER - 1) != seen;
        loop {
            let since = Instant::now();
            while since.elapsed() < AWAKE {
                for _ in 0..LOOKS {
                    let state = self.state.load(Ordering::Acquire);
                    if fresh(state) {
                        return state;
                    }
                    (0..PAUSES).for_each(|_| std::hint::spin_loop());
                }
                thread::yield_now();
            }
            asleep.store(true, Ordering::SeqCst);
            // A job opened since the last look would not wake this thread.
            if !fresh(self.state.load(Ordering::SeqCst)) {
                thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_whoever_else_asks() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..500 {
                        let mut done = vec![0; 1 + round % 7];
                        for_each(done.iter_mut().enumerate().collect(), |(i, d)| *d += i + 1);
                        assert!(done.iter().enumerate().all(|(i, d)| *d == i + 1));
                    }
                });
            }
        });
    }

    #[test]
    fn tasks_may_fork_themselves() {
        let mut sums = [0; 4];
        for_each(sums.iter_mut().collect(), |sum| {
            let mut parts = [1; 8];
            for_each(parts.iter_mut().collect(), |part| *part *= 2);
            *sum = parts.iter().sum();
        });
        assert_eq!(sums, [16; 4]);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_crew_goes_on() {
        let panics = catch_unwind(|| {
            for_each((0..64).collect(), |i| assert!(i != 40, "task 40"));
        });
        assert!(panics.is_err());
        let mut done = [false; 16];
        for_each(done.iter_mut().collect(), |d| *d = true);
        assert_eq!(done, [true; 16]);
    }
}
