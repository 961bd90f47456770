//! The crew: a caller's thread and its workers.

mod gate;
#[cfg(all(test, loom))]
mod model;

use crate::sync::{Arc, JoinHandle, thread};
use gate::Gate;

/// Threads that wait for jobs.
#[derive(Debug)]
pub(crate) struct Crew {
    gate: Arc<Gate>,
    workers: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts the threads of a crew, one fewer than `threads`: the caller of a job is the other one.
    pub(crate) fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let gate = Arc::new(Gate::new(threads));
        // If a thread cannot be started, the crew has one worker less.
        let workers = (1..threads).filter_map(|number| {
            let gate = gate.clone();
            let name = format!("rekindle-kernel-{number}");
            thread::Builder::new().name(name).spawn(move || gate.serve(number)).ok()
        });
        let workers = workers.collect();
        Self { gate, workers }
    }

    /// Returns the number of threads, including the caller's.
    pub(crate) fn num_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Lets idle workers sleep at once, until the next job.
    pub(crate) fn rest(&self) {
        self.gate.rest();
    }

    /// Whether the worker of this number has announced its sleep.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_asleep(&self, number: usize) -> bool {
        self.gate.is_asleep(number)
    }

    /// Runs the job on this thread, whose number is 0, and on those of up to `helpers` workers that
    /// start before this thread has finished. If another caller uses the crew, or this thread already
    /// does, the job runs on this thread alone.
    pub(crate) fn run(&self, helpers: usize, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return job(0);
        }
        self.gate.run(job, || {
            for (index, worker) in self.workers.iter().take(helpers).enumerate() {
                if self.gate.must_wake(index + 1) {
                    worker.thread().unpark();
                }
            }
        });
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.gate.retire();
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Workers catch the panics of jobs.
            let _ = worker.join();
        }
    }
}
