//! What a loss knows where it is called.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{CatalogError, RunningStatistics};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_rl_module::{AnyRLModule, ModuleError, Role};

use crate::collective::Collective;
use crate::error::{LearnerError, Result};
use crate::learner::ModuleData;
use crate::losses;
use crate::share::Share;

/// The context in which experience is prepared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrepareContext<'a> {
    /// The id of the module.
    pub module_id: &'a str,
    /// The module, without gradients.
    pub module: &'a AnyRLModule,
    /// The device of the module's parameters.
    pub device: &'a Device,
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
    experience: Option<&'a ModuleData>,
    reported: RefCell<Vec<(&'static str, f64)>>,
}

/// The context in which a loss is computed: one phase on one minibatch.
#[derive(Debug)]
#[non_exhaustive]
pub struct LossContext<'a> {
    /// The id of the module.
    pub module_id: &'a str,
    /// The module, with gradients.
    pub module: &'a AnyRLModule,
    /// The device of the module's parameters.
    pub device: &'a Device,
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
    /// The phase, counted from 0.
    pub phase: usize,
    batch: &'a Batch,
    outputs: OnceCell<Batch>,
    scalars: &'a BTreeMap<String, Tensor<1>>,
    rng: RefCell<&'a mut Generator>,
    /// The rows of this learner among those of the whole minibatch, if several learners share it.
    share: Option<&'a Share>,
    collective: RefCell<Option<&'a mut (dyn Collective + 'static)>>,
}

impl<'a> PrepareContext<'a> {
    /// Creates a context at the start of training. `device` is that of the module.
    #[must_use]
    pub fn new(module_id: &'a str, module: &'a AnyRLModule, device: &'a Device) -> Self {
        Self::at(module_id, module, device, 0)
    }

    pub(crate) fn at(
        module_id: &'a str,
        module: &'a AnyRLModule,
        device: &'a Device,
        env_steps: u64,
    ) -> Self {
        let (experience, reported) = (None, RefCell::default());
        Self { module_id, module, device, env_steps, experience, reported }
    }

    pub(crate) fn with_experience(mut self, experience: Option<&'a ModuleData>) -> Self {
        self.experience = experience;
        self
    }

    /// Returns the experience of all modules in this update, including modules that do not learn. The experience of
    /// modules that learn has passed their learner connectors. Returns `None` unless a loss [reads
    /// it](crate::Loss::reads_other_agents).
    #[must_use]
    pub fn experience(&self) -> Option<&'a ModuleData> {
        self.experience
    }

    /// Reports a number as a metric of the module.
    pub fn report(&self, name: &'static str, value: f64) {
        self.reported.borrow_mut().push((name, value));
    }

    pub(crate) fn into_reported(self) -> Vec<(&'static str, f64)> {
        self.reported.into_inner()
    }

    /// Checks that the module's action distribution has an entropy, for [`Loss::check_module`].
    ///
    /// [`Loss::check_module`]: crate::Loss::check_module
    ///
    /// # Errors
    /// [`LearnerError::Distribution`] if it has none.
    pub fn check_entropy(&self, loss: &str) -> Result<()> {
        let distribution = self.module.distribution();
        let inputs = Tensor::zeros([1, distribution.required_input_dim()], self.device);
        let entropy = distribution.entropy(inputs);
        entropy.map(|_| ()).map_err(|source| self.unfit_distribution(loss, source))
    }

    /// Checks that the module's action distribution has a divergence, for [`Loss::check_module`].
    ///
    /// [`Loss::check_module`]: crate::Loss::check_module
    ///
    /// # Errors
    /// [`LearnerError::Distribution`] if it has none.
    pub fn check_kl(&self, loss: &str) -> Result<()> {
        let distribution = self.module.distribution();
        let inputs = Tensor::zeros([1, distribution.required_input_dim()], self.device);
        let divergence = distribution.kl(inputs.clone(), inputs);
        divergence.map(|_| ()).map_err(|source| self.unfit_distribution(loss, source))
    }

    /// Returns the error of a distribution that a loss cannot learn with.
    #[must_use]
    pub fn unfit_distribution(&self, loss: &str, source: CatalogError) -> LearnerError {
        LearnerError::Distribution {
            id: self.module_id.into(),
            distribution: self.module.distribution().name(),
            loss: loss.into(),
            source: Box::new(source),
        }
    }
}

impl<'a> LossContext<'a> {
    /// Creates the context of the first phase on a minibatch, for tests of losses and for loops without a
    /// learner. `module` and `batch` are on a device with gradients.
    pub fn new(
        of: PrepareContext<'a>,
        batch: &'a Batch,
        scalars: &'a BTreeMap<String, Tensor<1>>,
        rng: &'a mut Generator,
    ) -> Self {
        let PrepareContext { module_id, module, device, env_steps, .. } = of;
        Self {
            module_id,
            module,
            device,
            env_steps,
            phase: 0,
            batch,
            outputs: OnceCell::new(),
            scalars,
            rng: RefCell::new(rng),
            share: None,
            collective: RefCell::new(None),
        }
    }

    /// Makes the minibatch a share of a larger one.
    pub(crate) fn shared(
        mut self,
        share: &'a Share,
        collective: &'a mut (dyn Collective + 'static),
    ) -> Self {
        self.share = Some(share);
        self.collective = RefCell::new(Some(collective));
        self
    }

    /// Returns the minibatch. Besides the recorded columns and those that the loss prepared, it has
    /// [`Columns::NEXT_OBS`], [`Columns::TERMINATEDS`], [`Columns::TRUNCATEDS`], [`Columns::T`], and for a
    /// stateful module [`Columns::STEP_STATE_IN`] and [`Columns::STEP_STATE_OUT`]. Each is made when it is
    /// first read. For infos see [`info`](Self::info).
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Returns the outputs of the module's training pass over the minibatch. The pass runs at the first
    /// call.
    ///
    /// # Errors
    /// If the pass fails.
    pub fn outputs(&self) -> Result<&Batch> {
        if let Some(outputs) = self.outputs.get() {
            return Ok(outputs);
        }
        let outputs = self.module.forward_train(&self.with_noise(self.batch))?;
        Ok(self.outputs.get_or_init(|| outputs))
    }

    /// Returns a batch with the noise of one pass of a module with noisy layers, and any other batch as it is.
    ///
    /// The noise is drawn anew at each call, from the module's saved stream, and is the same for all rows. It is on
    /// the device of the module's parameters.
    #[must_use]
    pub fn with_noise<'b>(&self, batch: &'b Batch) -> Cow<'b, Batch> {
        let width = self.module.noise_dim();
        if width == 0 {
            return Cow::Borrowed(batch);
        }
        let noise = self.draw([1, width], false, |rng| rng.standard_normal() as f32);
        let noise = noise.expand([batch.rows(), width]);
        Cow::Owned(batch.clone().with(Columns::NOISE, noise))
    }

    /// Returns the minibatch's actions in a Discrete space, counted from 0, `[B]`.
    ///
    /// # Errors
    /// If the space is not Discrete, or the minibatch has no actions.
    pub fn action_indices(&self) -> Result<Tensor<1, Int>> {
        let start = match self.module.spec().get_action_space() {
            Some(space) => space.as_discrete().map_err(ModuleError::from)?.start(),
            None => 0,
        };
        Ok(self.batch.int::<1>(Columns::ACTIONS)? - start)
    }

    /// Returns the inputs of the module's action distribution, `[B, inputs]`.
    ///
    /// # Errors
    /// If the training pass does not return [`Columns::ACTION_DIST_INPUTS`].
    pub fn action_dist_inputs(&self) -> Result<Tensor<2>> {
        Ok(self.outputs()?.float::<2>(Columns::ACTION_DIST_INPUTS)?)
    }

    /// Returns the log-probabilities of the minibatch's actions, `[B]`.
    ///
    /// # Errors
    /// If the training pass does not return [`Columns::ACTION_DIST_INPUTS`], or the minibatch has no
    /// actions.
    pub fn logp(&self) -> Result<Tensor<1>> {
        let actions = self.batch.column(Columns::ACTIONS)?;
        Ok(self.module.distribution().logp(self.action_dist_inputs()?, actions)?)
    }

    /// Returns the entropies of the action distributions, `[B]`.
    ///
    /// # Errors
    /// If the training pass does not return [`Columns::ACTION_DIST_INPUTS`], or the distribution has no
    /// entropy.
    pub fn entropy(&self) -> Result<Tensor<1>> {
        Ok(self.module.distribution().entropy(self.action_dist_inputs()?)?)
    }

    /// Returns the mean entropy of the action distributions over the rows that count. Without `gradients`, it
    /// is a constant, for losses that report the entropy and have no bonus of it.
    ///
    /// # Shapes
    /// `[1]`.
    ///
    /// # Errors
    /// As [`entropy`](Self::entropy).
    pub fn mean_entropy(&self, gradients: bool) -> Result<Tensor<1>> {
        if gradients {
            return self.mean(self.entropy()?);
        }
        let inputs = self.action_dist_inputs()?.inner();
        let entropy = self.module.distribution().entropy(inputs)?;
        let mask = self.mask()?.map(Tensor::inner);
        Ok(Tensor::from_inner(losses::mean(entropy, mask.as_ref())))
    }

    /// Returns the values of the minibatch's observations, `[B]`. A shared encoder does not run twice.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn values(&self) -> Result<Tensor<1>> {
        self.module.require(Role::ValueFunction, "the loss")?;
        let outputs = self.outputs()?;
        let embeddings = match outputs.contains(Columns::EMBEDDINGS) {
            true => Some(outputs.float::<2>(Columns::EMBEDDINGS)?),
            false => None,
        };
        Ok(self.module.compute_values(self.batch, embeddings)?)
    }

    /// Returns the mask of the minibatch's rows, `[B]`: 1 for rows that count and 0 for padding; `None`
    /// if all rows count.
    ///
    /// # Errors
    /// If the mask cannot be loaded.
    pub fn mask(&self) -> Result<Option<Tensor<1>>> {
        match self.batch.contains(Columns::LOSS_MASK) {
            true => Ok(Some(self.batch.float::<1>(Columns::LOSS_MASK)?)),
            false => Ok(None),
        }
    }

    /// Computes the mean of a loss term over the rows that count.
    ///
    /// If several learners share the minibatch, each computes the mean over its own rows. The learners weigh these
    /// means by their rows, so that together they learn from the mean over the whole minibatch.
    ///
    /// # Shapes
    /// `[B]` to `[1]`.
    ///
    /// # Errors
    /// If the mask cannot be loaded.
    pub fn mean(&self, term: Tensor<1>) -> Result<Tensor<1>> {
        Ok(losses::mean(term, self.mask()?.as_ref()))
    }

    /// Computes the sum of a loss term over the rows that count.
    ///
    /// If several learners share the minibatch, each computes the sum that its rows stand for: their mean times the
    /// rows of the whole minibatch.
    ///
    /// # Shapes
    /// `[B]` to `[1]`.
    ///
    /// # Errors
    /// If the mask cannot be loaded.
    pub fn sum(&self, term: Tensor<1>) -> Result<Tensor<1>> {
        let sum = match self.mask()? {
            Some(mask) => term.mask_fill(mask.equal_elem(0.0), 0.0).sum(),
            None => term.sum(),
        };
        Ok(match self.share {
            // The weight of a learner without rows is 0, and its sum does not count.
            Some(share) if share.counts() => sum / share.weight,
            _ => sum,
        })
    }

    /// Combines a mean over the rows of this learner with those of the other learners to the mean over the whole
    /// minibatch, as a constant. For losses that are not sums over rows, such as one that divides by a mean. Without
    /// other learners, the mean is returned as it is.
    ///
    /// All learners call it equally often.
    ///
    /// # Shapes
    /// `[1]`, without gradients.
    ///
    /// # Errors
    /// If another learner has failed.
    pub fn mean_over_learners(&self, mean: Tensor<1>) -> Result<Tensor<1>> {
        let mut collective = self.collective.borrow_mut();
        let (Some(share), Some(collective)) = (self.share, collective.as_deref_mut()) else {
            return Ok(mean);
        };
        let device = mean.device();
        let mut numbers = to_f32(mean.inner())?;
        numbers.iter_mut().for_each(|number| *number *= share.weight as f32);
        collective.all_reduce_sum(&mut numbers)?;
        Ok(Tensor::from_data(TensorData::new(numbers, [1]), &device))
    }

    /// Returns the module with its parameters as constants: gradients flow through it to its inputs alone. For
    /// losses of a policy whose actions critics judge.
    #[must_use]
    pub fn constants(&self) -> AnyRLModule {
        self.module.clone().no_grad()
    }

    /// Returns a number that the environment reported with the minibatch's steps in its info, `[B]`: NaN
    /// for steps that did not report it, which may be all.
    ///
    /// A step has the info that came with its reward, and the last one of an episode the final info. With
    /// several agents, the names are those in an agent's view: `x` is the environment's `x`, or its
    /// `<agent>.x`.
    ///
    /// # Errors
    /// If the column cannot be loaded.
    pub fn info(&self, name: &str) -> Result<Tensor<1>> {
        if self.batch.contains(Columns::INFOS) {
            let infos = self.batch.nested(Columns::INFOS)?;
            if infos.contains(name) {
                return Ok(infos.float::<1>(name)?);
            }
        }
        Ok(Tensor::full([self.batch.rows()], f32::NAN, self.device))
    }

    /// Returns a scalar that one of the loss's optimizers owns, `[1]`, with gradients.
    ///
    /// # Errors
    /// [`LearnerError::UnknownScalar`] if none of the optimizers has it.
    pub fn scalar(&self, name: &str) -> Result<Tensor<1>> {
        self.scalars.get(name).cloned().ok_or_else(|| LearnerError::UnknownScalar {
            name: name.into(),
            known: self.scalars.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Draws from the standard normal distribution, from the module's saved stream.
    ///
    /// The first dimension counts rows of the minibatch, or a multiple of them. If several learners share the
    /// minibatch, each draws the numbers of all rows and returns those of its own, so that the numbers of a row do not
    /// depend on the number of learners. Numbers of another count are the same on all learners.
    pub fn normal<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        self.draw(shape, true, |rng| rng.standard_normal() as f32)
    }

    /// Draws uniformly from [0, 1), from the module's saved stream. The first dimension is as in
    /// [`normal`](Self::normal).
    pub fn uniform<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        self.draw(shape, true, |rng| rng.random() as f32)
    }

    fn draw<const D: usize>(
        &self,
        shape: [usize; D],
        by_row: bool,
        mut draw: impl FnMut(&mut Generator) -> f32,
    ) -> Tensor<D> {
        let mut rng = self.rng.borrow_mut();
        let count = shape.iter().product();
        let (rows, width) = (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product());
        let shared = self.share.filter(|_| by_row).and_then(|share| share.draw(rows, width));
        let (own, count) = shared.unwrap_or((0..count, count));
        let mut values: Vec<f32> = (0..count).map(|_| draw(&mut rng)).collect();
        if own.len() < count {
            values = values[own].to_vec();
        }
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }
}

/// What a loss may read and change after the steps of a minibatch.
#[derive(Debug)]
#[non_exhaustive]
pub struct AfterMinibatch<'a> {
    /// The id of the module.
    pub module_id: &'a str,
    /// The module after the steps, with gradients.
    pub module: &'a AnyRLModule,
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
    pub(crate) target_tau: Option<f64>,
    pub(crate) statistics: RunningStatistics,
}

impl<'a> AfterMinibatch<'a> {
    /// Creates a context, for tests of losses and for loops without a learner.
    #[must_use]
    pub fn new(module_id: &'a str, module: &'a AnyRLModule, env_steps: u64) -> Self {
        let statistics = RunningStatistics::new();
        Self { module_id, module, env_steps, target_tau: None, statistics }
    }

    /// Writes the running statistics of a training pass over the minibatch
    /// ([`ActionCritic::compute_action_values_in_training`]) to the module after this call. A number that is not finite
    /// is left out.
    ///
    /// [`ActionCritic::compute_action_values_in_training`]: rekindle_rl_module::ActionCritic::compute_action_values_in_training
    pub fn set_running_statistics(&mut self, statistics: RunningStatistics) {
        self.statistics = statistics;
    }

    /// Returns the running statistics to write.
    #[must_use]
    pub fn running_statistics(&self) -> &RunningStatistics {
        &self.statistics
    }

    /// Moves the module's target networks towards their main networks after this call:
    /// `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Modules that share parameters move their common targets once.
    pub fn update_targets(&mut self, tau: f64) {
        self.target_tau = Some(tau);
    }

    /// Returns τ if the target networks move.
    #[must_use]
    pub fn target_tau(&self) -> Option<f64> {
        self.target_tau
    }
}

/// What a loss may read and change after an update.
#[derive(Debug)]
#[non_exhaustive]
pub struct AfterUpdate<'a> {
    /// The id of the module.
    pub module_id: &'a str,
    /// Metrics of the module, averaged over the last epoch.
    pub metrics: &'a BTreeMap<Cow<'static, str>, f64>,
    /// The module after the update, with gradients.
    pub module: &'a AnyRLModule,
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
    /// The number of the update, counted from 1.
    pub updates: u64,
    pub(crate) reported: Vec<(&'static str, f64)>,
    pub(crate) target_tau: Option<f64>,
}

impl<'a> AfterUpdate<'a> {
    pub(crate) fn new(
        module_id: &'a str,
        module: &'a AnyRLModule,
        metrics: &'a BTreeMap<Cow<'static, str>, f64>,
        env_steps: u64,
        updates: u64,
    ) -> Self {
        let reported = Vec::new();
        Self { module_id, module, metrics, env_steps, updates, reported, target_tau: None }
    }

    /// Reports a number as a metric of the module.
    pub fn report(&mut self, name: &'static str, value: f64) {
        self.reported.push((name, value));
    }

    /// Moves the module's target networks towards their main networks after this call:
    /// `θ⁻ ← τ·θ + (1 − τ)·θ⁻`. Modules that share parameters move their common targets once.
    pub fn update_targets(&mut self, tau: f64) {
        self.target_tau = Some(tau);
    }
}
