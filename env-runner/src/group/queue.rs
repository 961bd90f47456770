//! Threads that take one runner after the other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Amount, EnvRunner, Experience, Result, RunnerError, SampleOptions};

/// What a runner is asked for.
#[derive(Debug)]
pub(super) struct Job {
    /// The call that asks.
    pub(super) call: u64,
    /// The place of the runner in the group.
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    pub(super) options: SampleOptions,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) call: u64,
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    pub(super) result: Result<Experience>,
}

impl Job {
    /// Collects on the calling thread. A panic is an error of this runner alone.
    pub(super) fn run(self) -> Done {
        let Self { call, worker, mut runner, amount, options } = self;
        let collect = AssertUnwindSafe(|| runner.collect(amount, options));
        let result = catch_unwind(collect).unwrap_or_else(|panic| {
            // Nothing is known of the episodes it was in.
            runner.reset_episodes();
            Err(panicked(worker, &*panic))
        });
        Done { call, worker, runner, amount, result }
    }
}

fn panicked(runner: usize, panic: &(dyn std::any::Any + Send)) -> RunnerError {
    RunnerError::Panicked { runner, message: rekindle_core::panics::message(panic).into() }
}

/// Jobs that no thread has taken yet. A thread that is done takes the next, so that a slow runner
/// holds up one thread and no other runner.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Mutex<VecDeque<Job>>>);

impl Queue {
    pub(super) fn new(jobs: Vec<Job>) -> Self {
        Self(Arc::new(Mutex::new(jobs.into())))
    }

    fn next(&self) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Takes back what no thread has begun.
    pub(super) fn drain(&self) -> impl Iterator<Item = Job> + '_ {
        std::iter::from_fn(|| self.next())
    }

    /// Lets threads work the jobs off and send what comes of them. They end with the jobs; a runner
    /// that takes long goes on after the group is gone, and what it brings is dropped.
    pub(super) fn start(&self, threads: usize, results: &Sender<Done>) {
        let mut started = 0;
        for _ in 0..threads {
            let (queue, results) = (self.clone(), results.clone());
            let work = move || {
                while let Some(job) = queue.next() {
                    if results.send(job.run()).is_err() {
                        return;
                    }
                }
            };
            match thread::Builder::new().name("env runner".into()).spawn(work) {
                Ok(_) => started += 1,
                Err(error) => tracing::warn!(%error, "no thread for an environment runner"),
            }
        }
        if started == 0 {
            // Without threads, this one does the work.
            for job in self.drain() {
                if results.send(job.run()).is_err() {
                    return;
                }
            }
        }
    }
}
