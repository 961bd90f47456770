//! Threads that run the runners.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::env_runner::{Amount, EnvRunner, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// A runner with the amount that it must collect.
#[derive(Debug)]
pub(super) struct Job {
    /// The number of the call.
    pub(super) call: u64,
    /// Index of the runner in the group.
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    pub(super) options: SampleOptions,
    /// Work on the experience, on the same thread.
    pub(super) then: Option<Work>,
}

/// Work on the experience of a runner, on its thread.
pub(super) struct Work(Box<dyn FnOnce(&Experience) -> Output + Send>);

/// What work on the experience returned.
pub(super) type Output = Box<dyn Any + Send>;

impl Work {
    pub(super) fn new<T: Any + Send>(work: impl FnOnce(&Experience) -> T + Send + 'static) -> Self {
        Self(Box::new(move |experience| Box::new(work(experience))))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// A runner with its result.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) call: u64,
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    pub(super) result: Result<Experience>,
    /// What the work on the experience returned.
    pub(super) output: Option<Output>,
}

impl Job {
    /// Collects on the calling thread. Converts a panic into an error of this runner.
    pub(super) fn run(self) -> Done {
        let Self { call, worker, mut runner, amount, options, then } = self;
        let collect = AssertUnwindSafe(|| {
            let experience = runner.collect(amount, options)?;
            let output = then.map(|Work(work)| work(&experience));
            Ok((experience, output))
        });
        let result = catch_unwind(collect).unwrap_or_else(|panic| {
            // The running episodes are in an unknown state.
            runner.reset_episodes();
            Err(panicked(worker, &*panic))
        });
        let (result, output) = match result {
            Ok((experience, output)) => (Ok(experience), output),
            Err(error) => (Err(error), None),
        };
        Done { call, worker, runner, amount, result, output }
    }
}

fn panicked(runner: usize, panic: &(dyn std::any::Any + Send)) -> RunnerError {
    RunnerError::Panicked { runner, message: rekindle_core::panics::message(panic).into() }
}

/// Jobs that no thread has taken yet. A free thread takes the next job, so that a slow runner
/// blocks one thread and no other runner.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Mutex<VecDeque<Job>>>);

impl Queue {
    pub(super) fn new(jobs: Vec<Job>) -> Self {
        Self(Arc::new(Mutex::new(jobs.into())))
    }

    fn next(&self) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Takes back the jobs that no thread has begun.
    pub(super) fn drain(&self) -> impl Iterator<Item = Job> + '_ {
        std::iter::from_fn(|| self.next())
    }

    /// Spawns threads that run the jobs and send back the results. They end when no job is left. A
    /// slow runner continues after the group is dropped, and its result is discarded.
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
                Err(error) => {
                    tracing::warn!(%error, "cannot spawn a thread for an environment runner");
                }
            }
        }
        if started == 0 {
            // No thread could be spawned: run the jobs on this one.
            for job in self.drain() {
                if results.send(job.run()).is_err() {
                    return;
                }
            }
        }
    }
}
