//! Runners that are started individually: each can start again as soon as it finishes.

use std::any::Any;
use std::time::Instant;

use rekindle_rl_module::MultiRLModule;

use super::EnvRunnerGroup;
use super::job::{Job, Work};
use super::pool::Pool;
use super::worker::Status;
use crate::env_runner::{Amount, PublishedAt, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// A runner that works for [`EnvRunnerGroup::start`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    /// The number of its call.
    call: u64,
    at: Instant,
}

/// What a runner did that was started individually.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// The index of the runner.
    pub runner: usize,
    /// What it collected; empty if it failed.
    pub experience: Experience,
    /// What the work on the experience returned, to downcast, or [`RunnerError::WorkPanicked`]; `None` without
    /// work and if the runner failed.
    pub output: Option<Result<Box<dyn Any + Send>>>,
}

impl EnvRunnerGroup {
    /// Returns the indices of the runners that are available to start.
    #[must_use]
    pub fn idle(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|&index| self.workers[index].runner().is_some()).collect()
    }

    /// Returns the indices of the runners that have started and not finished.
    #[must_use]
    pub fn started(&self) -> Vec<usize> {
        self.started.keys().copied().collect()
    }

    /// Sets the weights that one runner acts with from now on. Returns whether the runner was available.
    /// Runners that are recreated, and late ones that return, receive the weights of the last call. Nothing
    /// is copied, except weights on another device.
    ///
    /// # Errors
    /// As [`EnvRunner::set_modules`](crate::EnvRunner::set_modules). The runner then keeps its weights.
    pub fn set_modules_of(
        &mut self,
        index: usize,
        modules: &MultiRLModule,
        at: PublishedAt,
    ) -> Result<bool> {
        let runner = self.workers.get_mut(index).and_then(|worker| worker.runner_mut());
        let is_available = runner.is_some();
        if let Some(runner) = runner {
            runner.set_modules(modules, at)?;
        }
        self.modules = Some((modules.clone(), at));
        Ok(is_available)
    }

    /// Starts one runner on another thread. Returns whether it was
    /// available. [`next_finished`](Self::next_finished) returns what it collected.
    pub fn start(&mut self, index: usize, amount: Amount, options: SampleOptions) -> bool {
        self.submit(index, amount, options, None)
    }

    /// As [`start`](Self::start), and then works on the experience on the same thread. [`Finished::output`]
    /// is what the work returns.
    pub fn start_then<T: Any + Send>(
        &mut self,
        index: usize,
        amount: Amount,
        options: SampleOptions,
        work: impl FnOnce(&Experience) -> T + Send + 'static,
    ) -> bool {
        self.submit(index, amount, options, Some(Work::new(work)))
    }

    fn submit(
        &mut self,
        index: usize,
        amount: Amount,
        options: SampleOptions,
        then: Option<Work>,
    ) -> bool {
        let runner = self.workers.get_mut(index).and_then(|worker| worker.take());
        let Some(mut runner) = runner else { return false };
        if self.config.fault_tolerance.sample_timeout_s.is_some() {
            // A runner that does not return takes along only what it logs from now on.
            self.metrics.push(runner.take_metrics());
        }
        self.call += 1;
        self.started.insert(index, Started { call: self.call, at: Instant::now() });
        let (call, started) = (self.call, true);
        let job = Job { call, worker: index, runner, amount, options, started, then };
        // Runners that nobody waits for may occupy a thread each.
        let ignored = self.workers.iter().enumerate();
        let ignored =
            ignored.filter(|(i, w)| w.is_running() && !self.started.contains_key(i)).count();
        let threads = self.num_threads.min(self.workers.len()) + self.abandoned.len() + ignored;
        let pool = self.pool.get_or_insert_with(|| Pool::new(&self.results.0));
        pool.submit(job, threads);
        true
    }

    /// Waits for the next runner that has started and finishes; `None` if none has started.
    ///
    /// A runner that fails is recreated or ignored, as the settings of fault tolerance say, and is idle
    /// again; its experience is empty. One that works longer than
    /// [`sample_timeout_s`](crate::FaultToleranceConfig::sample_timeout_s) is recreated, or ignored until
    /// it returns. Runners that have waited so long for a thread are idle again, without a failure.
    ///
    /// A change to the group, such as [`set_env_config`](Self::set_env_config), waits for the runners that
    /// have started. What they did is returned here afterwards. After
    /// [`sample`](Self::sample) it is part of that call's experience, without the output of work.
    ///
    /// # Errors
    /// The failure of a runner, if it is not tolerated.
    pub fn next_finished(&mut self) -> Result<Option<Finished>> {
        if let Some(finished) = self.finished.pop_front() {
            return Ok(Some(finished));
        }
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
            let in_time = self.started.remove(&index).is_some();
            self.workers[index].status = Status::Available(done.runner);
            let result = match in_time {
                true => done.result,
                false => self.catch_up(index).and(done.result),
            };
            let worker = &mut self.workers[index];
            worker.health.healthy = result.is_ok();
            return match result {
                Ok(experience) => {
                    self.has_begun = true;
                    if experience.env_steps > 0 {
                        worker.health.failures = 0;
                    }
                    Ok(Some(Finished { runner: index, experience, output: done.output }))
                }
                Err(error) => {
                    self.tolerate(index, error)?;
                    let experience = Experience::default();
                    Ok(Some(Finished { runner: index, experience, output: None }))
                }
            };
        }
        Ok(None)
    }

    /// Recreates or ignores the runners that work longer than the timeout. What a runner that was
    /// recreated returns later is dropped.
    fn abandon_late(&mut self) -> Result<()> {
        let Some(timeout) = self.config.fault_tolerance.timeout() else { return Ok(()) };
        let late = self.started.iter().filter(|(_, started)| started.at.elapsed() >= timeout);
        let late: Vec<_> = late.map(|(&index, started)| (index, started.call)).collect();
        let mut fatal = Ok(());
        for (index, call) in late {
            self.started.remove(&index);
            if let Some(job) = self.pool.as_ref().and_then(|pool| pool.take_back(call)) {
                self.workers[index].status = Status::Available(job.runner);
                continue;
            }
            self.num_late += 1;
            let seconds = timeout.as_secs_f64();
            let outcome = self.tolerate(index, RunnerError::Late { runner: index, seconds });
            if !self.workers[index].is_running() {
                self.abandoned.insert(call);
            }
            fatal = fatal.and(outcome.map(|_| ()));
        }
        fatal
    }
}
