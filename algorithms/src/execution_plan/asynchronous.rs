//! The plan of IMPALA and APPO: runners and learner do not wait for each other.

mod free_running;
mod rounds;

use std::panic::resume_unwind;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use rekindle_checkpoint::State;
use rekindle_core::{ConfigError, ModuleId};
use rekindle_env_runner::{Amount, SampleOptions};
use rekindle_learner::{Learner, ModuleData};
use rekindle_rl_module::Role;
use serde::{Deserialize, Serialize};

use super::circular_buffer::{CircularBuffer, data_from, data_state};
use super::{ExecutionPlan, StepReport, TrainingContext, check_size};
use crate::{AlgorithmError, EnvRunnersConfig, Result};

/// Learns on one thread while runners collect on others: the plan of IMPALA and APPO.
///
/// Each runner starts its next fragment as soon as it has handed over the last one, with the newest
/// weights that were published. The learner's thread receives batches of fragments through a bounded
/// queue: if it falls behind, runners wait; if they fall behind, it sleeps. The policy that acted is a few
/// updates older than the one that learns, which the loss must correct (V-trace).
///
/// A training step learns from several batches and then lets all runners finish, so that a checkpoint
/// loses nothing. With [`deterministic`](Self::deterministic), the order in which experience is handed
/// over is fixed, and equal seeds give equal runs.
#[derive(Debug, Clone)]
pub struct Asynchronous {
    settings: Settings,
    /// Batches that are learned from several times; made in the first step, when the seed is known.
    buffer: Option<CircularBuffer>,
    /// Experience that the next step learns from. Only the deterministic mode leaves any.
    pending: Option<Pending>,
}

/// A batch that waits for the learner.
#[derive(Debug, Clone)]
struct Pending {
    data: ModuleData,
    /// Environment steps sampled until then.
    env_steps: u64,
    /// Environment steps of the batch.
    sampled: usize,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    train_batch_size: usize,
    fragment: usize,
    queue_size: usize,
    broadcast_interval: u64,
    batches_per_step: usize,
    /// Capacity and iterations of the circular buffer.
    circular_buffer: Option<[usize; 2]>,
    deterministic: bool,
}

/// The state between steps.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SavedPlan {
    pending_env_steps: Option<u64>,
    #[serde(default)]
    pending_sampled: usize,
}

/// Batches that may wait at most. The queue has room for all from the start.
const LONGEST_QUEUE: usize = 10_000;

const PENDING: &str = "pending";
const BUFFER: &str = "circular_buffer";

impl Asynchronous {
    /// Creates a plan that learns from batches of at least `train_batch_size` environment steps, which
    /// runners collect in fragments of `fragment` steps of each environment.
    #[must_use]
    pub fn new(train_batch_size: usize, fragment: usize) -> Self {
        let settings = Settings {
            train_batch_size,
            fragment,
            queue_size: 3,
            broadcast_interval: 1,
            batches_per_step: 8,
            circular_buffer: None,
            deterministic: false,
        };
        Self { settings, buffer: None, pending: None }
    }

    /// Sets the number of batches that may wait for the learner. Defaults to 3.
    #[must_use]
    pub fn queue_size(mut self, queue_size: usize) -> Self {
        self.settings.queue_size = queue_size;
        self
    }

    /// Sets the number of updates after which the runners get new weights. They also get them at the end of
    /// each training step. Defaults to 1.
    #[must_use]
    pub fn broadcast_interval(mut self, broadcast_interval: u64) -> Self {
        self.settings.broadcast_interval = broadcast_interval.max(1);
        self
    }

    /// Sets the number of batches that a training step collects. Defaults to 8.
    #[must_use]
    pub fn batches_per_step(mut self, batches_per_step: usize) -> Self {
        self.settings.batches_per_step = batches_per_step.max(1);
        self
    }

    /// Learns from each batch `iterations` times, mixed with up to `num_batches` others. By default, each
    /// batch is learned from once, in order.
    #[must_use]
    pub fn circular_buffer(mut self, num_batches: usize, iterations: usize) -> Self {
        self.settings.circular_buffer = Some([num_batches, iterations]);
        self
    }

    /// Sets whether experience is handed over in a fixed order: runners collect the next batch while the
    /// learner learns from the last one, and both wait for each other. Defaults to `false`.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.settings.deterministic = deterministic;
        self
    }

    /// Makes the circular buffer before it is first used, if the settings ask for one.
    fn make_buffer(&mut self, cx: &TrainingContext<'_>) {
        if self.buffer.is_none() {
            self.buffer = self.new_buffer(cx.config.debugging.seed.unwrap_or_default());
        }
    }

    /// Returns an empty circular buffer, if the settings ask for one.
    fn new_buffer(&self, seed: u64) -> Option<CircularBuffer> {
        let [capacity, iterations] = self.settings.circular_buffer?;
        Some(CircularBuffer::new(capacity, iterations, seed))
    }
}

impl ExecutionPlan for Asynchronous {
    fn name(&self) -> &str {
        "Asynchronous"
    }

    fn check(&self, _: &Learner, env_runners: &EnvRunnersConfig) -> Result<()> {
        let Settings { train_batch_size, fragment, queue_size, circular_buffer, .. } =
            self.settings;
        check_size(self.name(), "train_batch_size", train_batch_size)?;
        check_size(self.name(), "fragment_length", fragment)?;
        if let Some([batches, iterations]) = circular_buffer {
            check_size(self.name(), "circular_buffer_num_batches", batches)?;
            check_size(self.name(), "circular_buffer_iterations_per_batch", iterations)?;
        }
        if queue_size > LONGEST_QUEUE {
            let constraint = format!("at most {LONGEST_QUEUE} batches may wait; lower it");
            return Err(ConfigError::new("learner_queue_size", queue_size, constraint).into());
        }
        let of = format!("the execution plan `{}`", self.name());
        Ok(env_runners.check_truncates_episodes(&of)?)
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        self.make_buffer(cx);
        match self.settings.deterministic {
            true => self.rounds(cx),
            false => self.free_running(cx),
        }
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn learn_from_batch(&mut self, cx: &mut TrainingContext<'_>, data: ModuleData) -> Result<()> {
        self.make_buffer(cx);
        learn(cx.learner, self.buffer.as_mut(), data, cx.env_steps())
    }

    fn get_state(&self) -> Result<State> {
        let mut state = State::new();
        if let Some(Pending { data, env_steps, sampled }) = &self.pending {
            let (pending_env_steps, pending_sampled) = (Some(*env_steps), *sampled);
            state = State::from_data(&SavedPlan { pending_env_steps, pending_sampled })?;
            state.insert_component(PENDING, data_state(data)?);
        }
        if let Some(buffer) = &self.buffer {
            state.insert_component(BUFFER, buffer.get_state()?);
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let pending = match state.components.get(PENDING) {
            Some(data) => {
                let saved: SavedPlan = state.data_as()?;
                Some(Pending {
                    data: data_from(data)?,
                    env_steps: saved.pending_env_steps.unwrap_or_default(),
                    sampled: saved.pending_sampled,
                })
            }
            None => None,
        };
        let mut buffer = None;
        if let Some(saved) = state.components.get(BUFFER) {
            // The saved stream replaces that of the seed.
            buffer = self.new_buffer(0);
            match &mut buffer {
                Some(buffer) => buffer.set_state(saved)?,
                None => tracing::warn!(
                    "the batches in the saved circular buffer are lost: this plan has no such buffer"
                ),
            }
        }
        (self.pending, self.buffer) = (pending, buffer);
        Ok(())
    }
}

impl Settings {
    /// The amount of one fragment.
    fn amount(&self, cx: &TrainingContext<'_>) -> Amount {
        let num_envs = cx.config.env_runners.num_envs_per_env_runner;
        cx.config.count_steps_by().amount(self.fragment.saturating_mul(num_envs))
    }

    fn options(cx: &TrainingContext<'_>) -> SampleOptions {
        SampleOptions::default().explore(cx.config.env_runners.explore)
    }
}

/// Starts the learner's thread.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let thread = Builder::new().name("learner".into());
    thread.spawn_scoped(scope, work).map_err(AlgorithmError::NoLearnerThread)
}

/// Waits for the learner's thread, and propagates its panic.
fn join<T>(learner: ScopedJoinHandle<'_, T>) -> T {
    learner.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Learns from a batch, or from draws of the circular buffer after it was added. Modules that learn from a batch
/// by themselves learn once from each. Experience of modules that were removed since it was sampled, or replaced
/// by one with another recurrent state, is left out.
pub(super) fn learn(
    learner: &mut Learner,
    buffer: Option<&mut CircularBuffer>,
    data: ModuleData,
    env_steps: u64,
) -> Result<()> {
    let data = learner.prepare(fitting(learner, data)?, env_steps)?;
    let Some(buffer) = buffer else {
        learner.learn(data, env_steps)?;
        return Ok(());
    };
    let by_itself = |id: &ModuleId| {
        learner.module().get(id).is_some_and(|module| module.has_role(Role::LearnOnBatch))
    };
    let (mut once, often): (ModuleData, ModuleData) =
        data.into_iter().partition(|(id, _)| by_itself(id));
    if !often.is_empty() || once.is_empty() {
        buffer.push(often, learner.weights_seq_no());
    }
    let mut drawn = 0;
    while let Some((mut data, version)) = buffer.draw(drawn) {
        data.retain(|id, _| learner.replaced_at(id).is_none_or(|replaced| replaced <= version));
        let mut data = fitting(learner, data)?;
        data.append(&mut once);
        learner.learn(data, env_steps)?;
        drawn += 1;
    }
    if !once.is_empty() {
        learner.learn(once, env_steps)?;
    }
    Ok(())
}

/// Returns the experience that the learner's modules can learn from.
fn fitting(learner: &Learner, mut data: ModuleData) -> Result<ModuleData> {
    let mut stale = Vec::new();
    for (id, data) in &data {
        let fits = match learner.module().module(id) {
            Ok(module) => data.fits(module)?,
            Err(_) => false,
        };
        if !fits {
            stale.push(id.clone());
        }
    }
    for id in stale {
        let rows = data.remove(&id).map_or(0, |data| data.rows());
        tracing::warn!(
            module = id,
            rows,
            "left out experience of a module that was removed or replaced"
        );
    }
    Ok(data)
}
