//! Fork and join of short work on a fixed crew of threads.
//!
//! A training step on a small network takes some ten microseconds a layer. A work-stealing pool
//! that puts its threads to sleep between two such pieces costs more than the second core gains.
//! The crew here spins for a moment before it sleeps, and forks in under a microsecond.
//!
//! The environment variable `REKINDLE_NUM_THREADS` bounds the number of threads, the caller's included.
//! Without it there is one thread per available core. A value that is not a whole number of at least 1 is
//! ignored with a warning. Results of the library do not depend on the number of threads.
//!
//! The protocol between a caller and its workers is checked in every interleaving by `loom`, and for
//! undefined behavior and data races by Miri:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --package rekindle-parallel --lib --target-dir target/loom
//! cargo +nightly miri test --package rekindle-parallel --lib
//! ```
// One exception, in `crew::gate`: threads that borrow from the caller they work for.
#![deny(unsafe_code)]

mod crew;
mod sync;

use std::sync::{Mutex, OnceLock, PoisonError};

use crew::Crew;
use smallvec::SmallVec;

/// The environment variable that bounds the threads of all CPU kernels.
const NUM_THREADS: &str = "REKINDLE_NUM_THREADS";

/// Free memory at the end of the heap that is kept, in bytes.
const HEAP_KEPT: usize = 16 << 20;

/// Returns the number of threads that share one operation, including the caller's.
#[must_use]
pub fn num_threads() -> usize {
    crew().num_threads()
}

/// Runs `work` on every task, on several threads if there are several tasks.
///
/// A thread begins with the same share of the tasks every time, so that it finds the data of its last
/// call in its cache, and then helps with the remaining tasks. If another caller is using the crew, all
/// tasks run on this thread. The result of a task must therefore not depend on the thread.
///
/// # Panics
/// If `work` panics on any thread, after all threads have left it.
pub fn for_each<T: Send>(tasks: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    for_each_on(crew, tasks, work);
}

/// Number of tasks up to which a fork allocates nothing.
const INLINE: usize = 8;

/// Works like [`for_each`], on the crew that `crew` returns. For a single task, `crew` is not
/// called.
fn for_each_on<'a, T: Send>(
    crew: impl FnOnce() -> &'a Crew,
    tasks: impl IntoIterator<Item = T>,
    work: impl Fn(T) + Sync,
) {
    let mut tasks = tasks.into_iter();
    let Some(first) = tasks.next() else { return };
    let Some(second) = tasks.next() else { return work(first) };
    let slot = |task| Mutex::new(Some(task));
    let slots: SmallVec<[_; INLINE]> = [first, second].into_iter().chain(tasks).map(slot).collect();
    let crew = crew();
    let helpers = slots.len() - 1;
    let threads = crew.num_threads();
    crew.run(helpers, &|thread| {
        let (before, own) = slots.split_at(thread * slots.len() / threads);
        for slot in own.iter().chain(before) {
            let task = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            task.into_iter().for_each(&work);
        }
    });
}

/// Lets idle threads sleep at once, because the caller is about to wait for other processes, which need the
/// cores.
///
/// Otherwise, threads without a task poll for the next one for two milliseconds. The next call of
/// [`for_each`] ends the rest, and its threads are some fifty microseconds late.
pub fn rest() {
    if let Some(crew) = CREW.get() {
        crew.rest();
    }
}

/// Returns how many of `len` elements each thread takes, if `grain` elements are worth a thread.
///
/// The shares are equal, except for the last one, and consist of whole cache lines (16 floats).
#[must_use]
pub fn share(len: usize, grain: usize) -> usize {
    let parts = (len / grain).clamp(1, num_threads());
    len.div_ceil(parts).next_multiple_of(16).max(16)
}

/// The crew of this process, whose threads live as long as the process.
static CREW: OnceLock<Crew> = OnceLock::new();

/// Returns the crew of this process.
fn crew() -> &'static Crew {
    CREW.get_or_init(|| {
        // glibc returns the end of the heap to the system whenever 128 KiB of it are free, and fetches
        // it again for the next buffer. Freeing one large block raises that bound. Without the black
        // box the compiler would remove both the allocation and the release.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_KEPT)));
        let wanted = std::env::var_os(NUM_THREADS);
        let available = || std::thread::available_parallelism().map_or(1, Into::into);
        let threads = wanted.as_deref().map_or_else(|| Ok(available()), parse_num_threads);
        Crew::new(threads.unwrap_or_else(|value| {
            let threads = available();
            tracing::warn!(
                value,
                threads,
                "`REKINDLE_NUM_THREADS` is not a whole number of at least 1; all available cores are used"
            );
            threads
        }))
    })
}

/// Reads the value of [`NUM_THREADS`].
///
/// # Errors
/// The value, if it is not a whole number of at least 1.
fn parse_num_threads(value: &std::ffi::OsStr) -> Result<usize, String> {
    let value = value.to_string_lossy();
    match value.trim().parse() {
        Ok(threads) if threads > 0 => Ok(threads),
        _ => Err(value.into_owned()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
