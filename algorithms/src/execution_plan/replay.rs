//! The plan of off-policy algorithms.

use std::collections::BTreeMap;

use rekindle_checkpoint::State;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Columns, ConfigError, Generator, HostBatch, ModuleId};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{Experience, SampleOptions};
use rekindle_learner::replay::{ROWS, ReplayBuffer, ReplayConfig, TD_ERROR};
use rekindle_learner::{Learner, LearnerConfig, LearnerError, ModuleData, TrainData, UpdateReport};
use serde::{Deserialize, Serialize};

use super::offline::reading::Reading;
use super::offline::rollouts::Completion;
use super::offline::window::{SavedWindow, Window};
use super::{ExecutionPlan, StepReport, TrainingContext, minibatches_at_once};
use crate::{AlgorithmError, EnvRunnersConfig, Result};

/// Stores experience in a replay buffer for each module, and learns from transitions that are drawn from it: the
/// plan of DQN, SAC and TD3.
///
/// Modules that learn from a batch by themselves ([`LearnOnBatch`](rekindle_rl_module::LearnOnBatch)) read whole
/// trajectories, which drawn transitions are not. They have no buffer, and learn once from what each training step
/// samples, from the first one on.
///
/// A training step collects some environment steps, with all runners, and then takes `updates_per_env_step`
/// updates for each of them; a fraction is carried over. All counts are of environment steps, so that they mean
/// the same with any number of environments.
#[derive(Debug, Clone)]
pub struct Replay {
    config: ReplayConfig,
    batch_size: usize,
    learning_starts: u64,
    random_warmup: bool,
    sample_timesteps: usize,
    updates_per_env_step: f64,
    refill: Refill,
    /// Share of each minibatch that is drawn from recorded data.
    data_share: f64,
    /// The recorded data.
    window: Window,
    reading: Reading,
    buffers: BTreeMap<ModuleId, ReplayBuffer>,
    /// Updates that are due: below 1 between two steps.
    due: f64,
    rng: Option<Generator>,
}

/// Progress of a run that replaces the steps which its checkpoint left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refill {
    /// The buffers are complete.
    #[default]
    None,
    /// The run was restored without steps, and has not sampled since.
    Due,
    /// Learning starts again at this environment step.
    Until(u64),
}

/// Far below the smallest part of an update, and far above rounding errors.
const ROUNDING: f64 = 1e-9;

/// The part of the state that is plain data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    due: f64,
    rng: Option<Generator>,
    #[serde(default)]
    refill: Refill,
    /// The position in recorded data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<SavedWindow>,
}

impl Replay {
    /// Creates a plan that learns from `batch_size` transitions at a time: after each environment step, from the
    /// first one on.
    #[must_use]
    pub fn new(config: ReplayConfig, batch_size: usize) -> Self {
        Self {
            config,
            batch_size: batch_size.max(1),
            learning_starts: 0,
            random_warmup: false,
            sample_timesteps: 1,
            updates_per_env_step: 1.0,
            refill: Refill::None,
            data_share: 0.0,
            window: Window::default(),
            reading: Reading::default(),
            buffers: BTreeMap::new(),
            due: 0.0,
            rng: None,
        }
    }

    /// Sets the environment steps before the first update. Defaults to 0.
    #[must_use]
    pub fn learning_starts(mut self, env_steps: u64) -> Self {
        self.learning_starts = env_steps;
        self
    }

    /// Sets whether actions are drawn at random, each with equal probability, before learning starts. Defaults
    /// to `false`: the modules explore.
    #[must_use]
    pub fn random_warmup(mut self, random_warmup: bool) -> Self {
        self.random_warmup = random_warmup;
        self
    }

    /// Sets the environment steps that a training step collects. Defaults to 1.
    #[must_use]
    pub fn sample_timesteps(mut self, env_steps: usize) -> Self {
        self.sample_timesteps = env_steps.max(1);
        self
    }

    /// Sets the updates per environment step. Defaults to 1.
    #[must_use]
    pub fn updates_per_env_step(mut self, updates: f64) -> Self {
        self.updates_per_env_step = updates;
        self
    }

    /// Sets the share of each minibatch that is drawn from the recorded data of the configuration
    /// ([`offline_source`](crate::AlgorithmConfig::offline_source), `offline_data.input_`); the rest is drawn from the
    /// replay buffer (RLPD; Ball et al., 2023, with 0.5). Defaults to 0. Needs a replay buffer without priorities, and
    /// modules without memory.
    #[must_use]
    pub fn data_share(mut self, share: f64) -> Self {
        self.data_share = share;
        self
    }

    /// Returns the transitions of a minibatch that come from data.
    fn rows_of_data(&self) -> usize {
        (self.batch_size as f64 * self.data_share).round() as usize
    }

    /// Whether the run still replaces the steps that its checkpoint left out.
    fn refills(&mut self, env_steps: u64) -> bool {
        if self.refill == Refill::Due {
            self.refill = Refill::Until(env_steps + self.learning_starts);
        }
        if matches!(self.refill, Refill::Until(step) if step <= env_steps) {
            self.refill = Refill::None;
        }
        self.refill != Refill::None
    }

    /// Returns the state without buffers.
    fn without_steps(&self, refill: Refill) -> Result<State> {
        let window = (self.data_share > 0.0).then(|| self.window.clone().saved());
        Ok(State::from_data(&Saved { due: self.due, rng: self.rng.clone(), refill, window })?)
    }

    /// Stores the experience of the modules that learn.
    fn store(&mut self, cx: &TrainingContext<'_>, experience: &Experience) -> Result<()> {
        let runners = &cx.config.env_runners;
        let num_envs = runners.num_env_runners.max(1) * runners.num_envs_per_env_runner;
        for (id, rollouts) in &experience.rollouts {
            if !cx.learner.should_module_be_updated(id) || cx.learner.learns_on_batch(id) {
                continue;
            }
            let buffer = self.buffers.entry(id.clone()).or_insert_with(|| {
                let loss = cx.learner.loss(id);
                let keep = loss.map_or(&[][..], |loss| loss.required_columns());
                let state = sequence_len(cx.learner, id).map(|_| Columns::STATE_IN);
                let keep = keep.iter().copied().chain(state);
                let frames = ConnectorConfig::num_frames(&runners.env_to_module_connector, id);
                let buffer = ReplayBuffer::new(self.config.clone(), keep, num_envs);
                buffer.num_frames(frames)
            });
            for rollout in rollouts {
                buffer.push(rollout)?;
            }
        }
        Ok(())
    }

    /// Draws minibatches of every module, one after the other.
    fn draw(&mut self, cx: &TrainingContext<'_>, minibatches: usize) -> Result<ModuleData> {
        let seed = cx.config.debugging.seed.unwrap_or_default();
        let of_data = self.rows_of_data();
        let mut recorded = match of_data {
            0 => ModuleData::new(),
            of_data => self.draw_from_data(cx, minibatches, of_data)?,
        };
        let of_buffer = self.batch_size - of_data;
        let rng = self.rng.get_or_insert_with(|| stream(seed, 0, 0, Purpose::Replay));
        let mut data = ModuleData::new();
        for (id, buffer) in &self.buffers {
            let spec = cx.learner.loss(id).and_then(|loss| loss.transitions());
            if let Some(spec) = spec.filter(|_| !buffer.is_empty()) {
                let env_steps = cx.env_steps();
                let drawn = match sequence_len(cx.learner, id) {
                    None => {
                        let drawn =
                            buffer.sample(minibatches * of_buffer, &spec, env_steps, rng)?;
                        match recorded.remove(id) {
                            Some(recorded) => mixed([drawn, recorded], [of_buffer, of_data])?,
                            None => drawn,
                        }
                    }
                    Some(len) => {
                        let sequences = minibatches * sequences(self.batch_size, len);
                        buffer.sample_sequences(sequences, len, &spec, env_steps, rng)?
                    }
                };
                data.insert(id.clone(), drawn);
            }
        }
        Ok(data)
    }

    /// Returns the steps that an update learns from. Where a module has memory, these are whole sequences.
    fn steps_of_update(&self, learner: &Learner) -> usize {
        let of_module = |id: &ModuleId| {
            let len = sequence_len(learner, id)?;
            Some(sequences(self.batch_size, len) * len)
        };
        self.buffers.keys().filter_map(of_module).max().unwrap_or(self.batch_size)
    }

    /// Draws transitions from the recorded data.
    fn draw_from_data(
        &mut self,
        cx: &TrainingContext<'_>,
        minibatches: usize,
        count: usize,
    ) -> Result<ModuleData> {
        let Some(source) = cx.offline_source() else { return Ok(ModuleData::new()) };
        let seed = cx.config.debugging.seed.unwrap_or_default();
        let ids = self.buffers.keys().cloned().collect();
        let completion = Completion::of(cx.learner, &ids)?;
        let buffer = cx.config.offline_data.buffer_steps;
        self.window.load(self.reading.of(&source, 0), seed, buffer, &completion)?;
        self.window.draw(cx, seed, minibatches, count)
    }

    /// Takes updates. With priorities, each draws anew; otherwise all minibatches are drawn at once.
    fn learn(&mut self, cx: &mut TrainingContext<'_>, updates: usize) -> Result<()> {
        let at_once = match self.config.prioritized {
            Some(_) => 1,
            None => updates.clamp(1, minibatches_at_once(self.batch_size)),
        };
        for first in (0..updates).step_by(at_once) {
            let data = self.draw(cx, at_once.min(updates - first))?;
            let data = cx.learner.prepare(data, cx.env_steps())?;
            let mut rows = BTreeMap::new();
            if self.config.prioritized.is_some() {
                for (id, data) in &data {
                    rows.insert(id.clone(), Drawn::of(data)?);
                }
            }
            let report = cx.learn(data)?;
            self.set_errors(&rows, &report);
        }
        Ok(())
    }

    fn set_errors(&mut self, drawn: &BTreeMap<ModuleId, Drawn>, report: &UpdateReport) {
        for (id, Drawn { rows, sequences }) in drawn {
            let errors = report.row_values.get(id).and_then(|values| values.get(TD_ERROR));
            if let (Some(errors), Some(buffer)) = (errors, self.buffers.get_mut(id)) {
                match sequences {
                    None => buffer.set_errors(rows, errors),
                    Some((padded, mask)) => buffer.set_sequence_errors(rows, errors, mask, *padded),
                };
            }
        }
    }
}

/// Mixes transitions of two kinds into minibatches with some number of each.
fn mixed(kinds: [TrainData; 2], counts: [usize; 2]) -> Result<TrainData> {
    let [first, second] = &kinds;
    let (first, second) = (first.host()?, second.host()?);
    let minibatches = (first.rows() / counts[0].max(1)).max(second.rows() / counts[1].max(1));
    let order: Vec<usize> = (0..minibatches)
        .flat_map(|index| {
            let of_second = first.rows() + index * counts[1];
            (index * counts[0]..(index + 1) * counts[0]).chain(of_second..of_second + counts[1])
        })
        .collect();
    let mut batch = HostBatch::new();
    // Rows of the replay buffer have no meaning in the data.
    for (name, column) in first.iter().filter(|(name, _)| *name != ROWS) {
        let mut all = column.clone();
        let more = second.column(name)?;
        all.extend_from(more, 0..more.rows()).map_err(|source| LearnerError::ColumnLayout {
            column: name.to_owned(),
            source: Box::new(source),
        })?;
        batch.insert(name.to_owned(), all.gather(&order).map_err(LearnerError::from)?)?;
    }
    Ok(TrainData::from(batch))
}

/// The rows that were drawn, for their priorities.
struct Drawn {
    rows: Vec<usize>,
    /// The rows of a sequence, and which of all rows count.
    sequences: Option<(usize, Vec<f32>)>,
}

impl Drawn {
    fn of(data: &TrainData) -> Result<Self> {
        let rows = data.host()?.column(ROWS)?.as_i64()?.iter().map(|row| *row as usize);
        let mask = || Ok::<_, AlgorithmError>(data.as_f32(Columns::LOSS_MASK)?.to_vec());
        let sequences =
            data.sequences.as_ref().map(|of| Ok::<_, AlgorithmError>((of.len, mask()?)));
        Ok(Self { rows: rows.collect(), sequences: sequences.transpose()? })
    }
}

/// Returns the number of sequences of `len` steps in a minibatch of `batch_size` steps.
pub(super) fn sequences(batch_size: usize, len: usize) -> usize {
    (batch_size / len).max(1)
}

/// Returns the number of steps of a module's sequences; `None` for a module without memory.
pub(super) fn sequence_len(learner: &Learner, id: &str) -> Option<usize> {
    let module = learner.module().get(id)?;
    // An initial state that fails is reported by the runners.
    let has_memory = matches!(module.initial_state(), Ok(Some(_)));
    has_memory.then(|| module.max_seq_len().max(1))
}

impl ExecutionPlan for Replay {
    fn name(&self) -> &str {
        "Replay"
    }

    fn check(&self, learner: &Learner, _: &EnvRunnersConfig) -> Result<()> {
        let plan = |field: &'static str, value: String, constraint: String| {
            Err(AlgorithmError::from(ConfigError::new(field, value, constraint)))
        };
        self.config.check_fields()?;
        if !(0.0..=1.0).contains(&self.data_share) {
            let constraint = "it is a share of each minibatch, from 0 to 1".into();
            return plan("data_share", self.data_share.to_string(), constraint);
        }
        if self.rows_of_data() > 0 {
            let memory = learner
                .module()
                .iter()
                .find(|(_, module)| matches!(module.initial_state(), Ok(Some(_))));
            let constraint = match memory {
                _ if self.config.prioritized.is_some() => {
                    "recorded data have no priorities; use a replay buffer without, or set it to 0"
                        .into()
                }
                Some((id, _)) => format!(
                    "transitions of data are single steps, and module `{id}` has memory; use a module without, or set it to 0"
                ),
                None => String::new(),
            };
            if !constraint.is_empty() {
                return plan("data_share", self.data_share.to_string(), constraint);
            }
        }
        let reads_returns = |id: &ModuleId| {
            let columns = learner.loss(id).map_or(&[][..], |loss| loss.required_columns());
            columns.contains(&Columns::RETURNS_TO_GO)
        };
        if let Some(id) = learner.module().keys().find(|id| reads_returns(id)) {
            let constraint = format!(
                "the loss of module `{id}` reads the returns of whole episodes (CQL with `calibrated`), and the plan replays steps of episodes that go on; learn with the plan `Offline`, or set `calibrated` to false"
            );
            return plan("execution_plan", self.name().into(), constraint);
        }
        let rate = self.updates_per_env_step;
        if !(rate > 0.0 && rate.is_finite()) {
            let constraint = "the execution plan `Replay` needs a positive number".into();
            return plan("updates_per_env_step", rate.to_string(), constraint);
        }
        let LearnerConfig { minibatch_size, num_epochs, .. } = learner.config();
        if *minibatch_size != Some(self.batch_size) || *num_epochs != 1 {
            let of_learner = minibatch_size.map_or("none".into(), |size| size.to_string());
            let constraint = format!(
                "the learner has minibatches of {of_learner} and {num_epochs} epochs; give the plan the minibatches of the learner, which learns once from each"
            );
            return plan("batch_size", self.batch_size.to_string(), constraint);
        }
        for id in learner.module().keys() {
            let Some(len) = sequence_len(learner, id) else { continue };
            let steps = sequences(self.batch_size, len) * len;
            if steps != self.batch_size {
                tracing::warn!(
                    module = id,
                    train_batch_size = self.batch_size,
                    max_seq_len = len,
                    "an update learns from {steps} steps, because it draws whole sequences; set `train_batch_size` to a multiple of `max_seq_len`"
                );
            }
        }
        Ok(())
    }

    fn collects_batches(&self) -> bool {
        false
    }

    fn replays(&self) -> bool {
        true
    }

    fn reads_data(&self) -> bool {
        self.rows_of_data() > 0
    }

    fn required_row_values(&self) -> &'static [&'static str] {
        if self.config.prioritized.is_some() { &[TD_ERROR] } else { &[] }
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let is_new = cx.env_steps() < self.learning_starts;
        let warms_up = is_new || self.refills(cx.env_steps());
        let experience = match is_new && self.random_warmup {
            true => cx.sample_with(self.sample_timesteps, SampleOptions::random())?,
            false => cx.sample(self.sample_timesteps)?,
        };
        self.store(cx, &experience)?;
        cx.learn_on_batches(&experience)?;
        let sampled = experience.env_steps;
        let mut updates = 0;
        if !warms_up {
            self.due += sampled as f64 * self.updates_per_env_step;
            // Rounding errors do not put off an update.
            updates = (self.due + ROUNDING) as usize;
            self.due -= updates as f64;
            self.learn(cx, updates)?;
            self.reading.log_times(cx)?;
        }
        // Also without an update: exploration depends on the environment steps so far.
        cx.publish_weights()?;
        let learned = updates.saturating_mul(self.steps_of_update(cx.learner));
        Ok(StepReport::new(sampled, learned))
    }

    fn forget_module(&mut self, id: &str) {
        self.buffers.remove(id);
        self.window.forget(id);
    }

    fn get_state(&self) -> Result<State> {
        let mut state = self.without_steps(self.refill)?;
        for (id, buffer) in &self.buffers {
            state.insert_component(id, buffer.get_state()?);
        }
        Ok(state)
    }

    fn get_saved_state(&self) -> Result<State> {
        let has_steps = self.buffers.values().any(|buffer| !buffer.is_empty());
        match self.config.in_checkpoints || !has_steps {
            true => self.get_state(),
            false => self.without_steps(Refill::Due),
        }
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.restore(state.clone())
    }

    fn restore(&mut self, state: State) -> Result<()> {
        let saved = match state.data.is_null() {
            true => Saved { due: 0.0, rng: None, refill: Refill::None, window: None },
            false => state.data_as()?,
        };
        let buffers = state
            .components
            .into_iter()
            .map(|(id, state)| Ok((id, ReplayBuffer::from_state(self.config.clone(), state)?)));
        let buffers = buffers.collect::<Result<_>>()?;
        if !saved.due.is_finite() || saved.due.abs() > 1.0 {
            let reason =
                format!("{} updates are due, and less than one is between two steps", saved.due);
            let component = "execution plan".into();
            return Err(LearnerError::InvalidState { component, reason }.into());
        }
        (self.buffers, self.due, self.rng) = (buffers, saved.due, saved.rng);
        self.refill = saved.refill;
        self.window = Window::from(saved.window.unwrap_or_default());
        if self.refill == Refill::Due {
            tracing::warn!(
                env_steps = self.learning_starts,
                "restored without the steps of the replay buffer; learning starts after this many new ones"
            );
        }
        Ok(())
    }
}
