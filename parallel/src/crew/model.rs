//! The crew in every interleaving, by `loom`:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --package rekindle-parallel --lib --target-dir target/loom
//! ```
//!
//! `loom` runs each model under every schedule of its threads, up to a number of preemptions, and
//! under every value that an atomic load may return. It reports deadlocks (a worker that is never
//! woken), accesses to a job that its caller has taken back, and failed assertions.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::{AtomicUsize, Ordering};

use super::Crew;
use crate::sync::{Arc, thread};

/// Data that a caller lends to a job. `loom` fails if a thread reads them while the caller writes.
#[derive(Debug)]
struct Lent {
    value: UnsafeCell<usize>,
    visits: AtomicUsize,
}

#[allow(unsafe_code, reason = "the cells of loom are what finds unsynchronized accesses")]
mod cells {
    use super::*;

    // SAFETY: `loom` checks every access.
    unsafe impl Sync for Lent {}

    impl Lent {
        pub(super) fn new(value: usize) -> Self {
            Self { value: UnsafeCell::new(value), visits: AtomicUsize::new(0) }
        }

        pub(super) fn read(&self) -> usize {
            self.visits.fetch_add(1, Ordering::Relaxed);
            // SAFETY: as above.
            self.value.with(|value| unsafe { *value })
        }

        pub(super) fn write(&self, new: usize) {
            // SAFETY: as above.
            self.value.with_mut(|value| unsafe { *value = new });
        }
    }
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Lends data to a job, takes it back, and writes to it.
fn lend(crew: &Crew, value: usize) {
    let lent = Lent::new(value);
    crew.run(usize::MAX, &|_| assert_eq!(lent.read(), value));
    lent.write(0);
    assert!(lent.visits.load(Ordering::Relaxed) >= 1);
}

#[test]
fn nobody_is_inside_a_job_that_has_ended() {
    explore(3, || {
        let crew = Crew::new(2);
        lend(&crew, 1);
        lend(&crew, 2);
    });
}

#[test]
fn two_workers_serve_one_job() {
    explore(2, || lend(&Crew::new(3), 1));
}

#[test]
fn two_callers_do_not_disturb_each_other() {
    explore(2, || {
        let crew = Arc::new(Crew::new(2));
        let other = {
            let crew = crew.clone();
            thread::spawn(move || lend(&crew, 1))
        };
        lend(&crew, 2);
        other.join().unwrap();
    });
}

#[test]
fn a_crew_without_jobs_ends() {
    explore(3, || drop(Crew::new(3)));
}

/// The caller waits for a worker here, so a worker that is never woken is a deadlock.
#[test]
fn a_worker_that_falls_asleep_is_woken() {
    explore(3, || {
        let crew = Crew::new(2);
        let helped = AtomicUsize::new(0);
        crew.run(usize::MAX, &|number| match number {
            0 => {
                while helped.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
            }
            _ => helped.store(1, Ordering::Release),
        });
    });
}
