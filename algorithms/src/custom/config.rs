//! The configuration of an algorithm that is a loss function, and of variants.

use std::sync::Arc;

use burn::prelude::Tensor;
use rekindle_checkpoint::State;
use rekindle_core::settings::{at_least_one, if_set};
use rekindle_core::{Batch, ConfigError, settings};
use rekindle_learner::{
    GlobalNorm, GradClipBy, Gradients, LearnerConfig, LearnerError, Loss, LossContext, Losses,
    OptimizerConfig, OptimizerGroup, PrepareContext, Result, Schedule,
};
use rekindle_rl_module::RLModuleSpec;

use super::Trajectory;
use crate::AlgorithmConfig;
use crate::config::{EnvRunnersConfig, TrainingConfig, one_optimizer};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// The settings of an algorithm that is a loss function.
    pub struct CustomTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(1e-3);
        /// Environment steps per update; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 512, at_least_one;
        /// Passes over the batch per update.
        set num_epochs: usize = 1, at_least_one;
        /// Rows per minibatch; `None` takes the whole batch at once.
        into minibatch_size: Option<usize> = None, if_set(at_least_one);
        /// Whether each pass visits the rows in a new random order.
        set shuffle_batch_per_epoch: bool = true;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl TrainingConfig for CustomTraining {
    const NAME: &'static str = "Custom";

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, _: &EnvRunnersConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default()
            .num_epochs(self.num_epochs)
            .minibatch_size(self.minibatch_size)
            .shuffle_batch_per_epoch(self.shuffle_batch_per_epoch)
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(MissingLoss(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }
}

/// The optimizer of the settings, where the user gives the loss.
#[derive(Debug, Clone)]
struct MissingLoss(CustomTraining);

impl MissingLoss {
    fn error() -> LearnerError {
        LearnerError::custom(
            "this algorithm has no loss: create it with `AlgorithmConfig::from_loss`, or give the loss with `with_loss`",
        )
    }
}

impl Loss for MissingLoss {
    fn name(&self) -> &str {
        CustomTraining::NAME
    }

    fn check_module(&self, _: &PrepareContext<'_>) -> Result<()> {
        Err(Self::error())
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let CustomTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.0;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn compute(&mut self, _: &LossContext<'_>) -> Result<Losses> {
        Err(Self::error())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}

impl AlgorithmConfig<CustomTraining> {
    /// Creates an algorithm from a loss function: the function receives the context and a minibatch, and
    /// returns the loss, `[1]`.
    ///
    /// ```
    /// use rekindle_algorithms::{AlgorithmConfig, BatchMode};
    /// use rekindle_core::Columns;
    ///
    /// let config = AlgorithmConfig::from_loss("MyPG", |cx, batch| {
    ///     Ok((cx.logp()? * batch.float::<1>(Columns::RETURNS_TO_GO)?).mean().neg())
    /// })
    /// .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.99))
    /// .environment("CartPole-v1")
    /// .env_runners(|e| e.num_env_runners(2).batch_mode(BatchMode::CompleteEpisodes));
    /// config.validate()?;
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    #[must_use]
    pub fn from_loss<L: Into<Losses>>(
        name: impl Into<String>,
        loss: impl Fn(&LossContext<'_>, &Batch) -> Result<L> + Send + Sync + 'static,
    ) -> Self {
        Self::default().with_name(name).with_loss(loss)
    }
}

/// Variants: RLlib's `with_updates`. Checkpoints record that there is code, not the code itself: give it
/// again with [`Algorithm::from_checkpoint_with`](crate::Algorithm::from_checkpoint_with).
impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// Sets the name of the variant.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.code.name = Some(name.into());
        self
    }

    /// Replaces the loss by a function. The optimizers stay, and so does the preparation of experience,
    /// unless [`with_postprocess`](Self::with_postprocess) replaces it.
    #[must_use]
    pub fn with_loss<L: Into<Losses>>(
        mut self,
        loss: impl Fn(&LossContext<'_>, &Batch) -> Result<L> + Send + Sync + 'static,
    ) -> Self {
        self.code.loss = Some(Arc::new(move |cx, batch| Ok(loss(cx, batch)?.into())));
        self
    }

    /// Lets a function see every trajectory of a batch, and add columns that the loss reads. Modules that learn
    /// without this loss, from a batch by themselves ([`LearnOnBatch`](rekindle_rl_module::LearnOnBatch)) or by
    /// a loss of their own ([`SelfSupervisedLoss`](rekindle_rl_module::SelfSupervisedLoss)), do not have the
    /// columns.
    #[must_use]
    pub fn with_postprocess(
        mut self,
        postprocess: impl Fn(&mut Trajectory<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.code.postprocess = Some(Arc::new(postprocess));
        self
    }

    /// Adds terms to report, `[1]` each, to those of the loss.
    #[must_use]
    pub fn stats(
        mut self,
        stats: impl Fn(&LossContext<'_>, &Batch) -> Result<Vec<(&'static str, Tensor<1>)>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.code.stats = Some(Arc::new(stats));
        self
    }

    /// Changes the gradients before they are applied, in place of clipping them. The function also
    /// receives their norm.
    #[must_use]
    pub fn gradients(
        mut self,
        change: impl Fn(Gradients, &GlobalNorm) -> Result<Gradients> + Send + Sync + 'static,
    ) -> Self {
        self.code.gradients = Some(Arc::new(change));
        self
    }

    /// Replaces the optimizers, each over some parameters, with its own rule, learning rate and clipping.
    /// The settings of the algorithm for these then have no effect. A loss with several phases, such as SAC's, names the
    /// optimizers of each (`critic`, `actor`, `alpha`): keep these names.
    #[must_use]
    pub fn optimizers(mut self, optimizers: impl IntoIterator<Item = OptimizerGroup>) -> Self {
        self.code.optimizers = Some(optimizers.into_iter().collect());
        self
    }

    /// Names the columns of the module's outputs that the loss reads from experience, such as
    /// [`ACTION_LOGP`](rekindle_core::Columns::ACTION_LOGP), in place of those of the algorithm.
    ///
    /// When a module has been replaced, late experience of the old one that lacks a column is left out and
    /// counted ([`Loss::required_columns`]). Without the names it is an error.
    #[must_use]
    pub fn reads(mut self, columns: &'static [&'static str]) -> Self {
        self.code.reads = Some(columns);
        self
    }

    /// Replaces the execution plan.
    #[must_use]
    pub fn with_execution_plan(
        mut self,
        plan: impl ExecutionPlan + Clone + Sync + 'static,
    ) -> Self {
        self.code.plan = Some(Arc::new(move || Box::new(plan.clone())));
        self
    }

    /// Replaces the module; the same as [`rl_module`](Self::rl_module).
    #[must_use]
    pub fn with_module(self, spec: RLModuleSpec) -> Self {
        self.rl_module(spec)
    }

    /// Changes any settings, as the defaults of the variant.
    #[must_use]
    pub fn with_defaults(self, change: impl FnOnce(Self) -> Self) -> Self {
        change(self)
    }
}
