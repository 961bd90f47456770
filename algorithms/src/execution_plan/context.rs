//! The operators that execution plans are made of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle_env_runner::{Amount, EnvRunnerGroup, Experience, PublishedAt, SampleOptions};
use rekindle_learner::{Learner, ModuleData, ModuleRollouts, UpdateReport};
use rekindle_metrics::MetricsLogger;
use rekindle_offline::OfflineSource;
use serde_json::Value;

use crate::config::fragment_length;
use crate::{AlgorithmConfig, BatchMode, CountStepsBy, Result, RolloutFragmentLength};

/// The steps of a training step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepReport {
    /// Environment steps that were sampled.
    pub env_steps_sampled: usize,
    /// Environment steps of the batches that the learner learned from: once for each batch, however many epochs
    /// or draws of a circular buffer it was learned from. Reported as
    /// `learners/__all_modules__/num_env_steps_trained`.
    pub env_steps_trained: usize,
}

impl StepReport {
    /// Creates a report.
    #[must_use]
    pub fn new(env_steps_sampled: usize, env_steps_trained: usize) -> Self {
        Self { env_steps_sampled, env_steps_trained }
    }

    /// Creates the report of a step that learned from everything it sampled.
    #[must_use]
    pub fn of(experience: &Experience) -> Self {
        Self::new(experience.env_steps, experience.env_steps)
    }
}

/// What an execution plan works with: the runners, the learner and the metrics of an algorithm.
///
/// Its methods are the operators of plans. They time themselves.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrainingContext<'a> {
    /// The runners.
    pub env_runners: &'a mut EnvRunnerGroup,
    /// The learner.
    pub learner: &'a mut Learner,
    /// The metrics of the iteration. Those of runners and learner are gathered when the iteration ends, or by
    /// [`gather_metrics`](TrainingContext::gather_metrics).
    pub metrics: &'a mut MetricsLogger,
    /// The configuration. Its training section is data.
    pub config: &'a AlgorithmConfig<Value>,
    pub(crate) env_steps: &'a mut u64,
    pub(crate) source: Option<&'a Arc<dyn OfflineSource>>,
    /// Indices of the runners that were recreated.
    pub(crate) recreated: Vec<usize>,
}

impl TrainingContext<'_> {
    /// Returns the number of environment steps sampled since the start of training.
    #[must_use]
    pub fn env_steps(&self) -> u64 {
        *self.env_steps
    }

    /// Returns the recorded data of the configuration, if it has some.
    #[must_use]
    pub fn offline_source(&self) -> Option<Arc<dyn OfflineSource>> {
        self.source.cloned()
    }

    /// Collects at least `batch_size` steps with all runners, in fragments or complete episodes as the
    /// settings say, and merges the states of the runners' connectors.
    ///
    /// # Errors
    /// If an environment, connector or forward pass fails.
    pub fn sample(&mut self, batch_size: usize) -> Result<Experience> {
        let explore = self.config.env_runners.explore;
        self.sample_with(batch_size, SampleOptions::default().explore(explore))
    }

    /// As [`sample`](Self::sample), with other options: random actions, for example
    /// ([`SampleOptions::random`]).
    ///
    /// # Errors
    /// If an environment, connector or forward pass fails.
    pub fn sample_with(&mut self, batch_size: usize, options: SampleOptions) -> Result<Experience> {
        let started = Instant::now();
        let experience = self.collect(batch_size, options)?;
        self.env_runners.sync_connectors()?;
        self.metrics.log_time("timers/env_runner_sampling_timer", started.elapsed())?;
        self.count_steps(experience.env_steps);
        Ok(experience)
    }

    /// Learns from experience: prepares it, and takes the steps of all minibatches.
    ///
    /// # Errors
    /// If a loss or a forward pass fails.
    pub fn update(&mut self, experience: &Experience) -> Result<UpdateReport> {
        let started = Instant::now();
        let report = match experience.on_device.is_empty() {
            true => self.learner.update(&experience.rollouts, *self.env_steps)?,
            false => {
                let data = self.prepare(experience)?;
                self.learner.learn(data, *self.env_steps)?
            }
        };
        self.log_update(started)?;
        Ok(report)
    }

    /// Gathers the experience of the modules that learn, and completes it with the columns that the losses
    /// read, such as advantages.
    ///
    /// # Errors
    /// If the columns do not fit together or a forward pass fails.
    pub fn prepare(&mut self, experience: &Experience) -> Result<ModuleData> {
        let mut data = self.learner.gather(&experience.rollouts)?;
        data.extend(self.learner.gather_on_device(&experience.on_device)?);
        Ok(self.learner.prepare(data, *self.env_steps)?)
    }

    /// Learns from prepared experience, in the epochs and minibatches of the settings.
    ///
    /// # Errors
    /// If a loss or a forward pass fails.
    pub fn learn(&mut self, data: ModuleData) -> Result<UpdateReport> {
        let started = Instant::now();
        let report = self.learner.learn(data, *self.env_steps)?;
        self.log_update(started)?;
        Ok(report)
    }

    /// Lets the modules that learn from a batch by themselves
    /// ([`LearnOnBatch`](rekindle_rl_module::LearnOnBatch)) learn once from experience as it was sampled. The other
    /// modules learn nothing. For plans that replay the experience of the others.
    ///
    /// # Errors
    /// If such a module cannot learn from its experience.
    pub fn learn_on_batches(&mut self, experience: &Experience) -> Result<()> {
        let of_these =
            experience.rollouts.iter().filter(|(id, _)| self.learner.learns_on_batch(id));
        let rollouts: ModuleRollouts =
            of_these.map(|(id, rollouts)| (id.clone(), rollouts.clone())).collect();
        if rollouts.is_empty() {
            return Ok(());
        }
        let data = self.learner.gather(&rollouts)?;
        let data = self.learner.prepare(data, *self.env_steps)?;
        match data.is_empty() {
            true => Ok(()),
            false => self.learn(data).map(|_| ()),
        }
    }

    /// Gives the runners the learner's weights and the number of environment steps so far.
    ///
    /// # Errors
    /// If a module does not fit the runners.
    pub fn publish_weights(&mut self) -> Result<()> {
        let modules = self.learner.module().without_learner_only();
        let at = PublishedAt::new(self.learner.weights_seq_no(), *self.env_steps);
        Ok(self.env_runners.set_modules(&modules, at)?)
    }

    /// Counts environment steps that runners sampled. For plans that sample by other means than
    /// [`sample`](Self::sample).
    pub fn count_steps(&mut self, env_steps: usize) {
        *self.env_steps += env_steps as u64;
        self.recreated.extend(self.env_runners.take_recreated());
    }

    /// Gathers what runners and learner have logged into [`metrics`](Self::metrics). For plans that read it
    /// before the iteration ends.
    ///
    /// # Errors
    /// If a metric does not fit.
    pub fn gather_metrics(&mut self) -> Result<()> {
        gather_metrics(self.metrics, self.env_runners, self.learner)
    }

    fn log_update(&mut self, started: Instant) -> Result<()> {
        Ok(self.metrics.log_time("timers/learner_update_timer", started.elapsed())?)
    }

    /// Logs the time of runners and learner that worked side by side.
    pub(super) fn log_times(&mut self, sampling: Duration, learning: Duration) -> Result<()> {
        self.metrics.log_time("timers/env_runner_sampling_timer", sampling)?;
        Ok(self.metrics.log_time("timers/learner_update_timer", learning)?)
    }

    /// Collects at least `batch_size` steps without merging the states of connectors.
    pub(crate) fn collect(
        &mut self,
        batch_size: usize,
        options: SampleOptions,
    ) -> Result<Experience> {
        let settings = &self.config.env_runners;
        let num_envs = settings.num_envs_per_env_runner;
        let count_by = self.config.count_steps_by();
        let mut experience = Experience::default();
        // After a failure only what is missing is collected once more.
        while let Some(missing) = missing_steps(batch_size, count_by, &experience) {
            let more = match settings.batch_mode {
                BatchMode::TruncateEpisodes => {
                    let healthy = self.env_runners.num_healthy();
                    let amount = |runner, runners| {
                        let automatic = || match healthy == runners {
                            true => fragment_length(missing, num_envs, runners, runner),
                            // Ignore runners that have failed.
                            false => missing.div_ceil(healthy.max(1).saturating_mul(num_envs)),
                        };
                        let steps = match settings.rollout_fragment_length {
                            RolloutFragmentLength::Steps(steps) => steps,
                            RolloutFragmentLength::Auto => automatic(),
                        };
                        count_by.amount(steps.saturating_mul(num_envs))
                    };
                    self.env_runners.sample_each(amount, options)?
                }
                BatchMode::CompleteEpisodes => {
                    self.env_runners.sample(Amount::Episodes(num_envs), options)?
                }
            };
            experience.extend(more);
        }
        Ok(experience)
    }
}

/// Gathers what runners and learner have logged since the last call.
pub(crate) fn gather_metrics(
    metrics: &mut MetricsLogger,
    env_runners: &mut EnvRunnerGroup,
    learner: &mut Learner,
) -> Result<()> {
    metrics.aggregate("env_runners", env_runners.take_metrics())?;
    Ok(metrics.aggregate("learners", [learner.take_metrics()])?)
}

/// The steps that a batch still needs; `None` if it is complete.
pub(super) fn missing_steps(
    batch_size: usize,
    count_by: CountStepsBy,
    so_far: &Experience,
) -> Option<usize> {
    let missing = batch_size.saturating_sub(steps_of(count_by, so_far));
    (missing > 0).then_some(missing)
}

/// Returns the steps of experience in the unit of the settings. If no agent acts, environment steps count, so
/// that sampling ends.
pub(super) fn steps_of(count_by: CountStepsBy, experience: &Experience) -> usize {
    match count_by {
        CountStepsBy::AgentSteps => match experience.agent_steps() {
            0 => experience.env_steps,
            steps => steps,
        },
        CountStepsBy::EnvSteps => experience.env_steps,
    }
}
