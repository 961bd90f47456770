//! Collecting with all available runners, and taking back those that have finished.

use std::collections::BTreeMap;
use std::time::Instant;

use super::job::{Done, Job};
use super::pool::Pool;
use super::worker::Status;
use super::{EnvRunnerGroup, Finished};
use crate::env_runner::{Amount, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// The results of a call so far.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Experience by runner.
    collected: BTreeMap<usize, Experience>,
    /// Recreated runners, which collect again.
    again: Vec<(usize, Amount)>,
    /// The last failure that was ignored.
    ignored: Option<RunnerError>,
}

impl EnvRunnerGroup {
    /// Collects `share(i, n)` with the `i`-th of the `n` available runners. Late experience of
    /// earlier calls comes first, then experience in order of the runners.
    pub(super) fn collect(
        &mut self,
        share: impl Fn(usize, usize) -> Amount,
        options: SampleOptions,
    ) -> Result<Experience> {
        let mut call = self.begin_call()?;
        self.late.extend(self.finished.drain(..).map(|finished| finished.experience));
        let ready: Vec<usize> =
            (0..self.workers.len()).filter(|&i| self.workers[i].runner().is_some()).collect();
        let n = ready.len();
        let mut amounts: Vec<_> =
            ready.into_iter().enumerate().map(|(i, worker)| (worker, share(i, n))).collect();
        loop {
            let results = self.work(&amounts, options);
            self.settle(results, &mut call)?;
            amounts = std::mem::take(&mut call.again);
            if amounts.is_empty() {
                break;
            }
        }
        if call.collected.is_empty() && self.late.is_empty() {
            self.check_patience(call.ignored)?;
        } else {
            self.empty_calls = 0;
        }
        let mut all = Experience::default();
        let late = std::mem::take(&mut self.late);
        late.into_iter().chain(call.collected.into_values()).for_each(|part| all.extend(part));
        Ok(all)
    }

    /// Takes back the late runners of earlier calls that have finished.
    fn begin_call(&mut self) -> Result<Call> {
        self.call += 1;
        let mut call = Call::default();
        let back: Vec<Done> = self.results.1.try_iter().collect();
        self.settle(back, &mut call)?;
        Ok(call)
    }

    /// Waits for all late runners.
    pub(super) fn wait_for_all(&mut self) -> Result<()> {
        self.call += 1;
        while self.workers.iter().any(|worker| worker.is_running()) {
            let Some(done) = self.receive(None) else { break };
            self.settle(vec![done], &mut Call::default())?;
        }
        Ok(())
    }

    /// Hands jobs to threads and waits, up to the timeout. Returns late results of earlier calls,
    /// then results in order of the runners.
    fn work(&mut self, amounts: &[(usize, Amount)], options: SampleOptions) -> Vec<Done> {
        let call = self.call;
        let jobs = amounts.iter().filter_map(|&(worker, amount)| {
            let runner = self.workers.get_mut(worker)?.take()?;
            Some(Job { call, worker, runner, amount, options, started: false, then: None })
        });
        let jobs: Vec<_> = jobs.collect();
        let timeout = self.config.fault_tolerance.timeout();
        let threads = self.num_threads.min(jobs.len());
        if threads == 1 && timeout.is_none() {
            return jobs.into_iter().map(Job::run).collect();
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut missing = jobs.len();
        // If no runner is available, wait for the first one to return.
        let nobody = jobs.is_empty() && self.late.is_empty();
        let mut waits_for_any = nobody && self.workers.iter().any(|worker| worker.is_running());
        // Late runners of earlier calls occupy a thread each.
        let running = self.workers.iter().filter(|worker| worker.is_running()).count();
        let threads = threads + running.saturating_sub(missing) + self.abandoned.len();
        let pool = self.pool.get_or_insert_with(|| Pool::new(&self.results.0));
        jobs.into_iter().for_each(|job| pool.submit(job, threads));
        let mut results = Vec::new();
        while missing > 0 || waits_for_any {
            let Some(done) = self.receive(deadline) else { break };
            missing -= usize::from(done.call == call);
            waits_for_any = false;
            results.push(done);
        }
        if missing > 0 {
            // Those that no thread has begun are not late.
            while let Some(job) = self.pool.as_ref().and_then(|pool| pool.take_back(call)) {
                self.workers[job.worker].status = Status::Available(job.runner);
                missing -= 1;
            }
            tracing::warn!(runners = missing, "runners are late and continue their work");
            self.num_late += missing as u64;
        }
        results.sort_by_key(|done| (done.call, done.worker));
        results
    }

    /// Returns the next runner that finishes; `None` if the deadline comes first.
    pub(super) fn receive(&self, deadline: Option<Instant>) -> Option<Done> {
        let results = &self.results.1;
        match deadline {
            None => results.recv().ok(),
            Some(deadline) => {
                results.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
        }
    }

    /// Takes runners back, keeps their experience, and recovers those that failed.
    ///
    /// # Errors
    /// The first failure that is not tolerated, after all runners are back.
    fn settle(&mut self, results: Vec<Done>, call: &mut Call) -> Result<()> {
        let mut failed = Vec::new();
        for done in results {
            let Done { call: of_call, worker: index, runner, amount, started, result, output } =
                done;
            if self.abandoned.remove(&of_call) {
                continue;
            }
            self.started.remove(&index);
            let is_late = of_call != self.call;
            let worker = &mut self.workers[index];
            worker.status = Status::Available(runner);
            let result = match is_late {
                true => self.catch_up(index).and(result),
                false => result,
            };
            let health = &mut self.workers[index].health;
            health.healthy = result.is_ok();
            match result {
                Ok(experience) => {
                    self.has_begun = true;
                    // Without a step that counts, the streak of failures continues.
                    if experience.env_steps > 0 {
                        health.failures = 0;
                    }
                    if started {
                        self.finished.push_back(Finished { runner: index, experience, output });
                    } else if is_late {
                        self.late.push(experience);
                    } else {
                        call.collected.insert(index, experience);
                    }
                }
                Err(error) => failed.push((index, (!is_late).then_some(amount), error)),
            }
        }
        let mut fatal = Ok(());
        for (index, amount, error) in failed {
            match self.tolerate(index, error) {
                Ok(None) => call.again.extend(amount.map(|amount| (index, amount))),
                Ok(ignored) => call.ignored = ignored,
                Err(error) => fatal = fatal.and(Err(error)),
            }
        }
        fatal
    }

    /// Decides whether a call without experience is an error.
    fn check_patience(&mut self, ignored: Option<RunnerError>) -> Result<()> {
        if !self.workers.iter().any(|worker| worker.is_running()) {
            return Err(ignored.unwrap_or(RunnerError::NoHealthyRunner));
        }
        self.empty_calls += 1;
        let (calls, settings) = (self.empty_calls, &self.config.fault_tolerance);
        if calls > settings.num_consecutive_env_runner_failures_tolerance {
            return Err(RunnerError::AllLate { calls });
        }
        Ok(())
    }
}
