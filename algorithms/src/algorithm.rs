//! The training loop.

mod connectors;
mod environment;
mod estimation;
mod evaluation;
mod module_settings;
mod modules;
mod recorded_data;
mod remote;
mod run;
mod sinks;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::device::{DeviceSpec, is_host};
use rekindle_core::{ALL_MODULES, Columns, ConfigError, DEFAULT_MODULE_ID, Generator, ModuleId};
use rekindle_env::Buffer;
use rekindle_env::video::VideoRecorder;
use rekindle_env_runner::tensor_env::dry_run_rollout_on_device;
use rekindle_env_runner::{
    EnvRunnerGroup, PolicyBundle, PublishedAt, Rollout, SegmentEnd, dry_run_rollout,
};
use rekindle_learner::replay::{ReplayBuffer, ReplayConfig, TransitionSpec};
use rekindle_learner::{Learner, LearnerError, TrainData};
use rekindle_metrics::{Metrics, MetricsLogger, Reducer};
use rekindle_offline::Recorder;
use rekindle_rl_module::{AnyRLModule, Role};
use serde_json::Value;

use crate::execution_plan::{ExecutionPlan, TrainingContext, check_replay, gather_metrics};
use crate::{
    AlgorithmConfig, AlgorithmError, BatchMode, CallbackList, EnvRunnersConfig, Evaluation, Result,
    RunFolder, TrainingConfig,
};

pub use remote::frame::{from_bytes as state_from_bytes, to_bytes as state_to_bytes};

use module_settings::{ModuleSettings, Settings, check_overrides, warn_without_loss};
use recorded_data::{ModuleSpaces, RecordedData};
use sinks::Sinks;

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
    /// The current configuration, seed included. Its training section is data.
    config: AlgorithmConfig<Value>,
    /// The configuration as given, with the seed. The current configuration also records the specs of modules.
    given: AlgorithmConfig<Value>,
    plan: Box<dyn ExecutionPlan>,
    /// The device of all runners, including the evaluation runners.
    runner_device: Device,
    env_runners: EnvRunnerGroup,
    /// Built with the algorithm if it evaluates at an interval, otherwise at the first evaluation.
    eval_env_runners: Option<EnvRunnerGroup>,
    learner: Learner,
    settings: Arc<dyn ModuleSettings>,
    data: RecordedData,
    /// Whether it is being built for a saved state, which has not been loaded yet.
    is_restoring: bool,
    iteration: u64,
    env_steps: u64,
    metrics: MetricsLogger,
    /// Metrics of evaluations. They are reduced after each evaluation, not after each iteration.
    eval_metrics: MetricsLogger,
    callbacks: CallbackList,
    sinks: Sinks,
    run_folder: Option<RunFolder>,
    /// Records evaluation episodes, if the settings ask for videos.
    video: Option<VideoRecorder>,
    /// Number of evaluations since this algorithm was built.
    evaluations: u64,
    /// The version of the weights that a learner in another process published.
    adopted: u64,
}

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, iteration, steps) = (self.name(), self.iteration, self.env_steps);
        write!(f, "{name} after {iteration} iterations and {steps} environment steps")
    }
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
        let multi_agent = config.multi_agent.as_ref();
        let ids = multi_agent.and_then(|m| m.policies_to_train.as_ref());
        Self::assemble(config, ids.map(|ids| ids.iter().cloned().collect()), None, device)
    }

    /// Builds runners, module and learner. `policies_to_train` are the modules that learn, and `restored` are the spaces
    /// of the modules of a saved state that is loaded next.
    fn assemble<T: TrainingConfig>(
        config: &AlgorithmConfig<T>,
        policies_to_train: Option<BTreeSet<ModuleId>>,
        restored: Option<ModuleSpaces>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let is_restoring = restored.is_some();
        let mut config = config.clone();
        // Record a drawn seed, so that every run can be repeated. JSON numbers hold 53 bits
        // exactly.
        let seed =
            config.debugging.seed.unwrap_or_else(|| Generator::from_entropy().next_u64() >> 11);
        config.debugging.seed = Some(seed);
        let iteration = &mut config.reporting.min_sample_timesteps_per_iteration;
        iteration.get_or_insert(T::MIN_SAMPLE_TIMESTEPS_PER_ITERATION);

        let place = |spec: Option<DeviceSpec>| match spec {
            Some(spec) => spec.open(),
            None => Ok(device.clone()),
        };
        let runner_device = place(config.env_runners.device)?;
        let learner_device = config.learners.first_device();
        let device = place(learner_device)?;
        let specs = [config.env_runners.device, learner_device];
        check_devices(&config.env_runners, specs, [&runner_device, &device])?;
        config.env_runners.env_to_module_connector = config.env_to_module();
        let runners = &config.env_runners;
        let (count, threads) = (runners.num_env_runners, runners.threads());
        if let Some(folder) = &config.env_runners.output {
            let EnvRunnersConfig { output_format, output_max_file_size, .. } = config.env_runners;
            let environment = &config.environment;
            let recorder = Recorder::new(folder, output_format)
                .max_file_size(output_max_file_size)
                .actions(environment.normalize_actions, environment.clip_actions);
            if !is_restoring {
                recorder.create()?;
            }
            config.code.recorder = Some(Arc::new(recorder));
        }
        let runner_config = config.runner_config();
        let data = RecordedData::open(&config, is_restoring)?;
        let env_runners = match (&config.environment.env, data.module_spaces().or(restored)) {
            (None, Some(spaces)) if config.plan().learns_offline() => {
                EnvRunnerGroup::without_environments(&runner_config, spaces, &runner_device)
            }
            _ => EnvRunnerGroup::new(&runner_config, count, threads, &runner_device)?,
        };
        let spaces = env_runners.module_spaces();
        if let Some(recorder) = &config.code.recorder {
            recorder.set_spaces(spaces.clone())?;
        }
        data.check_spaces(&spaces)?;
        if let Some(multi_agent) = &config.multi_agent {
            let listed = multi_agent.policies.iter();
            multi_agent.check_ids(&spaces.keys().chain(listed).cloned().collect())?;
        }
        let module = config.multi_rl_module_spec(spaces)?.build(&device, seed)?;
        let training = config.training.clone();
        let of_modules = config.training_of_modules()?;
        if !module.keys().all(|id| of_modules.contains_key(id)) {
            training.check_sampling(runners)?;
        }
        for id in of_modules.keys() {
            check_overrides(id, module.get(id))?;
        }
        if !module.is_empty() && module.iter().all(|(_, m)| m.has_role(Role::LearnOnBatch)) {
            warn_without_loss::<T>();
        }
        let learner_config = training
            .learner()
            .seed(seed)
            .policies_to_train(policies_to_train)
            .eager(config.debugging.eager)
            .connectors(config.learners.learner_connector.clone());
        let plan = config.plan();
        let settings: Arc<dyn ModuleSettings> = Arc::new(Settings::new(training, of_modules));
        let (losses, code) = (settings.clone(), config.code.clone());
        let new_loss = move |id: &str| code.wrap(losses.loss(id));
        let recorded = config.recorded()?;
        let video = config.evaluation.evaluation_video.as_ref();
        let video = video.map(|video| VideoRecorder::new(video.format));
        let mut algorithm = Self {
            name: T::NAME,
            given: recorded.clone(),
            config: recorded,
            plan,
            runner_device,
            env_runners,
            eval_env_runners: None,
            learner: Learner::new(learner_config, new_loss, module, &device)?,
            settings,
            data,
            is_restoring,
            iteration: 0,
            env_steps: 0,
            metrics: MetricsLogger::new(),
            eval_metrics: MetricsLogger::new(),
            callbacks: config.callbacks,
            sinks: Sinks::default(),
            run_folder: None,
            video,
            evaluations: 0,
            adopted: 0,
        };
        algorithm.add_learners(&device)?;
        algorithm.record_modules();
        algorithm.check_plan()?;
        for id in algorithm.learner.module().keys() {
            algorithm.dry_run(id)?;
        }
        algorithm.check_estimation()?;
        algorithm.publish_weights()?;
        let is_due = algorithm.config.evaluation.evaluation_interval.is_some();
        if is_due && algorithm.plays_evaluations() {
            algorithm.eval_env_runners = Some(algorithm.new_eval_env_runners()?);
        }
        if !is_restoring {
            algorithm.check_evaluation()?;
        }
        let callbacks = algorithm.callbacks.clone();
        callbacks.tell("on_algorithm_init", |c| c.on_algorithm_init(&mut algorithm))?;
        Ok(algorithm)
    }

    /// Adds the learners that share the updates of the first one, which is on `device`.
    fn add_learners(&mut self, device: &Device) -> Result<()> {
        let learners = &self.config.learners;
        let mut devices = vec![device.clone(); learners.num_learners.saturating_sub(1)];
        for (device, spec) in devices.iter_mut().zip(learners.devices.iter().skip(1)) {
            *device = spec.open()?;
        }
        Ok(self.learner.add_learners(&devices)?)
    }

    /// Returns the name of the algorithm, or of its variant.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.code.name.as_deref().unwrap_or(self.name)
    }

    /// Returns the current configuration, including the seed that was drawn if none was set. The section of the
    /// algorithm is data.
    #[must_use]
    pub fn config(&self) -> &AlgorithmConfig<Value> {
        &self.config
    }

    /// Returns the configuration as given. If it had no seed, the drawn seed is included.
    pub(crate) fn given(&self) -> &AlgorithmConfig<Value> {
        &self.given
    }

    /// Returns the execution plan.
    #[must_use]
    pub fn execution_plan(&self) -> &dyn ExecutionPlan {
        &*self.plan
    }

    /// Returns the number of iterations so far.
    #[must_use]
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Returns the number of environment steps sampled so far.
    #[must_use]
    pub fn env_steps(&self) -> u64 {
        self.env_steps
    }

    /// Returns the learner.
    #[must_use]
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// Returns the learner, for engines that connect it with learners in other processes
    /// ([`Learner::lead`]). Runners act with changed weights when these are published next.
    pub fn learner_mut(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// Takes the algorithm apart and returns its learner, for the other processes of such an engine
    /// ([`Learner::join`]).
    #[must_use]
    pub fn into_learner(self) -> Learner {
        self.learner
    }

    /// Returns the logger of the next iteration's result, for callbacks that log custom metrics.
    pub fn metrics_logger(&mut self) -> &mut MetricsLogger {
        &mut self.metrics
    }

    /// Returns a module by its id: `"default_policy"` for a single agent.
    ///
    /// # Errors
    /// If the id is unknown. The message lists the known ids.
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
    /// settings are reached (once, if none is set), and evaluates if an evaluation is due. The result also
    /// goes to every [sink](Self::with_sink).
    ///
    /// The metrics have RLlib's names: `env_runners/episode_return_mean`,
    /// `learners/default_policy/policy_loss`, `learners/__all_modules__/num_env_steps_trained_lifetime`,
    /// `timers/…`, `evaluation/env_runners/…`.
    ///
    /// # Errors
    /// If an environment, connector, forward pass, update or callback fails. If only the evaluation fails, hooks
    /// and sinks have received the result of training.
    pub fn train(&mut self) -> Result<Metrics> {
        let started = Instant::now();
        let config = &self.config.evaluation;
        let (due, beside) =
            (config.is_due(self.iteration + 1), config.evaluation_parallel_to_training);
        let played = match due && beside && self.plays_evaluations() {
            true => Some(self.train_and_evaluate()?),
            false => {
                self.collect_and_learn()?;
                None
            }
        };
        self.iteration += 1;
        let evaluation = match played {
            Some(played) => Some(self.end_evaluation(played)),
            None if due => Some(self.evaluate()),
            None => None,
        }
        .transpose();
        self.report(started, evaluation)
    }

    /// Ends an iteration: passes its result to hooks, sinks and the run folder, and returns it.
    fn report(
        &mut self,
        started: Instant,
        evaluation: Result<Option<Evaluation>>,
    ) -> Result<Metrics> {
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
        // An evaluation that failed does not cost the result of training, or the next result would include it.
        if let Ok(Some(evaluation)) = &evaluation {
            result.extend_under("evaluation", evaluation.metrics.clone());
        }
        let callbacks = self.callbacks.clone();
        let told = callbacks.tell("on_train_result", |c| c.on_train_result(self, &mut result));
        if told.is_ok() {
            self.sinks.write(self.iteration, &result);
            self.record_run(evaluation.as_ref().ok().and_then(Option::as_ref));
        }
        evaluation.map(|_| ()).and(told).map(|()| result)
    }

    /// Runs training steps until an iteration is long enough, and gathers the metrics of runners and learner.
    fn collect_and_learn(&mut self) -> Result<()> {
        let outcome = self.training_steps();
        gather_metrics(&mut self.metrics, &mut self.env_runners, &mut self.learner)?;
        outcome
    }

    fn training_steps(&mut self) -> Result<()> {
        self.data.check_present()?;
        let (started, mut sampled, mut trained) = (Instant::now(), 0, 0);
        loop {
            let step = self.with_plan(|plan, cx| plan.training_step(cx))?;
            if self.config.env_runners.on_device {
                // The learner has waited for the device: reading costs little now.
                self.env_runners.read_device()?;
            }
            sampled += step.env_steps_sampled;
            trained += step.env_steps_trained;
            self.log_env_steps_trained(step.env_steps_trained)?;
            let seconds = started.elapsed().as_secs_f64();
            if self.config.reporting.is_met(seconds, sampled, trained) {
                return Ok(());
            }
        }
    }

    /// Lets the plan work with runners and learner. Runners that were recreated meanwhile are told to the callbacks.
    fn with_plan<T>(
        &mut self,
        work: impl FnOnce(&mut dyn ExecutionPlan, &mut TrainingContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut cx = TrainingContext {
            env_runners: &mut self.env_runners,
            learner: &mut self.learner,
            metrics: &mut self.metrics,
            config: &self.config,
            env_steps: &mut self.env_steps,
            source: self.data.learned.as_ref(),
            recreated: Vec::new(),
        };
        let outcome = work(&mut *self.plan, &mut cx);
        let recreated = cx.recreated;
        self.tell_recreated(&recreated, false)?;
        outcome
    }

    fn log_env_steps_trained(&mut self, steps: usize) -> Result<()> {
        let (key, steps) = (format!("learners/{ALL_MODULES}/num_env_steps_trained"), steps as f64);
        self.metrics.log_value(&key, steps, Reducer::SUM)?;
        Ok(self.metrics.log_value(&format!("{key}_lifetime"), steps, Reducer::LifetimeSum)?)
    }

    /// Checks that the execution plan fits losses and runners.
    fn check_plan(&self) -> Result<()> {
        check_replay(&*self.plan, &self.learner)?;
        self.plan.check(&self.learner, &self.config.env_runners)
    }

    /// Runs the loss of a module dry, on drawn experience, so that mistakes surface before the first batch.
    ///
    /// # Errors
    /// The error of the loss; [`AlgorithmError::Config`] for a module that cannot learn on the device.
    fn dry_run(&self, id: &str) -> Result<()> {
        let end = match self.config.env_runners.batch_mode {
            BatchMode::TruncateEpisodes => SegmentEnd::Cut,
            BatchMode::CompleteEpisodes => SegmentEnd::Truncated,
        };
        let (module, on_device) = (self.module(id)?, self.config.env_runners.on_device);
        // What learns by itself has no loss.
        if module.has_role(Role::LearnOnBatch) {
            return if on_device { Err(no_learn_on_batch(id).into()) } else { Ok(()) };
        }
        let (device, mut rng) = (&self.runner_device, Generator::from_seed(0));
        if on_device {
            let config = self.config.runner_config();
            let rollout = dry_run_rollout_on_device(&config, module, device)?;
            let row_values = self.learner.dry_run(id, TrainData::from(&rollout))?;
            self.check_row_values(id, row_values)?;
        } else if let Some(mut rollout) = dry_run_rollout(module, end, device, &mut rng)? {
            let loss = self.learner.loss(id);
            if loss.is_some_and(|loss| loss.required_columns().contains(&Columns::RETURNS_TO_GO)) {
                // No module records returns: those of data are computed from their rewards.
                let returns = Buffer::from_f32(rollout.rewards.clone(), &[]);
                let returns = returns.map_err(LearnerError::from)?;
                rollout.extras.insert(Columns::RETURNS_TO_GO.into(), returns);
            }
            let data = match self.learner.loss(id).and_then(|loss| loss.transitions()) {
                Some(spec) => transitions(&rollout, &spec, module.max_seq_len(), &mut rng)?,
                None => TrainData::from_rollouts(&[rollout], module.max_seq_len())?,
            };
            let row_values = self.learner.dry_run(id, data)?;
            self.check_row_values(id, row_values)?;
        }
        Ok(())
    }

    /// Checks that the loss of a module returns the values per row that the execution plan reads. `found` is `None` for
    /// a module without a loss.
    fn check_row_values(&self, id: &str, found: Option<BTreeSet<&'static str>>) -> Result<()> {
        let required = self.plan.required_row_values().iter();
        let missing = found.and_then(|found| required.copied().find(|name| !found.contains(name)));
        let Some(name) = missing else { return Ok(()) };
        let loss = self.learner.loss(id).map_or_else(String::new, |loss| loss.name().to_owned());
        let source = Box::new(LearnerError::NoRowValues { id: id.into(), loss, name });
        Err(AlgorithmError::PlanDoesNotFit { plan: self.plan.name().into(), source })
    }

    /// Returns the state of training in which weights are published.
    fn published_at(&self) -> PublishedAt {
        PublishedAt::new(self.learner.weights_seq_no(), self.env_steps)
    }

    /// Gives the runners the learner's weights and the number of environment steps so far.
    fn publish_weights(&mut self) -> Result<()> {
        let modules = self.learner.module().without_learner_only();
        Ok(self.env_runners.set_modules(&modules, self.published_at())?)
    }
}

/// Returns some transitions of a rollout; sequences of them for a module with memory.
fn transitions(
    rollout: &Rollout,
    spec: &TransitionSpec,
    max_seq_len: usize,
    rng: &mut Generator,
) -> Result<TrainData> {
    let has_memory = rollout.states.is_some();
    let states = has_memory.then_some(Columns::STATE_IN);
    let keep = rollout.extras.keys().map(String::as_str).chain(states);
    let mut buffer = ReplayBuffer::new(ReplayConfig::default(), keep, 1);
    buffer.push(rollout)?;
    let count = rollout.env_steps();
    Ok(match has_memory {
        true => buffer.sample_sequences(count, max_seq_len.max(1), spec, 0, rng)?,
        false => buffer.sample(count, spec, 0, rng)?,
    })
}

/// Checks that experience on the device is where the learner is.
fn check_devices(
    runners: &EnvRunnersConfig,
    specs: [Option<DeviceSpec>; 2],
    [acting, learning]: [&Device; 2],
) -> Result<(), ConfigError> {
    if !runners.on_device || acting == learning {
        return Ok(());
    }
    // As users write it, if they did.
    let name = |spec: Option<DeviceSpec>, device: &Device| match spec {
        Some(spec) if spec != DeviceSpec::Auto => spec.to_string(),
        _ if is_host(device) => DeviceSpec::Cpu.to_string(),
        _ => format!("{device:?}").to_lowercase(),
    };
    let [acting, learning] = [name(specs[0], acting), name(specs[1], learning)];
    let constraint = format!(
        "the learner is on {learning}, and `env_runners.on_device` does not move experience between devices; set `learners.device` to the same device, or `on_device` to false"
    );
    Err(ConfigError::new("env_runners.device", acting, constraint))
}

/// The error of a module that learns from batches in host memory, where there are none.
fn no_learn_on_batch(id: &str) -> ConfigError {
    let constraint = format!(
        "module `{id}` learns from a batch by itself (`LearnOnBatch`), in host memory; set it to false, or use a module that learns by a loss"
    );
    ConfigError::new("env_runners.on_device", true, constraint)
}
