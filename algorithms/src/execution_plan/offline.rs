//! The plan of algorithms that learn from recorded data.

mod order;
pub(super) mod reading;
pub(super) mod rollouts;
pub(super) mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use rekindle_checkpoint::State;
use rekindle_core::{ConfigError, ModuleId};
use rekindle_learner::{Learner, LearnerError};
use rekindle_offline::OfflineSource;
use serde::{Deserialize, Serialize};

use self::order::Order;
use self::reading::Reading;
use self::rollouts::Completion;
use self::window::{SavedWindow, Window};
use super::{ExecutionPlan, StepReport, TrainingContext, check_size, minibatches_at_once};
use crate::{AlgorithmError, EnvRunnersConfig, Result};

/// Learns from recorded data ([`OfflineSource`]): the plan of BC, MARWIL, CQL, IQL and TD3+BC. No environment is
/// stepped.
///
/// Losses that learn from transitions ([`Loss::transitions`](rekindle_learner::Loss::transitions)) get minibatches of
/// them, drawn uniformly. Other losses get whole episodes, in a new random order in each pass over the data; the
/// learner's minibatches are shuffled rows of many episodes.
///
/// Steps that the learner has learned from count as environment steps, so that schedules and limits of steps have a
/// meaning. The states of recurrent modules are those of the data, or initial states at the start of each sequence if
/// the data have none.
///
/// The parts that come next are read on another thread beside the updates ([`Prefetch`](rekindle_offline::Prefetch)).
/// `timers/offline_data_wait_timer` is the time that a training step waited for data, and
/// `timers/offline_data_read_timer` the time that reading and decoding took, both in seconds.
///
/// Checkpoints hold the position in the data and its random streams, not the data.
#[derive(Debug, Clone)]
pub struct Offline {
    batch_size: usize,
    /// The order of parts for losses that learn from episodes.
    order: Order,
    /// The steps that transitions are drawn from.
    window: Window,
    /// Text that identifies the data.
    data: Option<String>,
    reading: Reading,
}

/// The state between training steps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    order: Order,
    window: SavedWindow,
    data: Option<String>,
}

/// Rows that a minibatch may have, even if the data have fewer.
const FREE_ROWS: usize = 1 << 20;

/// Checks that a minibatch is not far larger than the data.
pub(crate) fn check_batch_size(
    batch_size: usize,
    source: &dyn OfflineSource,
) -> Result<(), ConfigError> {
    let steps = source.num_steps();
    if batch_size <= steps.max(FREE_ROWS) {
        return Ok(());
    }
    let constraint = format!(
        "a minibatch has at most {FREE_ROWS} rows, or those of all {steps} steps of the data if they are more; lower it"
    );
    Err(ConfigError::new("train_batch_size", batch_size, constraint))
}

/// The modules that learn, by what their losses read.
#[derive(Debug, Default)]
struct Learning {
    by_transitions: BTreeSet<ModuleId>,
    by_episodes: BTreeSet<ModuleId>,
}

impl Learning {
    fn of(source: &dyn OfflineSource, learner: &Learner) -> Self {
        let mut learning = Self::default();
        for id in source.module_spaces().keys() {
            if !learner.should_module_be_updated(id) {
                continue;
            }
            let loss = learner.loss(id).filter(|_| !learner.learns_on_batch(id));
            match loss.and_then(|loss| loss.transitions()) {
                Some(_) => learning.by_transitions.insert(id.clone()),
                None => learning.by_episodes.insert(id.clone()),
            };
        }
        learning
    }
}

impl Offline {
    /// Creates a plan that learns from `batch_size` steps at a time.
    #[must_use]
    pub fn new(batch_size: usize) -> Self {
        let (order, window, reading) = (Order::default(), Window::default(), Reading::default());
        Self { batch_size, order, window, data: None, reading }
    }

    /// Takes updates from whole episodes. Returns the steps learned from.
    fn learn_from_episodes(
        &mut self,
        cx: &mut TrainingContext<'_>,
        source: &Arc<dyn OfflineSource>,
        ids: &BTreeSet<ModuleId>,
    ) -> Result<usize> {
        let settings = &cx.config.offline_data;
        let (mut left, buffer) = (settings.dataset_num_iters_per_learner, settings.buffer_steps);
        let seed = cx.config.debugging.seed.unwrap_or_default();
        // More steps than the data have would only repeat some.
        let at_once = source.num_steps().min(buffer).max(self.batch_size);
        let completion = Completion::of(cx.learner, ids)?;
        let most = left.saturating_mul(self.batch_size).min(at_once);
        let parts = self.reading.of(source, buffer);
        let mut trained = 0;
        while left > 0 {
            let wanted = left.saturating_mul(self.batch_size).min(at_once);
            let drawn = self.order.draw(parts, seed, wanted, &completion)?;
            parts.ask(&self.order.upcoming(&**source, seed, most));
            let data = cx.learner.gather(&drawn.rollouts)?;
            let data = cx.learner.prepare(data, cx.env_steps())?;
            cx.learn(data)?;
            cx.count_steps(drawn.steps);
            trained += drawn.steps;
            left = left.saturating_sub(drawn.largest.div_ceil(self.batch_size).max(1));
        }
        Ok(trained)
    }

    /// Takes updates from transitions. Returns the steps learned from.
    fn learn_from_transitions(
        &mut self,
        cx: &mut TrainingContext<'_>,
        source: &Arc<dyn OfflineSource>,
        ids: &BTreeSet<ModuleId>,
    ) -> Result<usize> {
        let settings = &cx.config.offline_data;
        let (mut left, buffer) = (settings.dataset_num_iters_per_learner, settings.buffer_steps);
        let seed = cx.config.debugging.seed.unwrap_or_default();
        let completion = Completion::of(cx.learner, ids)?;
        let mut trained = 0;
        while left > 0 {
            self.window.load(self.reading.of(source, 0), seed, buffer, &completion)?;
            let count = left
                .min(minibatches_at_once(self.batch_size))
                .min(self.window.minibatches_left(self.batch_size));
            let data = self.window.draw(cx, seed, count, self.batch_size)?;
            let data = cx.learner.prepare(data, cx.env_steps())?;
            cx.learn(data)?;
            let steps = count * self.batch_size;
            cx.count_steps(steps);
            trained += steps;
            left -= count;
        }
        Ok(trained)
    }
}

impl ExecutionPlan for Offline {
    fn name(&self) -> &str {
        "Offline"
    }

    fn check(&self, learner: &Learner, _: &EnvRunnersConfig) -> Result<()> {
        check_size(self.name(), "train_batch_size", self.batch_size)?;
        match learner.config().minibatch_size {
            Some(of_learner) if of_learner != self.batch_size => {
                let constraint = format!(
                    "the learner has minibatches of {of_learner}; give the plan the minibatches of the learner"
                );
                Err(ConfigError::new("batch_size", self.batch_size, constraint).into())
            }
            _ => Ok(()),
        }
    }

    fn collects_batches(&self) -> bool {
        false
    }

    fn learns_offline(&self) -> bool {
        true
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let Some(source) = cx.offline_source() else {
            return Err(invalid_state("there are no data; call `.offline_source(data)`").into());
        };
        let data = source.fingerprint();
        match &self.data {
            Some(begun) if *begun != data => {
                return Err(AlgorithmError::OtherData);
            }
            _ => self.data = Some(data),
        }
        check_batch_size(self.batch_size, &*source)?;
        let learning = Learning::of(&*source, cx.learner);
        let mut trained = 0;
        if !learning.by_episodes.is_empty() {
            trained += self.learn_from_episodes(cx, &source, &learning.by_episodes)?;
        }
        if !learning.by_transitions.is_empty() {
            trained += self.learn_from_transitions(cx, &source, &learning.by_transitions)?;
        }
        self.reading.log_times(cx)?;
        cx.publish_weights()?;
        Ok(StepReport::new(trained, trained))
    }

    fn forget_module(&mut self, id: &str) {
        self.window.forget(id);
    }

    fn get_state(&self) -> Result<State> {
        let Self { order, window, data, .. } = self.clone();
        Ok(State::from_data(&Saved { order, window: window.saved(), data })?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let saved: Saved = match state.data.is_null() {
            true => Saved { order: Order::default(), window: SavedWindow::default(), data: None },
            false => state.data_as()?,
        };
        (self.order, self.data) = (saved.order, saved.data);
        self.window = Window::from(saved.window);
        Ok(())
    }
}

/// The error of a position in data that do not fit it.
fn invalid_state(reason: &str) -> LearnerError {
    let component = "execution plan `Offline`".into();
    LearnerError::InvalidState { component, reason: reason.into() }
}
