//! One update: from experience to new weights.

pub(super) mod readings;
pub(super) mod step;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use burn::module::Module;
use rekindle_core::device::is_host;
use rekindle_core::{ALL_MODULES, DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, TensorRollout};
use rekindle_kernels::eager;
use rekindle_metrics::Reducer;

use self::readings::{Minibatch, MinibatchMetrics, ModuleMetrics, Readings, RowHistory};
use super::{Learner, ModuleRollouts};
use crate::error::{LearnerError, Result};
use crate::loss::{AfterMinibatch, AfterUpdate, PrepareContext};
use crate::minibatch::MinibatchCyclicIterator;
use crate::train_data::TrainData;

/// The data of each module that learns.
pub type ModuleData = BTreeMap<ModuleId, TrainData>;

/// The targets that move, by the name of their parameters: a module that has them, and τ.
type MovedTargets = BTreeMap<String, (ModuleId, f64)>;

const TOTAL_LOSS: &str = "total_loss";
const NO_ROWS: &str = "num_updates_without_rows_lifetime";
const FOREIGN_ROWS: &str = "num_rows_of_replaced_modules_lifetime";

/// The result of an update.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct UpdateReport {
    /// Values by module and name with one entry per row of the data, such as TD errors: those of the last
    /// minibatch with the row, and NaN for rows that no minibatch had.
    pub row_values: BTreeMap<ModuleId, BTreeMap<&'static str, Vec<f32>>>,
}

impl Learner {
    /// Learns from experience: epochs of minibatches, one optimizer step each.
    ///
    /// A minibatch whose loss or gradients are not finite is skipped, counted and reported under
    /// `num_non_finite_updates_lifetime`; the weights stay as they were.
    ///
    /// Modules that share parameters are stepped together, by the gradient of the sum of their
    /// losses; if one of the losses is not finite, none of them is stepped.
    ///
    /// Experience of modules that do not learn ([`Learner::set_policies_to_train`]) is ignored. A
    /// module without a row is left out, which is counted under `num_updates_without_rows_lifetime`.
    ///
    /// Rollouts of a module that was removed since are left out, and so are those of a module that was replaced
    /// if their states are not those of the new one, or columns are missing that its loss reads
    /// ([`Loss::required_columns`](crate::Loss::required_columns)). Their rows are counted under
    /// `num_rows_of_replaced_modules_lifetime`, as are those of rollouts that lack a required column of other
    /// rollouts of their module.
    ///
    /// If no module that learns has a row, the update is skipped: the weights and their version stay,
    /// and it is counted under that name for [`ALL_MODULES`].
    ///
    /// The rows that each module learned from, once for each epoch, are counted under
    /// `num_module_steps_trained` and `num_module_steps_trained_lifetime`; their sum over all modules under
    /// the same names for [`ALL_MODULES`].
    ///
    /// A module that [stops early](crate::Loss::stops_early) is counted under
    /// `num_early_stops_lifetime`. Its metrics include the minibatch that stopped it.
    ///
    /// Modules with the role [`LearnOnBatch`](rekindle_rl_module::LearnOnBatch) learn first, once, from all
    /// of their rows.
    ///
    /// `env_steps` is the number of environment steps sampled since the start of training.
    ///
    /// # Errors
    /// [`LearnerError::LearnOnBatch`](crate::LearnerError::LearnOnBatch) if a module fails to learn by
    /// itself; no module has changed then. If a loss or a forward pass fails; steps taken before stay.
    pub fn update(&mut self, rollouts: &ModuleRollouts, env_steps: u64) -> Result<UpdateReport> {
        let data = self.gather(rollouts)?;
        let data = self.prepare(data, env_steps)?;
        self.learn(data, env_steps)
    }

    /// Gathers the experience of the modules that learn, as [`update`](Self::update) does.
    ///
    /// # Errors
    /// If a module is unknown and was never removed, or the columns of its rollouts do not fit together.
    pub fn gather(&mut self, rollouts: &ModuleRollouts) -> Result<ModuleData> {
        let mut data = ModuleData::new();
        for (id, rollouts) in rollouts {
            if self.module.get(id).is_none() && self.replaced.contains_key(id) {
                self.count_foreign(id, rollouts)?;
                continue;
            }
            let max_seq_len = self.module.module(id)?.max_seq_len();
            let learns = self.should_module_be_updated(id);
            if !learns && !self.reads_other_agents() {
                continue;
            }
            let rollouts = self.of_current_module(id, rollouts)?;
            if rollouts.iter().all(|rollout| rollout.env_steps() == 0) {
                if !learns {
                    continue;
                }
                let key = format!("{id}/{NO_ROWS}");
                self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
                continue;
            }
            data.insert(id.clone(), TrainData::from_rollouts(&rollouts, max_seq_len)?);
        }
        Ok(data)
    }

    /// Gathers the experience of the default module that runners on the device recorded, one rollout after
    /// the other, if that module learns.
    ///
    /// # Errors
    /// If the default module is missing, or the columns of the rollouts do not fit together.
    pub fn gather_on_device(&self, rollouts: &[TensorRollout]) -> Result<ModuleData> {
        self.module.module(DEFAULT_MODULE_ID)?;
        let mut data = ModuleData::new();
        let Some((first, rest)) = rollouts.split_first() else { return Ok(data) };
        if self.should_module_be_updated(DEFAULT_MODULE_ID) {
            let mut all = first.clone();
            for rollout in rest {
                all.extend(rollout.clone())?;
            }
            data.insert(DEFAULT_MODULE_ID.into(), TrainData::from(&all));
        }
        Ok(data)
    }

    /// Runs the learner connectors on experience, and completes it with the columns that the losses read, such
    /// as advantages. Modules that do not learn, and those without a row, are left out. The time that this
    /// takes is reported as `learner_connector_timer`.
    ///
    /// # Errors
    /// If a module is unknown, the experience lacks a column, or a forward pass fails.
    pub fn prepare(&mut self, data: ModuleData, env_steps: u64) -> Result<ModuleData> {
        let started = Instant::now();
        let _eager = eager::scope(self.config.eager);
        let plain = self.device.clone().inner();
        for (id, of_module) in &mut self.losses {
            of_module.guarded(id, "before_update", |loss| {
                loss.before_update(env_steps);
                Ok(())
            })?;
        }
        let reads_others = self.reads_other_agents();
        let (mut experience, mut connected) = (ModuleData::new(), Vec::new());
        for (id, mut data) in data {
            let module = self.module.module(&id)?.valid();
            let learns = self.should_module_be_updated(&id) && data.rows() > 0;
            let of_module = self.losses.get_mut(&id).filter(|_| learns);
            if let Some(of_module) = of_module {
                let cx = PrepareContext::at(&id, &module, &plain, env_steps);
                data = of_module.connect(&cx, data)?;
                self.log_reported(&id, cx)?;
                connected.push((id.clone(), module, data.clone()));
            }
            if reads_others {
                experience.insert(id, data);
            }
        }
        let experience = reads_others.then_some(&experience);
        let mut prepared = ModuleData::new();
        for (id, module, data) in connected {
            let Some(of_module) = self.losses.get_mut(&id) else { continue };
            let cx =
                PrepareContext::at(&id, &module, &plain, env_steps).with_experience(experience);
            let data = of_module.prepare(&cx, data)?;
            self.log_reported(&id, cx)?;
            prepared.insert(id, data);
        }
        self.metrics.log_time("learner_connector_timer", started.elapsed())?;
        Ok(prepared)
    }

    fn log_reported(&mut self, id: &str, cx: PrepareContext<'_>) -> Result<()> {
        for (name, value) in cx.into_reported() {
            self.metrics.log_value(&format!("{id}/{name}"), value, Reducer::Item)?;
        }
        Ok(())
    }

    /// Whether the loss of a module that learns reads the experience of all modules.
    fn reads_other_agents(&self) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|(id, of)| self.should_module_be_updated(id) && of.loss.reads_other_agents())
    }

    /// Learns from prepared experience: epochs of minibatches, as [`update`](Self::update) does. Nothing
    /// waits for an accelerator before the last minibatch; then all metrics are read at once.
    ///
    /// # Errors
    /// [`LearnerError::LearnOnBatch`](crate::LearnerError::LearnOnBatch) if a module fails to learn by
    /// itself; no module has changed then. If a loss or a forward pass fails; steps taken before stay. If one of
    /// several learners fails, the update ends on all of them.
    pub fn learn(&mut self, mut data: ModuleData, env_steps: u64) -> Result<UpdateReport> {
        let _eager = eager::scope(self.config.eager);
        data.retain(|id, data| self.should_module_be_updated(id) && data.rows() > 0);
        if data.is_empty() {
            self.count_without_rows()?;
            return Ok(UpdateReport::default());
        }
        self.learn_on_batches(&mut data, env_steps)?;
        if data.is_empty() {
            self.weights_seq_no += 1;
            return Ok(UpdateReport::default());
        }
        let history = match self.group.take() {
            None => self.learn_minibatches(&data, env_steps)?,
            Some(mut group) => {
                let learned = group.learn(self, &data, env_steps);
                self.group = Some(group);
                learned?
            }
        };
        Ok(report(&data, &history))
    }

    /// Takes the steps of all minibatches; if several learners share them, of its share in each. Returns the values of
    /// rows.
    pub(super) fn learn_minibatches(
        &mut self,
        data: &ModuleData,
        env_steps: u64,
    ) -> Result<RowHistory> {
        let _eager = eager::scope(self.config.eager);
        if let Some(member) = &mut self.member {
            member.begin(data)?;
        }
        let resident: ModuleData;
        let data = match is_host(&self.device) {
            true => data,
            false => {
                let on_device = |data: &TrainData| data.clone().resident(&self.device);
                resident = data.iter().map(|(id, data)| (id.clone(), on_device(data))).collect();
                &resident
            }
        };
        let size = self.config.minibatch_size;
        let units = data.iter().map(|(id, data)| (id.clone(), data.units(size))).collect();
        let mut rng = self.shuffle_rng.clone();
        let minibatches = MinibatchCyclicIterator::new(self.config.epochs(), &units, &mut rng)?;
        let count = minibatches.len();
        let mut history = Vec::with_capacity(count);
        let mut stopped = BTreeSet::new();
        // For modules that stop early, the minibatches that they learned from.
        let mut lasted = BTreeMap::new();
        for minibatch in minibatches {
            history.push(self.step(data, &minibatch, env_steps, &mut stopped)?);
            for id in &stopped {
                lasted.entry(id.clone()).or_insert(history.len() - 1);
            }
            if stopped.len() == units.len() {
                break;
            }
        }
        self.shuffle_rng = rng;
        let mut history = Readings::read(history)?;
        let rows = history.iter_mut().map(|minibatch| std::mem::take(&mut minibatch.rows));
        let rows = rows.collect();
        for id in stopped {
            let key = format!("{id}/num_early_stops_lifetime");
            self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
        }
        let trained = data.iter().map(|(id, data)| {
            let all = data.rows_that_count() * self.config.num_epochs;
            (id.clone(), lasted.get(id).map_or(all, |steps| all * steps / count))
        });
        let trained = trained.collect();
        let of_epoch = count.div_ceil(self.config.num_epochs);
        self.finish_update(&trained, history, of_epoch, env_steps)?;
        Ok(rows)
    }

    /// Counts an update that was skipped because no module has rows.
    pub(super) fn count_without_rows(&mut self) -> Result<()> {
        let key = format!("{ALL_MODULES}/{NO_ROWS}");
        Ok(self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?)
    }

    /// Counts an update, logs its metrics and tells the losses. `trained` are the rows that each module
    /// learned from, `of_epoch` the minibatches of an epoch.
    pub(super) fn finish_update(
        &mut self,
        trained: &BTreeMap<ModuleId, usize>,
        history: Vec<Minibatch>,
        of_epoch: usize,
        env_steps: u64,
    ) -> Result<()> {
        self.weights_seq_no += 1;
        for minibatch in &history {
            self.count_refused(minibatch)?;
        }
        let history: Vec<_> = history.into_iter().map(|minibatch| minibatch.metrics).collect();
        let all = mean(&history);
        let recent = (of_epoch < history.len()).then(|| mean(&last_epoch(&history, of_epoch)));
        self.log(&all, env_steps)?;
        self.after_update(trained.keys(), recent.as_ref().unwrap_or(&all), env_steps)?;
        for (id, rows) in trained {
            self.log_trained(id, *rows)?;
        }
        Ok(())
    }

    /// Tells the losses that the update has ended, and moves the targets that they ask for.
    fn after_update<'a>(
        &mut self,
        trained: impl Iterator<Item = &'a ModuleId>,
        recent: &MinibatchMetrics,
        env_steps: u64,
    ) -> Result<()> {
        let none = ModuleMetrics::new();
        let mut targets = MovedTargets::new();
        for id in trained {
            let Some(of_module) = self.losses.get_mut(id) else { continue };
            let metrics = recent.get(id).unwrap_or(&none);
            let module = self.module.module(id)?;
            let mut cx = AfterUpdate::new(id, module, metrics, env_steps, self.weights_seq_no);
            of_module.guarded(id, "after_update", |loss| loss.after_update(&mut cx))?;
            let AfterUpdate { reported, target_tau, .. } = cx;
            for (name, value) in reported {
                self.metrics.log_value(&format!("{id}/{name}"), value, Reducer::Item)?;
            }
            if let Some(tau) = target_tau {
                let group = self.module.parameter_group(id).to_owned();
                targets.entry(group).or_insert_with(|| (id.clone(), tau));
            }
        }
        self.move_targets(targets)
    }

    /// Tells the losses of some modules that the steps of a minibatch were taken, writes the running statistics that
    /// they hand over, and moves the targets that they ask for.
    pub(super) fn after_minibatch<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a ModuleId>,
        env_steps: u64,
    ) -> Result<()> {
        let mut targets = MovedTargets::new();
        for id in ids {
            let Some(of_module) = self.losses.get_mut(id) else { continue };
            let mut cx = AfterMinibatch::new(id, self.module.module(id)?, env_steps);
            of_module.guarded(id, "after_minibatch", |loss| loss.after_minibatch(&mut cx))?;
            let AfterMinibatch { target_tau, statistics, .. } = cx;
            if !statistics.is_empty() {
                if self.member.is_some() {
                    return Err(statistics_of_a_share(id));
                }
                self.module.set_running_statistics(id, statistics)?;
            }
            if let Some(tau) = target_tau {
                let group = self.module.parameter_group(id).to_owned();
                targets.entry(group).or_insert_with(|| (id.clone(), tau));
            }
        }
        self.move_targets(targets)
    }

    fn move_targets(&mut self, targets: MovedTargets) -> Result<()> {
        for (id, tau) in targets.into_values() {
            self.module.sync_targets_of(&id, tau)?;
        }
        Ok(())
    }

    /// Returns the rollouts that the module can learn from, with the extra columns that all of them have.
    /// Others are left out and their rows counted: those that were sampled with a module that was replaced
    /// since, by a runner that was late, and those that lack a required column of other rollouts, such as
    /// actions that a greedy or random call left open.
    fn of_current_module<'a>(
        &mut self,
        id: &str,
        rollouts: &'a [Rollout],
    ) -> Result<Cow<'a, [Rollout]>> {
        let initial = self.module.module(id)?.initial_state()?;
        // A module that lacks a column in later rollouts lacks it itself, which the loss reports.
        let replaced = self.replaced.get(id);
        let required = self.losses.get(id).map_or(&[][..], |of| of.loss.required_columns());
        let lacks_columns = |rollout: &Rollout| {
            let was_replaced = replaced.is_some_and(|version| rollout.weights_seq_no <= *version);
            let mut missing = required.iter().filter(|name| !rollout.extras.contains_key(**name));
            missing.any(|name| {
                was_replaced || rollouts.iter().any(|other| other.extras.contains_key(*name))
            })
        };
        let (fitting, others): (Vec<_>, Vec<_>) = rollouts.iter().partition(|rollout| {
            has_states_like(rollout, initial.as_ref()) && !lacks_columns(rollout)
        });
        if !others.is_empty() {
            self.count_foreign(id, others.iter().copied())?;
        }
        let is_common = |name: &String| fitting.iter().all(|other| other.extras.contains_key(name));
        let are_alike = fitting.iter().all(|rollout| rollout.extras.keys().all(is_common));
        if others.is_empty() && are_alike {
            return Ok(rollouts.into());
        }
        let mut kept: Vec<Rollout> = fitting.iter().map(|&rollout| rollout.clone()).collect();
        if !are_alike {
            for rollout in &mut kept {
                rollout.extras.retain(|name, _| is_common(name));
            }
        }
        Ok(kept.into())
    }

    /// Counts the rows of rollouts of a module that was removed or replaced.
    fn count_foreign<'a>(
        &mut self,
        id: &str,
        rollouts: impl IntoIterator<Item = &'a Rollout>,
    ) -> Result<()> {
        let rows: usize = rollouts.into_iter().map(Rollout::env_steps).sum();
        let key = format!("{id}/{FOREIGN_ROWS}");
        Ok(self.metrics.log_value(&key, rows as f64, Reducer::LifetimeSum)?)
    }

    fn log(&mut self, means: &MinibatchMetrics, env_steps: u64) -> Result<()> {
        for (id, metrics) in means {
            for (name, value) in metrics {
                self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
            }
            let optimizers = self.optimizers.0.get(id);
            for (name, optimizer) in optimizers.iter().flat_map(|of| &of.by_name) {
                let lr = optimizer.settings.lr.value(env_steps);
                let key = format!("{id}/{name}_learning_rate");
                self.metrics.log_value(&key, lr, Reducer::Item)?;
            }
        }
        Ok(())
    }
}

/// The error of a loss whose running statistics would be those of a part of the minibatch.
fn statistics_of_a_share(id: &str) -> LearnerError {
    let reason =
        "its loss writes running statistics of the minibatch, but each learner sees only a part of it"
            .into();
    LearnerError::NotShared { id: id.into(), reason }
}

/// Whether the states of a rollout have the layout of an initial state; both may be missing.
fn has_states_like(rollout: &Rollout, initial: Option<&Buffer>) -> bool {
    match (&rollout.states, initial) {
        (None, None) => true,
        (Some(states), Some(initial)) => {
            initial.clone().extend_from(&states.state_in, 0..0).is_ok()
        }
        _ => false,
    }
}

/// Collects the values of rows from all minibatches.
fn report(data: &ModuleData, history: &RowHistory) -> UpdateReport {
    let mut report = UpdateReport::default();
    for of_rows in history.iter().flatten() {
        let Some(data) = data.get(&of_rows.module_id) else { continue };
        let of_module = report.row_values.entry(of_rows.module_id.clone()).or_default();
        let values = of_module.entry(of_rows.name).or_insert_with(|| vec![f32::NAN; data.rows()]);
        for (row, value) in of_rows.rows.iter().zip(&of_rows.values) {
            if let Some(at) = row.and_then(|row| values.get_mut(row)) {
                *at = *value;
            }
        }
    }
    report
}

/// The last `of_epoch` minibatches of each module. A module that stopped early had its last ones before
/// others.
fn last_epoch(history: &[MinibatchMetrics], of_epoch: usize) -> Vec<MinibatchMetrics> {
    let mut left: BTreeMap<&ModuleId, usize> = BTreeMap::new();
    let recent = history.iter().rev().map(|minibatch| {
        let of_modules = minibatch.iter().filter(|(id, _)| {
            let left = left.entry(id).or_insert(of_epoch);
            let counts = *left > 0;
            *left = left.saturating_sub(1);
            counts
        });
        of_modules.map(|(id, metrics)| (id.clone(), metrics.clone())).collect()
    });
    recent.collect()
}

/// Means over minibatches; values that are not finite do not count.
fn mean(history: &[MinibatchMetrics]) -> MinibatchMetrics {
    let mut sums: BTreeMap<&ModuleId, BTreeMap<&Cow<'static, str>, (f64, f64)>> = BTreeMap::new();
    for (id, metrics) in history.iter().flatten() {
        for (name, value) in metrics.iter().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = sums.entry(id).or_default().entry(name).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    let of_module = |metrics: BTreeMap<&Cow<'static, str>, (f64, f64)>| {
        metrics.into_iter().map(|(name, (sum, count))| (name.clone(), sum / count)).collect()
    };
    sums.into_iter().map(|(id, metrics)| (id.clone(), of_module(metrics))).collect()
}
