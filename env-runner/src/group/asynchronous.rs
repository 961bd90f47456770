//! Runners that work one by one: each starts again as soon as it has finished.

use std::time::Instant;

use rekindle_rl_module::MultiRLModule;

use super::EnvRunnerGroup;
use super::pool::Pool;
use super::queue::Job;
use super::worker::Place;
use crate::env_runner::{Amount, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// A runner that works for [`EnvRunnerGroup::start`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    /// The number of its call.
    call: u64,
    at: Instant,
}

impl EnvRunnerGroup {
    /// Returns the indices of the runners that are available to start.
    #[must_use]
    pub fn idle(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|&index| self.workers[index].here().is_some()).collect()
    }

    /// Returns the number of runners that have started and not finished.
    #[must_use]
    pub fn num_started(&self) -> usize {
        self.started.len()
    }

    /// Sets the weights that one runner acts with from now on. Nothing is copied.
    ///
    /// # Errors
    /// As [`EnvRunner::set_modules`](crate::EnvRunner::set_modules).
    pub fn set_modules_of(
        &mut self,
        index: usize,
        modules: &MultiRLModule,
        weights_seq_no: u64,
    ) -> Result<()> {
        match self.workers.get_mut(index).and_then(|worker| worker.here_mut()) {
            Some(runner) => runner.set_modules(modules, weights_seq_no),
            None => Ok(()),
        }
    }

    /// Lets one runner collect on a thread of its own, while this one goes on. Returns whether it was
    /// available. [`next_finished`](Self::next_finished) returns what it collected.
    pub fn start(&mut self, index: usize, amount: Amount, options: SampleOptions) -> bool {
        let runner = self.workers.get_mut(index).and_then(|worker| worker.take());
        let Some(runner) = runner else { return false };
        self.call += 1;
        self.started.insert(index, Started { call: self.call, at: Instant::now() });
        let job = Job { call: self.call, worker: index, runner, amount, options };
        // Abandoned runners may occupy a thread each.
        let threads = self.num_threads.min(self.workers.len()) + self.abandoned.len();
        let pool = self.pool.get_or_insert_with(|| Pool::new(&self.results.0));
        pool.submit(job, threads);
        true
    }

    /// Waits for the next runner that has started and finishes. Returns its index and what it collected;
    /// `None` if none has started.
    ///
    /// A runner that fails is recreated or ignored, as the settings of fault tolerance say, and is idle
    /// again; its experience is empty. One that works longer than
    /// [`sample_timeout_s`](crate::FaultToleranceConfig::sample_timeout_s) is abandoned and recreated.
    ///
    /// # Errors
    /// The failure of a runner, if it is not tolerated.
    pub fn next_finished(&mut self) -> Result<Option<(usize, Experience)>> {
        while !self.started.is_empty() {
            let oldest = self.started.values().map(|started| started.at).min();
            let timeout = self.config.fault_tolerance.timeout();
            let deadline = timeout.zip(oldest).map(|(timeout, oldest)| oldest + timeout);
            let Some(done) = self.receive(deadline) else {
                self.abandon_late()?;
                continue;
            };
            if self.abandoned.remove(&done.call) {
                continue;
            }
            let index = done.worker;
            if self.started.get(&index).is_some_and(|started| started.call == done.call) {
                self.started.remove(&index);
            }
            let worker = &mut self.workers[index];
            worker.place = Place::Here(done.runner);
            worker.health.healthy = done.result.is_ok();
            return match done.result {
                Ok(experience) => {
                    if experience.env_steps > 0 {
                        worker.health.failures = 0;
                    }
                    Ok(Some((index, experience)))
                }
                Err(error) => {
                    self.tolerate(index, error)?;
                    Ok(Some((index, Experience::default())))
                }
            };
        }
        Ok(None)
    }

    /// Recreates the runners that work longer than the time-out. What they return later is dropped.
    fn abandon_late(&mut self) -> Result<()> {
        let Some(timeout) = self.config.fault_tolerance.timeout() else { return Ok(()) };
        let late = self.started.iter().filter(|(_, started)| started.at.elapsed() >= timeout);
        let late: Vec<_> = late.map(|(&index, started)| (index, started.call)).collect();
        for (index, call) in late {
            self.started.remove(&index);
            self.abandoned.insert(call);
            self.num_late += 1;
            let seconds = timeout.as_secs_f64();
            self.tolerate(index, RunnerError::Late { runner: index, seconds })?;
        }
        Ok(())
    }
}
