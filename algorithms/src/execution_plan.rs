//! Execution plans: how experience becomes updates.

mod async_gradients;
mod asynchronous;
mod circular_buffer;
mod context;
mod lag;
mod offline;
mod replay;
mod synchronous;

use std::fmt::Debug;

use rekindle_checkpoint::State;
use rekindle_core::ConfigError;
use rekindle_learner::{Learner, LearnerError, ModuleData};

pub(crate) use self::circular_buffer::{data_from, data_state};
pub(crate) use self::context::gather_metrics;
use crate::{AlgorithmError, EnvRunnersConfig, Result};

pub use async_gradients::AsyncGradients;
pub use asynchronous::Asynchronous;
pub use context::{StepReport, TrainingContext};
pub use offline::Offline;
pub(crate) use offline::check_batch_size;
pub use replay::Replay;
pub use synchronous::Synchronous;

/// How experience becomes updates: one training step of an algorithm; RLlib's `training_step`, and its
/// `execution_plan` before.
///
/// A plan is made of the operators of [`TrainingContext`]: sample, prepare, learn, publish the weights.
/// [`Synchronous`] is the plan of PPO:
///
/// ```
/// use rekindle_algorithms::{ExecutionPlan, Result, StepReport, TrainingContext};
/// use rekindle_checkpoint::State;
///
/// #[derive(Debug, Clone)]
/// struct SampleAndLearn;
///
/// impl ExecutionPlan for SampleAndLearn {
///     fn name(&self) -> &str {
///         "SampleAndLearn"
///     }
///
///     fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
///         let experience = cx.sample(512)?;
///         cx.update(&experience)?;
///         cx.publish_weights()?;
///         Ok(StepReport::of(&experience))
///     }
///
///     fn get_state(&self) -> Result<State> {
///         Ok(State::new()) // The plan keeps nothing between steps.
///     }
/// }
/// ```
///
/// A plan that keeps something between steps, even a counter, returns it from
/// [`get_state`](Self::get_state) and reads it in [`set_state`](Self::set_state).
///
/// A step leaves nothing in flight: all runners are idle when it returns, and experience that the plan
/// keeps for the next step is part of its state. An algorithm can therefore be saved, changed or dropped
/// between any two steps.
pub trait ExecutionPlan: Debug + Send {
    /// Returns the name, for messages and checkpoints.
    fn name(&self) -> &str;

    /// Checks that the plan's settings are in range, and that it fits the losses of the learner and the settings
    /// of the runners: at build, and when a module is added or replaced. By default, all fit.
    ///
    /// # Errors
    /// [`AlgorithmError::PlanDoesNotFit`](crate::AlgorithmError::PlanDoesNotFit) if a loss does not fit;
    /// [`AlgorithmError::Config`](crate::AlgorithmError::Config) for a setting.
    fn check(&self, _learner: &Learner, _env_runners: &EnvRunnersConfig) -> Result<()> {
        Ok(())
    }

    /// Whether the plan collects batches of `train_batch_size` steps, so that one fragment of all environments
    /// must not be larger. Defaults to `true`.
    fn collects_batches(&self) -> bool {
        true
    }

    /// Runs one training step.
    ///
    /// # Errors
    /// If sampling or an update fails.
    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport>;

    /// Whether the plan can learn from experience on the device
    /// ([`EnvRunnersConfig::on_device`](crate::EnvRunnersConfig::on_device)): it leaves sampling and learning
    /// to the operators of [`TrainingContext`] and reads no column on the host. Defaults to `false`.
    fn learns_on_device(&self) -> bool {
        false
    }

    /// Whether several learners can share the updates of the plan
    /// ([`LearnersConfig::num_learners`](crate::LearnersConfig::num_learners)): it leaves them to
    /// [`TrainingContext::update`] or [`TrainingContext::learn`], and computes no gradients itself. Defaults to `true`.
    fn shares_updates(&self) -> bool {
        true
    }

    /// Whether the plan hands transitions from replay buffers to the losses
    /// ([`Loss::transitions`](rekindle_learner::Loss::transitions)). Modules that learn from a batch by themselves
    /// have no loss: such a plan lets them learn from experience as it was sampled
    /// ([`TrainingContext::learn_on_batches`]). Defaults to `false`.
    fn replays(&self) -> bool {
        false
    }

    /// Whether the plan learns from recorded data
    /// ([`TrainingContext::offline_source`]) and samples nothing, so that no environment is needed. Defaults to
    /// `false`.
    fn learns_offline(&self) -> bool {
        false
    }

    /// Whether the plan reads recorded data ([`TrainingContext::offline_source`]). Settings of data are errors
    /// otherwise. Defaults to [`learns_offline`](Self::learns_offline).
    fn reads_data(&self) -> bool {
        self.learns_offline()
    }

    /// Whether the plan can learn from batches that runners in other processes collect
    /// ([`learn_from_batch`](Self::learn_from_batch)). Defaults to `false`.
    fn takes_batches(&self) -> bool {
        false
    }

    /// Learns from a batch that a runner in another process collected, as
    /// [`Algorithm::learn_from`](crate::Algorithm::learn_from) does. Experience of modules that were removed is left out.
    ///
    /// # Errors
    /// [`AlgorithmError::NotRemote`] for a plan that does not [take batches](Self::takes_batches); otherwise if a loss
    /// or a forward pass fails.
    fn learn_from_batch(&mut self, _: &mut TrainingContext<'_>, _: ModuleData) -> Result<()> {
        Err(AlgorithmError::NotRemote { plan: self.name().to_owned() })
    }

    /// Returns the names of the values per row that the plan reads from the losses
    /// ([`Losses::row_values`](rekindle_learner::Losses)). A loss that does not return them is refused at build, unless
    /// it is that of a module with a loss of its own. Defaults to none.
    fn required_row_values(&self) -> &'static [&'static str] {
        &[]
    }

    /// Drops what the plan keeps of a module that was removed. By default, it keeps nothing.
    fn forget_module(&mut self, _id: &str) {}

    /// Returns everything that the plan keeps between steps, or [`State::new`] if it keeps nothing.
    ///
    /// There is no default: a plan without this method would lose its state in every checkpoint.
    ///
    /// # Errors
    /// If the state does not serialize.
    fn get_state(&self) -> Result<State>;

    /// Replaces everything that the plan keeps between steps. An empty state stands for a new plan. By
    /// default, no other state is accepted.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state belongs to another plan.
    fn set_state(&mut self, state: &State) -> Result<()> {
        if state.is_empty() {
            return Ok(());
        }
        let component = format!("execution plan `{}`", self.name());
        let reason = "it has no state here; implement `set_state` beside `get_state`".into();
        Err(LearnerError::InvalidState { component, reason }.into())
    }

    /// Replaces everything that the plan keeps between steps, when an algorithm is restored from a checkpoint. May move
    /// large parts out of the state. Defaults to [`set_state`](Self::set_state).
    ///
    /// # Errors
    /// As [`set_state`](Self::set_state).
    fn restore(&mut self, state: State) -> Result<()> {
        self.set_state(&state)
    }

    /// Returns the state that checkpoints hold, for plans that leave out a large part of it. Defaults to
    /// [`get_state`](Self::get_state).
    ///
    /// # Errors
    /// As [`get_state`](Self::get_state).
    fn get_saved_state(&self) -> Result<State> {
        self.get_state()
    }
}

/// Checks that losses which learn from replayed transitions get some, and no others.
///
/// # Errors
/// [`AlgorithmError::PlanDoesNotFit`] that names plan, module and loss.
pub(crate) fn check_replay(plan: &dyn ExecutionPlan, learner: &Learner) -> Result<()> {
    for id in learner.module().keys() {
        let Some(loss) = learner.loss(id).filter(|_| learner.should_module_be_updated(id)) else {
            continue;
        };
        // Data serve both kinds of losses.
        if learner.learns_on_batch(id) || plan.learns_offline() {
            continue;
        }
        let (id, name) = (id.clone(), loss.name().to_owned());
        let error = match (loss.transitions().is_some(), plan.replays()) {
            (true, false) => LearnerError::NeedsReplay { id, loss: name },
            (false, true) => LearnerError::NotReplayed { id, loss: name },
            _ => continue,
        };
        let (plan, source) = (plan.name().into(), Box::new(error));
        return Err(AlgorithmError::PlanDoesNotFit { plan, source });
    }
    Ok(())
}

/// Rows of the minibatches that are drawn together, at most, if they are several. It bounds their memory.
const ROWS_AT_ONCE: usize = 1 << 16;

/// Returns how many minibatches of `batch_size` rows are drawn together, at most.
fn minibatches_at_once(batch_size: usize) -> usize {
    (ROWS_AT_ONCE / batch_size.max(1)).clamp(1, 256)
}

/// Checks a size of a plan.
fn check_size(plan: &str, field: &'static str, size: usize) -> Result<(), ConfigError> {
    if size > 0 {
        return Ok(());
    }
    let constraint = format!("the execution plan `{plan}` needs at least 1; raise it");
    Err(ConfigError::new(field, size, constraint))
}
