//! The threads of a group, which wait for jobs.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::job::{Done, Job};

/// Longest time that dropping a pool waits for its threads.
const PATIENCE: Duration = Duration::from_millis(800);

/// Threads that run jobs and send back the results, until the pool is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    results: Sender<Done>,
}

#[derive(Debug, Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// Threads that wait for a job.
    idle: usize,
    /// Jobs that run.
    running: usize,
    /// Largest number of jobs that run at a time.
    limit: usize,
    closed: bool,
}

impl Jobs {
    fn may_run(&self) -> bool {
        !self.waiting.is_empty() && self.running < self.limit
    }
}

impl Shared {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` when the pool is closed.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        jobs.idle += 1;
        let mut jobs = self
            .wake
            .wait_while(jobs, |jobs| !jobs.may_run() && !jobs.closed)
            .unwrap_or_else(PoisonError::into_inner);
        jobs.idle -= 1;
        if jobs.closed {
            return None;
        }
        let job = jobs.waiting.pop_front()?;
        jobs.running += 1;
        Some(job)
    }

    /// Runs a job. Afterwards another one may run.
    fn run(&self, job: Job) -> Done {
        let done = job.run();
        self.jobs().running -= 1;
        self.wake.notify_one();
        done
    }
}

impl Pool {
    pub(super) fn new(results: &Sender<Done>) -> Self {
        Self { shared: Arc::default(), threads: Vec::new(), results: results.clone() }
    }

    /// Hands a job to an idle thread, or to a new one. From now on, at most `threads` jobs run at a time;
    /// the others wait, and a free thread takes the next one. If no thread can be started, the job runs on
    /// this one.
    pub(super) fn submit(&mut self, job: Job, threads: usize) {
        let mut jobs = self.shared.jobs();
        jobs.waiting.push_back(job);
        let may_run_more = threads > jobs.limit;
        jobs.limit = threads;
        let waiting = jobs.waiting.len();
        let needs_thread = waiting > jobs.idle && self.threads.len() < threads;
        drop(jobs);
        if needs_thread {
            let (shared, results) = (Arc::clone(&self.shared), self.results.clone());
            let work = move || {
                while let Some(job) = shared.next() {
                    if results.send(shared.run(job)).is_err() {
                        return;
                    }
                }
            };
            match thread::Builder::new().name("env runner".into()).spawn(work) {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, "cannot spawn a thread for an environment runner");
                    self.run_here();
                }
            }
        }
        match may_run_more {
            true => self.shared.wake.notify_all(),
            false => self.shared.wake.notify_one(),
        }
    }

    /// Takes back the job of a call, if no thread has begun it.
    pub(super) fn take_back(&self, call: u64) -> Option<Job> {
        let mut jobs = self.shared.jobs();
        let position = jobs.waiting.iter().position(|job| job.call == call)?;
        jobs.waiting.remove(position)
    }

    /// Runs the waiting jobs on this thread, if there is no other.
    fn run_here(&self) {
        if !self.threads.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut self.shared.jobs().waiting);
        for job in jobs {
            // The receiver belongs to the group, which is alive.
            if self.results.send(job.run()).is_err() {
                return;
            }
        }
    }
}

impl Drop for Pool {
    /// Ends the threads and waits until they are gone. One that does not return from its environment in
    /// time is left behind, and ends when it does.
    fn drop(&mut self) {
        {
            let mut jobs = self.shared.jobs();
            jobs.closed = true;
            jobs.waiting.clear();
        }
        self.shared.wake.notify_all();
        let deadline = Instant::now() + PATIENCE;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        for thread in self.threads.drain(..) {
            if !thread.is_finished() {
                tracing::warn!("an environment does not return; its thread is left behind");
            } else if thread.join().is_err() {
                tracing::warn!("a thread of the environment runners panicked");
            }
        }
    }
}
