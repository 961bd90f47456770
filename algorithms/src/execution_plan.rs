//! Execution plans: how experience becomes updates.

mod async_gradients;
mod asynchronous;
mod circular_buffer;
mod context;
mod lag;
mod replay;
mod synchronous;

use std::fmt::Debug;

use rekindle_checkpoint::State;
use rekindle_learner::Learner;

use crate::Result;

pub use async_gradients::AsyncGradients;
pub use asynchronous::Asynchronous;
pub use context::{StepReport, TrainingContext};
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
/// }
/// ```
///
/// A step leaves nothing in flight: all runners are idle when it returns, and experience that the plan
/// keeps for the next step is part of its state. An algorithm can therefore be saved, changed or dropped
/// between any two steps.
pub trait ExecutionPlan: Debug + Send {
    /// Returns the name, for messages and checkpoints.
    fn name(&self) -> &str;

    /// Checks at build that the plan fits the losses of the learner. By default, all do.
    ///
    /// # Errors
    /// [`AlgorithmError::PlanDoesNotFit`](crate::AlgorithmError::PlanDoesNotFit) if one does not.
    fn check(&self, _learner: &Learner) -> Result<()> {
        Ok(())
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

    /// Returns everything that the plan keeps between steps; empty without state.
    ///
    /// # Errors
    /// If it does not serialize.
    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }

    /// Replaces everything that the plan keeps between steps.
    ///
    /// # Errors
    /// If the state belongs to another plan.
    fn set_state(&mut self, _state: &State) -> Result<()> {
        Ok(())
    }
}
