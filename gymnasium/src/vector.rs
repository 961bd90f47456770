//! A vector of environments in worker processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle_env::render::Frame;
use rekindle_env::{Buffer, EnvConfig, EnvError, Info, Space, VectorEnv, VectorStep};
use serde_json::{Map, Value as Json};

use crate::check::ObservationCheck;
use crate::columns::{Outcome, Resets};
use crate::error::GymnasiumError;
use crate::layout::MAX_INFOS;
use crate::process::Deadline;
use crate::worker::{Plan, Spaces, Worker};

/// How long workers may take to close their environments.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Python environments, stepped by worker processes at the same time.
///
/// The crate's documentation lists ids, options and semantics. Dropping the vector closes the
/// environments and ends the workers.
#[derive(Debug)]
pub struct GymnasiumVectorEnv {
    plan: Plan,
    spaces: Spaces,
    slots: Vec<Slot>,
    phases: Vec<Phase>,
    check: ObservationCheck,
}

/// The environments of one worker.
#[derive(Debug)]
struct Slot {
    first: usize,
    num_envs: usize,
    /// `None` after the worker failed, until one of its environments is reset.
    worker: Option<Worker>,
    /// When the running command must be done.
    deadline: Option<Deadline>,
    /// Whether the failure of the worker in this step is reported already.
    is_reported: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Failed,
}

impl GymnasiumVectorEnv {
    /// Starts workers with `num_envs` environments `id`.
    ///
    /// # Errors
    /// [`EnvError::ShapeMismatch`] for 0 environments, [`EnvError::InvalidOption`] for an invalid option,
    /// and a [`GymnasiumError`] in [`EnvError::Custom`] if the environments cannot be made.
    pub fn new(id: &str, num_envs: usize, config: &EnvConfig) -> Result<Self, EnvError> {
        Self::with_autoreset(&id.into(), num_envs, config, true)
    }

    pub(crate) fn with_autoreset(
        id: &Arc<str>,
        num_envs: usize,
        config: &EnvConfig,
        autoreset: bool,
    ) -> Result<Self, EnvError> {
        if num_envs == 0 {
            return Err(length("environments in a vector", 1, 0));
        }
        let plan = Plan::new(id, config, autoreset)?;
        let mut first = 0;
        let mut starting = Vec::new();
        // Start all workers at once, because an interpreter takes a second to import its packages.
        for num_envs in plan.settings.shares(num_envs) {
            starting.push((first, num_envs, plan.start(first, num_envs)?));
            first += num_envs;
        }
        let mut spaces: Option<Spaces> = None;
        let mut slots = Vec::new();
        for (first, num_envs, mut worker) in starting {
            let worker = match &spaces {
                Some(spaces) => worker.finish(&plan, spaces)?,
                None => {
                    let found = worker.spaces(&plan)?;
                    let worker = worker.map(&plan, &found)?;
                    spaces = Some(found);
                    worker
                }
            };
            slots.push(Slot {
                first,
                num_envs,
                worker: Some(worker),
                deadline: None,
                is_reported: false,
            });
        }
        let spaces = spaces.ok_or_else(|| length("environments in a vector", 1, 0))?;
        let check =
            ObservationCheck::new(Arc::clone(id), &spaces.observations, plan.settings.check);
        Ok(Self { plan, spaces, slots, phases: vec![Phase::New; num_envs], check })
    }

    /// Returns the number of worker processes.
    #[must_use]
    pub fn num_workers(&self) -> usize {
        self.slots.len()
    }

    /// Returns the process ids of the workers that run.
    #[must_use]
    pub fn worker_ids(&self) -> Vec<u32> {
        self.slots.iter().filter_map(|slot| slot.worker.as_ref().map(Worker::id)).collect()
    }

    /// Returns the number of observations so far that were NaN or outside their space.
    ///
    /// They are counted unless the option `check_observations` is `"off"`.
    #[must_use]
    pub fn invalid_observations(&self) -> u64 {
        self.check.invalid()
    }

    /// Returns the number of observations so far whose element type was not that of their space.
    #[must_use]
    pub fn cast_observations(&self) -> u64 {
        self.check.casts()
    }

    fn crashed(&self, index: usize, reason: String) -> EnvError {
        at(index, EnvError::Crashed { env: self.plan.id.to_string(), reason })
    }

    /// Drops the worker of a slot. The environments that `lost` selects fail for this reason.
    fn lose(
        &mut self,
        slot: usize,
        error: &GymnasiumError,
        lost: impl Fn(usize, Phase) -> bool,
        failures: &mut Vec<EnvError>,
    ) {
        let Slot { first, num_envs, worker, deadline, .. } = &mut self.slots[slot];
        (*worker, *deadline) = (None, None);
        for index in *first..*first + *num_envs {
            if lost(index, self.phases[index]) {
                failures.push(self.crashed(index, error.to_string()));
            }
            self.phases[index] = match self.phases[index] {
                Phase::New => Phase::New,
                _ => Phase::Failed,
            };
        }
    }

    /// Resets some environments. Returns the failures.
    fn reset_some(
        &mut self,
        resets: &Resets,
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<(), EnvError> {
        let mut failures = Vec::new();
        let concerned = |slot: &Slot| resets[slot.rows()].iter().any(Option::is_some);
        self.restart_workers(&concerned, resets, &mut failures);
        for slot in 0..self.slots.len() {
            let rows = self.slots[slot].rows();
            if !concerned(&self.slots[slot]) {
                continue;
            }
            let Some(worker) = &mut self.slots[slot].worker else { continue };
            let begun = worker
                .columns
                .write_resets(&resets[rows])
                .and_then(|()| worker.begin_reset(options));
            match begun {
                Ok(deadline) => self.slots[slot].deadline = Some(deadline),
                Err(error) => self.lose(slot, &error, |i, _| resets[i].is_some(), &mut failures),
            }
        }
        for slot in 0..self.slots.len() {
            let Slot { first, worker: Some(worker), deadline, .. } = &mut self.slots[slot] else {
                continue;
            };
            let (first, Some(deadline)) = (*first, deadline.take()) else { continue };
            if let Err(error) = worker.finish(&deadline) {
                self.lose(slot, &error, |index, _| resets[index].is_some(), &mut failures);
                continue;
            }
            self.check.count_casts(worker, slot);
            for env in 0..worker.columns.outcomes.len() {
                let index = first + env;
                if resets[index].is_none() {
                    continue;
                }
                if worker.columns.outcomes[env] == Outcome::Done {
                    worker.columns.read_observation(env, &mut out.observations, index)?;
                    self.phases[index] = Phase::Running;
                    failures.extend(self.check.observation(&out.observations, index));
                } else {
                    self.phases[index] = Phase::Failed;
                    let (env, reason) =
                        (self.plan.id.to_string(), worker.take_failure(env).to_string());
                    failures.push(at(index, EnvError::Crashed { env, reason }));
                }
            }
        }
        in_order(failures)
    }

    /// Replaces the failed workers that have environments to reset.
    fn restart_workers(
        &mut self,
        concerned: &impl Fn(&Slot) -> bool,
        resets: &Resets,
        failures: &mut Vec<EnvError>,
    ) {
        let gone = |slot: &Slot| slot.worker.is_none() && concerned(slot);
        let starting: Vec<_> = (0..self.slots.len())
            .filter(|&slot| gone(&self.slots[slot]))
            .map(|slot| (slot, self.plan.start(self.slots[slot].first, self.slots[slot].num_envs)))
            .collect();
        for (slot, worker) in starting {
            match worker.and_then(|worker| worker.finish(&self.plan, &self.spaces)) {
                Ok(worker) => {
                    self.check.worker_restarted(slot);
                    self.slots[slot].worker = Some(worker);
                }
                Err(error) => self.lose(slot, &error, |i, _| resets[i].is_some(), failures),
            }
        }
    }

    /// Reads the results of a step of one worker.
    fn finish_step(&mut self, slot: usize, out: &mut VectorStep, failures: &mut Vec<EnvError>) {
        let Slot { first, num_envs, worker, deadline, is_reported } = &mut self.slots[slot];
        let (first, num_envs) = (*first, *num_envs);
        if std::mem::take(is_reported) {
            return clear(out, first..first + num_envs);
        }
        let finished = match (worker, deadline.take()) {
            (Some(worker), Some(deadline)) => worker.finish(&deadline).and_then(|()| {
                self.check.count_casts(worker, slot);
                worker.columns.read_step(out, first)
            }),
            _ => {
                clear(out, first..first + num_envs);
                let indices = first..first + num_envs;
                return failures.extend(indices.map(|index| self.not_stepped(index)));
            }
        };
        if let Err(error) = finished {
            clear(out, first..first + num_envs);
            let stopped = (first..first + num_envs)
                .filter(|&index| self.phases[index] != Phase::Running)
                .map(|index| self.not_stepped(index));
            failures.extend(stopped);
            return self.lose(slot, &error, |_, phase| phase == Phase::Running, failures);
        }
        for env in 0..num_envs {
            let index = first + env;
            if self.phases[index] != Phase::Running {
                clear(out, index..index + 1);
                failures.push(self.not_stepped(index));
                continue;
            }
            let Some(worker) = &mut self.slots[slot].worker else { continue };
            let outcome = worker.columns.outcomes[env];
            if outcome != Outcome::Done {
                self.phases[index] = Phase::Failed;
                let reason = worker.take_failure(env).to_string();
                failures.push(self.crashed(index, reason));
            }
            match outcome {
                Outcome::StepFailed | Outcome::NotStepped => clear(out, index..index + 1),
                Outcome::ResetFailed => {
                    if out.is_done(index) {
                        failures.extend(self.check.observation(&out.final_observations, index));
                    }
                }
                Outcome::Done => {
                    let last = out.is_done(index).then_some(&out.final_observations);
                    let mut seen = last.into_iter().chain([&out.observations]);
                    failures.extend(seen.find_map(|rows| self.check.observation(rows, index)));
                }
            }
        }
    }

    /// The error of stepping an environment that has no episode.
    #[cold]
    fn not_stepped(&self, index: usize) -> EnvError {
        let env = self.plan.id.to_string();
        at(
            index,
            match self.phases[index] {
                Phase::New => EnvError::StepBeforeReset { env },
                _ => EnvError::StepAfterFailure { env },
            },
        )
    }

    fn infos(&self, index: usize, is_final: bool) -> Info {
        let slot = self.slots.iter().find(|slot| slot.rows().contains(&index));
        let Some(Slot { first, worker: Some(worker), .. }) = slot else { return Info::new() };
        let names = &worker.info_names;
        let mut numbers = [f64::NAN; MAX_INFOS];
        let known = numbers.get_mut(..names.len()).unwrap_or_default();
        if worker.columns.infos(index - first, is_final, known).is_err() {
            return Info::new();
        }
        let named = names.iter().zip(numbers).filter(|(_, number)| !number.is_nan());
        named.map(|(name, number)| (name.clone(), number)).collect()
    }
}

impl GymnasiumVectorEnv {
    /// Draws environment `index`, or returns the last picture of its last episode.
    fn draw(&mut self, index: usize, is_final: bool) -> Result<Frame, EnvError> {
        let num_envs = self.num_envs();
        let found = self.slots.iter().position(|slot| slot.rows().contains(&index));
        let slot = found.ok_or(EnvError::RowOutOfRange { row: index, rows: num_envs })?;
        let Slot { first, worker: Some(worker), .. } = &mut self.slots[slot] else {
            return Err(self.not_stepped(index));
        };
        match worker.render(index - *first, is_final) {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(reason)) => {
                let env = self.plan.id.to_string();
                Err(at(index, EnvError::CannotRender { env, reason }))
            }
            Err(error) => {
                // The other environments of the worker report their failure when they are stepped.
                let mut failures = Vec::new();
                self.lose(slot, &error, |lost, _| lost == index, &mut failures);
                in_order(failures).and_then(|()| Err(self.not_stepped(index)))
            }
        }
    }
}

impl Slot {
    fn rows(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.num_envs
    }
}

impl VectorEnv for GymnasiumVectorEnv {
    fn num_envs(&self) -> usize {
        self.phases.len()
    }

    fn observation_space(&self) -> &Space {
        &self.spaces.observations.space
    }

    fn action_space(&self) -> &Space {
        &self.spaces.actions.space
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<(), EnvError> {
        let n = self.num_envs();
        if seeds.len() != n {
            return Err(length("seeds", n, seeds.len()));
        }
        out.check(n)?;
        clear(out, 0..n);
        let resets: Vec<_> = seeds.iter().map(|&seed| Some(seed)).collect();
        self.reset_some(&resets, options, out)
    }

    fn reset_one(
        &mut self,
        index: usize,
        seed: Option<u64>,
        out: &mut VectorStep,
    ) -> Result<(), EnvError> {
        let n = self.num_envs();
        out.check(n)?;
        if index >= n {
            return Err(EnvError::RowOutOfRange { row: index, rows: n });
        }
        clear(out, index..index + 1);
        let mut resets = vec![None; n];
        resets[index] = Some(seed);
        self.reset_some(&resets, &Map::new(), out)
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<(), EnvError> {
        let n = self.num_envs();
        if actions.rows() != n {
            return Err(length("rows of `actions`", n, actions.rows()));
        }
        out.check(n)?;
        let space = &self.spaces.actions.space;
        if space.has_choices()
            && let Some(index) = (0..n).find(|&i| !space.contains_choices(actions.row(i)))
        {
            let (space, action) = (space.to_string(), format!("{:?}", actions.row(index)));
            return Err(at(index, EnvError::InvalidAction { space, action }));
        }
        for Slot { first, worker, .. } in &self.slots {
            if let Some(worker) = worker {
                worker.columns.write_actions(actions, *first)?;
            }
        }
        // The workers need the cores on which idle threads of kernels would poll for tasks.
        rekindle_parallel::rest();
        let mut failures = Vec::new();
        for slot in 0..self.slots.len() {
            let Some(worker) = &mut self.slots[slot].worker else { continue };
            match worker.begin_step() {
                Ok(deadline) => self.slots[slot].deadline = Some(deadline),
                Err(error) => {
                    self.lose(slot, &error, |_, phase| phase == Phase::Running, &mut failures);
                    self.slots[slot].is_reported = true;
                }
            }
        }
        for slot in 0..self.slots.len() {
            self.finish_step(slot, out, &mut failures);
        }
        in_order(failures)
    }

    fn info(&self, index: usize) -> Info {
        self.infos(index, false)
    }

    fn final_info(&self, index: usize) -> Info {
        self.infos(index, true)
    }

    fn render(&mut self, index: usize) -> Result<Frame, EnvError> {
        self.draw(index, false)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        let slot = self.slots.iter().find(|slot| slot.rows().contains(&index));
        if let Some(Slot { first, worker: Some(worker), .. }) = slot {
            // Fails only without memory, which steps report.
            let _ = worker.columns.write_kept_frame(index - first, keep);
        }
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.draw(index, true).ok()
    }
}

impl Drop for GymnasiumVectorEnv {
    fn drop(&mut self) {
        let mut workers: Vec<_> = self.slots.iter_mut().filter_map(|s| s.worker.as_mut()).collect();
        workers.iter_mut().for_each(|worker| worker.begin_close());
        let end = Instant::now() + CLOSE_LIMIT;
        workers.iter_mut().for_each(|worker| worker.wait_until(end));
    }
}

fn at(index: usize, source: EnvError) -> EnvError {
    EnvError::SubEnv { index, source: Box::new(source) }
}

fn length(what: &'static str, expected: usize, found: usize) -> EnvError {
    EnvError::ShapeMismatch { what, expected: vec![expected], found: vec![found] }
}

/// Clears rewards and flags. The caller has checked the rows.
fn clear(out: &mut VectorStep, rows: std::ops::Range<usize>) {
    for index in rows {
        out.rewards[index] = 0.0;
        (out.terminated[index], out.truncated[index]) = (false, false);
    }
}

/// One error for all failures, in the order of the vector.
fn in_order(mut failures: Vec<EnvError>) -> Result<(), EnvError> {
    failures.sort_by_key(|failure| failure.failed_envs().next().map(|(index, _)| index));
    EnvError::check_failures(failures)
}
