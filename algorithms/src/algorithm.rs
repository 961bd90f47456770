//! The training loop.

mod connectors;
mod environment;
mod evaluation;
mod modules;
mod state;

use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::device::DeviceSpec;
use rekindle_core::{DEFAULT_MODULE_ID, Generator};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, EnvRunnerGroup, Experience, PolicyBundle, SampleOptions,
};
use rekindle_learner::Learner;
use rekindle_metrics::{Metrics, MetricsLogger, Reducer};
use rekindle_rl_module::AnyRLModule;
use serde_json::Value;

use crate::config::fragment_length;
use crate::{
    AlgorithmConfig, AlgorithmError, BatchMode, CallbackList, CountStepsBy, EvaluationConfig,
    ReportingConfig, Result, RolloutFragmentLength, TrainingConfig,
};

/// A running algorithm: environment runners, a learner, and the training loop that connects them.
///
/// ```no_run
/// use burn::prelude::Device;
/// use rekindle_algorithms::PpoConfig;
///
/// let mut algo = PpoConfig::new().environment("CartPole-v1").build(&Device::flex())?;
/// for _ in 0..10 {
///     let result = algo.train()?;
///     println!("{:?}", result.get("env_runners/episode_return_mean"));
/// }
/// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
/// ```
pub struct Algorithm {
    name: &'static str,
    /// The configuration as data, seed included.
    config: Value,
    settings: Settings,
    /// The device of all runners, including the evaluation runners.
    runner_device: Device,
    env_runners: EnvRunnerGroup,
    /// Built with the algorithm if it evaluates at an interval, otherwise at the first evaluation.
    eval_env_runners: Option<EnvRunnerGroup>,
    learner: Learner,
    iteration: u64,
    env_steps: u64,
    metrics: MetricsLogger,
    /// Metrics of evaluations. They are reduced after each evaluation, not after each iteration.
    eval_metrics: MetricsLogger,
    callbacks: CallbackList,
}

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, iteration, steps) = (self.name, self.iteration, self.env_steps);
        write!(f, "{name} after {iteration} iterations and {steps} environment steps")
    }
}

/// The settings that the training loop reads.
#[derive(Debug, Clone)]
struct Settings {
    seed: u64,
    /// Steps per environment and sample; `None` if they follow from the batch size.
    fragment: Option<usize>,
    num_env_runners: usize,
    num_envs: usize,
    train_batch_size: usize,
    /// Unit of `train_batch_size`.
    count_steps_by: CountStepsBy,
    batch_mode: BatchMode,
    explore: bool,
    num_threads: usize,
    evaluation: EvaluationConfig,
    reporting: ReportingConfig,
    runner: EnvRunnerConfig,
}

/// The key of the iteration's number in results.
const TRAINING_ITERATION: &str = "training_iteration";
/// The key of the total duration of all iterations, in seconds.
const TIME_TOTAL: &str = "time_total_s";

impl Algorithm {
    /// Builds runners, module and learner.
    pub(crate) fn new<T: TrainingConfig>(
        config: &AlgorithmConfig<T>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let mut config = config.clone();
        // Record a drawn seed, so that every run can be repeated. JSON numbers hold 53 bits
        // exactly.
        let seed =
            config.debugging.seed.unwrap_or_else(|| Generator::from_entropy().next_u64() >> 11);
        config.debugging.seed = Some(seed);

        let place = |spec: Option<DeviceSpec>| match spec {
            Some(spec) => spec.open(),
            None => Ok(device.clone()),
        };
        let runner_device = place(config.env_runners.device)?;
        let device = place(config.learners.device)?;
        let runner = config.runner_config(seed);
        let runners = &config.env_runners;
        let threads = runners.threads();
        let count = runners.num_env_runners;
        let env_runners = EnvRunnerGroup::new(&runner, count, threads, &runner_device)?;
        let spaces = env_runners.module_spaces();
        if let Some(multi_agent) = &config.multi_agent {
            let listed = multi_agent.policies.iter();
            multi_agent.check_ids(&spaces.keys().chain(listed).cloned().collect())?;
        }
        let module = config.multi_rl_module_spec(spaces)?.build(&device, seed)?;
        let training = &config.training;
        let of_modules = config.training_of_modules()?;
        let mut settings = training.learner(seed);
        settings.modules =
            of_modules.iter().map(|(id, training)| (id.clone(), training.learner(seed))).collect();
        let multi_agent = config.multi_agent.as_ref();
        let all_differ = module.keys().all(|id| of_modules.contains_key(id));
        if !all_differ {
            training.check_sampling(runners)?;
        }
        settings.policies_to_train = multi_agent
            .and_then(|m| m.policies_to_train.as_ref())
            .map(|ids| ids.iter().cloned().collect());
        let learner = Learner::new(settings, training.objective(of_modules), module, &device)?;
        let mut algorithm = Self {
            name: T::NAME,
            settings: Settings {
                seed,
                fragment: match runners.rollout_fragment_length {
                    RolloutFragmentLength::Auto => None,
                    RolloutFragmentLength::Steps(steps) => Some(steps),
                },
                num_env_runners: count,
                num_envs: runners.num_envs_per_env_runner,
                train_batch_size: training.train_batch_size(),
                count_steps_by: multi_agent.map(|m| m.count_steps_by).unwrap_or_default(),
                batch_mode: runners.batch_mode,
                explore: runners.explore,
                num_threads: threads,
                evaluation: config.evaluation.clone(),
                reporting: config.reporting.clone(),
                runner,
            },
            config: config.recorded()?,
            runner_device,
            env_runners,
            eval_env_runners: None,
            learner,
            iteration: 0,
            env_steps: 0,
            metrics: MetricsLogger::new(),
            eval_metrics: MetricsLogger::new(),
            callbacks: config.callbacks.clone(),
        };
        algorithm.publish_weights()?;
        if algorithm.settings.evaluation.evaluation_interval.is_some() {
            algorithm.eval_env_runners = Some(algorithm.new_eval_env_runners()?);
        }
        let callbacks = algorithm.callbacks.clone();
        callbacks.tell("on_algorithm_init", |c| c.on_algorithm_init(&mut algorithm))?;
        Ok(algorithm)
    }

    /// The name of the algorithm.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The configuration as data, including the seed that was drawn if none was set.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The number of iterations so far.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// The number of environment steps sampled so far.
    pub fn env_steps(&self) -> u64 {
        self.env_steps
    }

    /// The learner.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The logger of the next iteration's result, for callbacks that log custom metrics.
    pub fn metrics_logger(&mut self) -> &mut MetricsLogger {
        &mut self.metrics
    }

    /// Returns a module by its id: `"default_policy"` for a single agent.
    ///
    /// # Errors
    /// If there is no such module. The message lists the ids.
    pub fn module(&self, id: &str) -> Result<&AnyRLModule> {
        Ok(self.learner.module().module(id)?)
    }

    /// Returns the policy of the default module with the runners' connectors, as a bundle that can
    /// be deployed without the training stack.
    ///
    /// # Errors
    /// [`AlgorithmError::NotPlayed`] if agents act with other modules. Choose one of them with
    /// [`policy_bundle_of`](Self::policy_bundle_of).
    pub fn policy_bundle(&self) -> Result<PolicyBundle> {
        self.policy_bundle_of(DEFAULT_MODULE_ID)
    }

    /// Returns the policy of one module with the runners' connectors, as a bundle for deployment.
    ///
    /// # Errors
    /// [`AlgorithmError::NotPlayed`] if no agent is mapped to the module.
    pub fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        let playing = self.env_runners.module_spaces();
        if !playing.contains_key(module_id) {
            let known = playing.into_keys().collect::<Vec<_>>().join(", ");
            return Err(AlgorithmError::NotPlayed { id: module_id.into(), known });
        }
        Ok(self.env_runners.policy_bundle_of(module_id)?)
    }

    /// Runs one iteration: collects batches and learns from them until the minima of the reporting
    /// settings are reached (once, if none is set), and evaluates if an evaluation is due.
    ///
    /// The metrics have RLlib's names: `env_runners/episode_return_mean`,
    /// `learners/default_policy/policy_loss`, `timers/…`, `evaluation/env_runners/…`.
    ///
    /// # Errors
    /// If an environment, connector, forward pass, update or callback fails.
    pub fn train(&mut self) -> Result<Metrics> {
        let started = Instant::now();
        let config = &self.settings.evaluation;
        let (due, beside) =
            (config.is_due(self.iteration + 1), config.evaluation_parallel_to_training);
        let played = match due && beside {
            true => Some(self.train_and_evaluate()?),
            false => {
                self.collect_and_learn()?;
                None
            }
        };
        self.iteration += 1;
        let evaluation = match played {
            Some(played) => Some(self.end_evaluation(played)?),
            None if due => Some(self.evaluate()?),
            None => None,
        };
        self.metrics.log_time("timers/training_iteration", started.elapsed())?;
        let total = started.elapsed().as_secs_f64();
        self.metrics.log_value(TIME_TOTAL, total, Reducer::LifetimeSum)?;
        let mut result = self.metrics.reduce();
        result.insert(TRAINING_ITERATION, self.iteration as f64);
        for (key, value) in [
            ("num_healthy_workers", self.env_runners.num_healthy() as u64),
            ("num_remote_worker_restarts", self.env_runners.num_restarts()),
            ("num_env_runners_late_lifetime", self.env_runners.num_late()),
        ] {
            result.insert(format!("fault_tolerance/{key}"), value as f64);
        }
        if let Some(evaluation) = evaluation {
            result.extend_under("evaluation", evaluation.metrics);
        }
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_train_result", |c| c.on_train_result(self, &mut result))?;
        Ok(result)
    }

    /// Runs training steps until an iteration is long enough.
    fn collect_and_learn(&mut self) -> Result<()> {
        let (started, mut steps) = (Instant::now(), 0);
        loop {
            steps += self.training_step()?;
            // Each batch is trained on immediately, so sampled and trained steps are equal.
            let seconds = started.elapsed().as_secs_f64();
            if self.settings.reporting.is_met(seconds, steps, steps) {
                return Ok(());
            }
        }
    }

    /// Collects a batch, updates the learner, and publishes the weights. Returns the number of
    /// environment steps.
    fn training_step(&mut self) -> Result<usize> {
        let started = Instant::now();
        let experience = self.sample_batch()?;
        self.env_runners.sync_connectors()?;
        self.metrics.log_time("timers/env_runner_sampling_timer", started.elapsed())?;
        self.metrics.aggregate("env_runners", self.env_runners.take_metrics())?;
        let recreated = self.env_runners.take_recreated();
        self.tell_recreated(&recreated, false)?;

        let started = Instant::now();
        self.env_steps += experience.env_steps as u64;
        self.learner.update(&experience.rollouts, self.env_steps)?;
        self.metrics.log_time("timers/learner_update_timer", started.elapsed())?;
        self.metrics.aggregate("learners", [self.learner.take_metrics()])?;
        self.publish_weights()?;
        Ok(experience.env_steps)
    }

    fn sample_batch(&mut self) -> Result<Experience> {
        let Settings { fragment, num_envs, count_steps_by, .. } = self.settings;
        let options = SampleOptions { explore: self.settings.explore, ..SampleOptions::default() };
        let mut experience = Experience::default();
        // After a failure only what is missing is collected once more.
        while let Some(missing) = self.missing_steps(&experience) {
            let more = match self.settings.batch_mode {
                BatchMode::TruncateEpisodes => {
                    let healthy = self.env_runners.num_healthy();
                    let amount = |runner, runners| {
                        let automatic = || match healthy == runners {
                            true => fragment_length(missing, num_envs, runners, runner),
                            // Ignore runners that have failed.
                            false => missing.div_ceil(healthy.max(1) * num_envs),
                        };
                        let steps = fragment.unwrap_or_else(automatic) * num_envs;
                        match count_steps_by {
                            CountStepsBy::EnvSteps => Amount::Timesteps(steps),
                            CountStepsBy::AgentSteps => Amount::AgentSteps(steps),
                        }
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

    /// The steps that a batch still needs; `None` if it is complete. Where nobody acts, steps of the
    /// environment count, so that there is an end.
    fn missing_steps(&self, so_far: &Experience) -> Option<usize> {
        let steps = match (self.settings.count_steps_by, so_far.agent_steps()) {
            (CountStepsBy::AgentSteps, steps) if steps > 0 => steps,
            _ => so_far.env_steps,
        };
        let missing = self.settings.train_batch_size.saturating_sub(steps);
        (missing > 0).then_some(missing)
    }

    /// Gives the runners the learner's weights.
    fn publish_weights(&mut self) -> Result<()> {
        let modules = self.learner.module().without_learner_only();
        Ok(self.env_runners.set_modules(&modules, self.learner.weights_seq_no())?)
    }
}
