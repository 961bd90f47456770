//! The plan of off-policy algorithms.

use std::collections::BTreeMap;

use rekindle_checkpoint::State;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Generator, ModuleId};
use rekindle_env_runner::{Experience, SampleOptions};
use rekindle_learner::replay::{ROWS, ReplayBuffer, ReplayConfig, TD_ERROR};
use rekindle_learner::{ModuleData, UpdateReport};
use serde::{Deserialize, Serialize};

use super::{ExecutionPlan, StepReport, TrainingContext};
use crate::Result;

/// Stores experience in a replay buffer for each module, and learns from transitions that are drawn from it: the
/// plan of DQN.
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
    buffers: BTreeMap<ModuleId, ReplayBuffer>,
    /// Environment steps since learning started, and updates taken for them.
    learned_steps: u64,
    updates: u64,
    rng: Option<Generator>,
}

/// The part of the state that is plain data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    learned_steps: u64,
    updates: u64,
    rng: Option<Generator>,
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
            buffers: BTreeMap::new(),
            learned_steps: 0,
            updates: 0,
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

    /// Stores the experience of the modules that learn.
    fn store(&mut self, cx: &TrainingContext<'_>, experience: &Experience) -> Result<()> {
        let runners = &cx.config.env_runners;
        let num_envs = runners.num_env_runners.max(1) * runners.num_envs_per_env_runner;
        for (id, rollouts) in &experience.rollouts {
            if !cx.learner.should_module_be_updated(id) {
                continue;
            }
            let buffer = self.buffers.entry(id.clone()).or_insert_with(|| {
                let loss = cx.learner.loss(id);
                let keep = loss.map_or(&[][..], |loss| loss.required_columns());
                ReplayBuffer::new(self.config.clone(), keep.iter().copied(), num_envs)
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
        let rng = self.rng.get_or_insert_with(|| stream(seed, 0, 0, Purpose::Replay));
        let mut data = ModuleData::new();
        for (id, buffer) in &self.buffers {
            let spec = cx.learner.loss(id).and_then(|loss| loss.transitions());
            if let Some(spec) = spec.filter(|_| !buffer.is_empty()) {
                let rows = minibatches * self.batch_size;
                data.insert(id.clone(), buffer.sample(rows, &spec, cx.env_steps(), rng)?);
            }
        }
        Ok(data)
    }

    /// Takes updates. With priorities, each draws anew; otherwise all minibatches are drawn at once.
    fn learn(&mut self, cx: &mut TrainingContext<'_>, updates: usize) -> Result<()> {
        let at_once = if self.config.prioritized.is_some() { 1 } else { updates };
        for _ in 0..updates / at_once {
            let data = self.draw(cx, at_once)?;
            let data = cx.learner.prepare(data, cx.env_steps())?;
            let mut rows = BTreeMap::new();
            if self.config.prioritized.is_some() {
                for (id, data) in &data {
                    rows.insert(id.clone(), data.host()?.column(ROWS)?.as_i64()?.to_vec());
                }
            }
            let report = cx.learn(data)?;
            self.set_errors(&rows, &report);
        }
        Ok(())
    }

    fn set_errors(&mut self, rows: &BTreeMap<ModuleId, Vec<i64>>, report: &UpdateReport) {
        for (id, rows) in rows {
            let errors = report.row_values.get(id).and_then(|values| values.get(TD_ERROR));
            if let (Some(errors), Some(buffer)) = (errors, self.buffers.get_mut(id)) {
                let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
                buffer.set_errors(&rows, errors);
            }
        }
    }
}

impl ExecutionPlan for Replay {
    fn name(&self) -> &str {
        "Replay"
    }

    fn collects_batches(&self) -> bool {
        false
    }

    fn replays(&self) -> bool {
        true
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let warms_up = cx.env_steps() < self.learning_starts;
        let experience = match warms_up && self.random_warmup {
            true => cx.sample_with(self.sample_timesteps, SampleOptions::random())?,
            false => cx.sample(self.sample_timesteps)?,
        };
        self.store(cx, &experience)?;
        let sampled = experience.env_steps;
        if warms_up {
            return Ok(StepReport::new(sampled, 0));
        }
        self.learned_steps += sampled as u64;
        // From the totals, so that no rounding error accumulates.
        let all = (self.learned_steps as f64 * self.updates_per_env_step) as u64;
        let updates = all.saturating_sub(self.updates) as usize;
        if updates > 0 {
            self.updates = all;
            self.learn(cx, updates)?;
            cx.publish_weights()?;
        }
        Ok(StepReport::new(sampled, updates * self.batch_size))
    }

    fn get_state(&self) -> Result<State> {
        let (learned_steps, updates, rng) = (self.learned_steps, self.updates, self.rng.clone());
        let mut state = State::from_data(&Saved { learned_steps, updates, rng })?;
        for (id, buffer) in &self.buffers {
            state.insert_component(id, buffer.get_state()?);
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let saved = match state.data.is_null() {
            true => Saved { learned_steps: 0, updates: 0, rng: None },
            false => state.data_as()?,
        };
        let buffers = state.components.iter().map(|(id, state)| {
            Ok((id.clone(), ReplayBuffer::from_state(self.config.clone(), state)?))
        });
        self.buffers = buffers.collect::<Result<_>>()?;
        (self.learned_steps, self.updates, self.rng) =
            (saved.learned_steps, saved.updates, saved.rng);
        Ok(())
    }
}
