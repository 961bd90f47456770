//! Saving and restoring an algorithm, whole and in parts.

use std::path::Path;

use burn::prelude::Device;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::settings;
use rekindle_env_runner::EnvRunnerGroup;
use rekindle_learner::{Learner, LearnerError};
use rekindle_metrics::MetricsState;
use rekindle_offline::RecorderState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Algorithm, ModuleSpaces};
use crate::custom::{Code, RecordedCode};
use crate::{AlgorithmConfig, AlgorithmError, Result, TrainingConfig};

/// The plain data of the state. Learner and runners are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlgorithmState {
    algorithm: String,
    /// The code of a variant, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<RecordedCode>,
    /// The name of the execution plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    execution_plan: Option<String>,
    config: Value,
    iteration: u64,
    env_steps: u64,
    metrics: MetricsState,
    #[serde(default)]
    eval_metrics: MetricsState,
    /// The files that were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorder: Option<RecorderState>,
    /// The id of the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
}

impl AlgorithmState {
    fn of(state: &State) -> Result<Self> {
        match state.data.get("algorithm") {
            Some(_) => Ok(state.data_as()?),
            None => Err(AlgorithmError::NotAnAlgorithm),
        }
    }
}

const LEARNER: &str = "learner";
/// Component with the execution plan's state. Absent if the plan has none.
const EXECUTION_PLAN: &str = "execution_plan";
const ENV_RUNNERS: &str = "env_runners";
const EVAL_ENV_RUNNERS: &str = "eval_env_runners";

impl Checkpointable for Algorithm {
    type Error = AlgorithmError;

    /// Returns the state of all parts. A replay buffer is shared with it, not copied.
    fn get_state(&self) -> Result<State> {
        self.state_with(self.plan.get_state()?)
    }

    /// Continues training exactly where it was saved: weights, optimizers, connectors, random
    /// streams, environments with their settings, and counters. The environments are new ones.
    ///
    /// # Errors
    /// If the state belongs to another algorithm or does not fit. The algorithm is then unchanged.
    fn set_state(&mut self, state: &State) -> Result<()> {
        self.replace_state(state, state.components.get(EXECUTION_PLAN).cloned())
    }

    /// Restores the state. The stored steps of replay buffers are moved out of the given state, so that a restore needs
    /// memory for only one copy of these steps besides the present buffers.
    fn restore_from_path(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let mut state = checkpoint::read(path)?;
        let plan = state.components.remove(EXECUTION_PLAN);
        self.replace_state(&state, plan)
    }

    /// Saves the state, without replay buffers that checkpoints do not hold
    /// ([`ReplayConfig::in_checkpoints`](rekindle_learner::replay::ReplayConfig)).
    fn save_to_path(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(checkpoint::write(path, &self.state_with(self.plan.get_saved_state()?)?)?)
    }
}

impl Algorithm {
    /// Replaces the state; the plan's state is a separate argument. If a part does not fit, nothing changes.
    fn replace_state(&mut self, state: &State, of_plan: Option<State>) -> Result<()> {
        // Load the state into new runners. If a part does not fit, the current runners are kept.
        let learner = self.learner.get_state()?;
        let (plan, config) = (self.plan.get_state()?, self.config.clone());
        let new_runners = self.new_env_runners()?;
        let runners = std::mem::replace(&mut self.env_runners, new_runners);
        let eval_runners = self.eval_env_runners.take();
        if let Err(error) = self.load_state(state, of_plan) {
            self.config = config;
            (self.env_runners, self.eval_env_runners) = (runners, eval_runners);
            self.learner.set_state(&learner)?;
            self.plan.set_state(&plan)?;
            return Err(error);
        }
        self.tell_checkpoint_loaded()
    }

    /// Returns the state, with that of the plan.
    fn state_with(&self, plan: State) -> Result<State> {
        let (recorder, recording) = match &self.config.code.recorder {
            Some(recorder) => {
                recorder.flush()?;
                (Some(recorder.state()), recorder.id())
            }
            None => (None, None),
        };
        let mut state = State::from_data(&AlgorithmState {
            algorithm: self.name.into(),
            code: Some(self.config.code.recorded()).filter(|code| *code != RecordedCode::default()),
            execution_plan: Some(self.plan.name().into()),
            config: serde_json::to_value(&self.config).map_err(AlgorithmError::ConfigFormat)?,
            iteration: self.iteration,
            env_steps: self.env_steps,
            metrics: self.metrics.state(),
            eval_metrics: self.eval_metrics.state(),
            recorder,
            recording,
        })?;
        state.insert_component(LEARNER, self.learner.get_state()?);
        state.insert_component(ENV_RUNNERS, self.env_runners.get_state()?);
        if plan != State::new() {
            state.insert_component(EXECUTION_PLAN, plan);
        }
        if let Some(runners) = &self.eval_env_runners {
            state.insert_component(EVAL_ENV_RUNNERS, runners.get_state()?);
        }
        Ok(state)
    }

    /// Builds runners from the current configuration, without modules.
    fn new_env_runners(&self) -> Result<EnvRunnerGroup> {
        let runners = &self.config.env_runners;
        let (count, threads) = (runners.num_env_runners, runners.threads());
        let config = self.config.runner_config();
        if self.config.environment.env.is_none() {
            let spaces = self.env_runners.module_spaces();
            return Ok(EnvRunnerGroup::without_environments(&config, spaces, &self.runner_device));
        }
        Ok(EnvRunnerGroup::new(&config, count, threads, &self.runner_device)?)
    }

    /// Replaces the state; the plan's state is a separate argument. If a part does not fit, the state may be replaced
    /// only in part.
    fn load_state(&mut self, state: &State, of_plan: Option<State>) -> Result<()> {
        let data = AlgorithmState::of(state)?;
        if data.algorithm != self.name {
            let (expected, found) = (self.name.into(), data.algorithm);
            return Err(AlgorithmError::WrongAlgorithm { expected, found });
        }
        check_code(&self.config.code, data.code.as_ref(), &data.algorithm)?;
        if let Some(found) = data.execution_plan.filter(|plan| plan != self.plan.name()) {
            let expected = self.plan.name().into();
            return Err(AlgorithmError::WrongExecutionPlan { expected, found });
        }
        let saved: AlgorithmConfig<Value> =
            settings::from_value(&data.config).map_err(AlgorithmError::ConfigFormat)?;
        let is_same_output = saved.env_runners.output == self.config.env_runners.output;
        if saved.environment.env_config != *self.env_config() {
            self.config.check_external_environments()?;
        }
        self.set_env_config(&saved.environment.env_config)?;
        // Runners restore their own policies. The evaluation policies are derived from them.
        if let Some(saved) = saved.multi_agent {
            self.record_policies(saved.runner_config());
        }
        self.plan.restore(of_plan.unwrap_or_default())?;
        self.learner.set_state(state.component(LEARNER)?)?;
        self.record_modules();
        self.env_runners.set_state(state.component(ENV_RUNNERS)?)?;
        self.eval_env_runners = match state.components.get(EVAL_ENV_RUNNERS) {
            Some(saved) => {
                let mut runners = match self.eval_env_runners.take() {
                    Some(runners) => runners,
                    None => self.new_eval_env_runners()?,
                };
                runners.set_state(saved)?;
                Some(runners)
            }
            None => None,
        };
        // Published with the weights.
        let env_steps = std::mem::replace(&mut self.env_steps, data.env_steps);
        if let Err(error) = self.publish_weights() {
            self.env_steps = env_steps;
            return Err(error);
        }
        if let Some(recorder) = &self.config.code.recorder {
            match data.recorder {
                Some(state) if is_same_output => recorder.restore(state, data.recording),
                // The run recorded nothing there: these are not its files.
                _ => recorder.check_empty()?,
            }
        }
        self.iteration = data.iteration;
        self.metrics.set_state(data.metrics);
        self.eval_metrics.set_state(data.eval_metrics);
        Ok(())
    }

    fn tell_checkpoint_loaded(&mut self) -> Result<()> {
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_checkpoint_loaded", |c| c.on_checkpoint_loaded(self))
    }

    /// Builds the algorithm of a checkpoint and continues where it was saved.
    ///
    /// `T` is the training section of its configuration: `Algorithm::from_checkpoint::<PpoTraining>`.
    ///
    /// Learner and runners work on `device`, because devices of the saved configuration may be
    /// missing on this machine. [`from_checkpoint_with`](Self::from_checkpoint_with) sets others.
    ///
    /// # Errors
    /// [`AlgorithmError::WrongAlgorithm`] for a checkpoint of another algorithm;
    /// [`AlgorithmError::ExternalEnvironment`] for an environment that starts another program, which
    /// [`from_checkpoint_with`](Self::from_checkpoint_with) allows; otherwise if the checkpoint is damaged
    /// or does not fit.
    pub fn from_checkpoint<T: TrainingConfig>(
        path: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Self> {
        Self::from_checkpoint_with::<T>(path, device, |config| config)
    }

    /// Builds the algorithm of a checkpoint with a configuration changed by `adapt`, and continues
    /// where it was saved.
    ///
    /// For example, `adapt` adds callbacks, which checkpoints do not hold, changes the evaluation, or
    /// sets devices. Settings that the saved state depends on must stay: modules, connectors, and the
    /// numbers of runners and environments. With other settings of the environment, new episodes
    /// begin.
    ///
    /// # Errors
    /// As [`from_checkpoint`](Self::from_checkpoint), or if the configuration is invalid.
    pub fn from_checkpoint_with<T: TrainingConfig>(
        path: impl AsRef<Path>,
        device: &Device,
        adapt: impl FnOnce(AlgorithmConfig<T>) -> AlgorithmConfig<T>,
    ) -> Result<Self> {
        Self::from_checkpoint_changed::<T>(path, device, |config| Ok(adapt(config)))
    }

    /// As [`from_checkpoint_with`](Self::from_checkpoint_with), with a change that may fail.
    pub(crate) fn from_checkpoint_changed<T: TrainingConfig>(
        path: impl AsRef<Path>,
        device: &Device,
        adapt: impl FnOnce(AlgorithmConfig<T>) -> Result<AlgorithmConfig<T>>,
    ) -> Result<Self> {
        let mut state = checkpoint::read(path)?;
        let data = AlgorithmState::of(&state)?;
        if data.algorithm != T::NAME {
            let (expected, found) = (T::NAME.into(), data.algorithm);
            return Err(AlgorithmError::WrongAlgorithm { expected, found });
        }
        let mut saved: AlgorithmConfig<T> =
            settings::from_value(&data.config).map_err(AlgorithmError::ConfigFormat)?;
        (saved.learners.device, saved.env_runners.device) = (None, None);
        saved.learners.devices.clear();
        let mut config = adapt(saved.clone())?;
        config.check_external_environments()?;
        config.follow_training(&saved)?;
        if config.evaluation != saved.evaluation {
            // The runners differ from the saved ones.
            state.components.remove(EVAL_ENV_RUNNERS);
        }
        check_code(&config.code, data.code.as_ref(), &data.algorithm)?;
        if config.code.name.is_none() {
            config.code.name = data.code.and_then(|code| code.name);
        }
        let policies_to_train = Learner::saved_policies_to_train(state.component(LEARNER)?)?;
        let mut algorithm =
            Self::assemble(&config, policies_to_train, Some(module_spaces(&state)), device)?;
        let of_plan = state.components.remove(EXECUTION_PLAN);
        algorithm.load_state(&state, of_plan)?;
        algorithm.is_restoring = false;
        algorithm.set_env_config(&config.environment.env_config)?;
        algorithm.tell_checkpoint_loaded()?;
        Ok(algorithm)
    }

    /// Restores one component from a checkpoint of that component alone.
    ///
    /// `component` is `"learner"`, `"env_runners"`, `"learner/rl_module"`,
    /// `"learner/rl_module/<module_id>"`, `"learner/optimizer"`,
    /// `"learner/optimizer/<module_id>"` or `"learner/optimizer/<module_id>/<name>"`. `path` is a checkpoint of such a component: saved on its
    /// own, or a directory inside a larger checkpoint. A module may have been saved under another
    /// id. The runners immediately act with the restored weights.
    ///
    /// # Errors
    /// [`AlgorithmError::UnknownComponent`]; [`AlgorithmError::WholeAlgorithm`] for a checkpoint of an algorithm;
    /// otherwise if the checkpoint is damaged or does not fit. The algorithm is then unchanged.
    pub fn restore_component(&mut self, path: impl AsRef<Path>, component: &str) -> Result<()> {
        let path = path.as_ref();
        let refused = match self.try_restore_component(path, component) {
            Err(error) => error,
            Ok(()) => return Ok(()),
        };
        // A checkpoint of the whole does not fit a part of it. Its own error would be about weights.
        if !matches!(refused, AlgorithmError::UnknownComponent(_))
            && checkpoint::read(path).is_ok_and(|state| AlgorithmState::of(&state).is_ok())
        {
            let path = path.join(component);
            return Err(AlgorithmError::WholeAlgorithm { component: component.into(), path });
        }
        Err(refused)
    }

    fn try_restore_component(&mut self, path: &Path, component: &str) -> Result<()> {
        match component.split_once('/') {
            None if component == LEARNER => {
                self.learner.restore_from_path(path)?;
                // The modules that learn are part of the state.
                self.record_modules();
            }
            None if component == ENV_RUNNERS => {
                let mut runners = self.new_env_runners()?;
                runners.restore_from_path(path)?;
                let modules = self.learner.module().without_learner_only();
                runners.set_modules(&modules, self.published_at())?;
                // The policies are part of the state.
                if let Some(multi_agent) = runners.multi_agent().cloned() {
                    self.record_policies(multi_agent);
                }
                self.env_runners = runners;
                return Ok(());
            }
            Some((LEARNER, part)) => match self.learner.restore_component(path, part) {
                Err(LearnerError::UnknownComponent(_)) => {
                    return Err(AlgorithmError::UnknownComponent(component.into()));
                }
                outcome => outcome?,
            },
            _ => return Err(AlgorithmError::UnknownComponent(component.into())),
        }
        self.publish_weights()
    }
}

/// Checks that the code of a saved variant was given again, and not that of another one.
/// Returns the spaces of the modules of a saved algorithm, as far as it has them.
fn module_spaces(state: &State) -> ModuleSpaces {
    let modules = state.component(&format!("{LEARNER}/rl_module"));
    let of_module = |(id, module): (&String, &State)| {
        let space = |name: &str| serde_json::from_value(module.data[name].clone()).ok();
        Some((id.clone(), (space("observation_space")?, space("action_space")?)))
    };
    modules.map(|all| all.components.iter().filter_map(of_module).collect()).unwrap_or_default()
}

fn check_code(given: &Code, saved: Option<&RecordedCode>, algorithm: &str) -> Result<()> {
    let Some(saved) = saved else { return Ok(()) };
    let given = given.recorded();
    if let (Some(expected), Some(found)) = (&given.name, &saved.name)
        && expected != found
    {
        let (expected, found) = (expected.clone(), found.clone());
        return Err(AlgorithmError::WrongAlgorithm { expected, found });
    }
    let missing = saved.parts.iter().filter(|part| !given.parts.contains(*part));
    let missing: Vec<_> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let name = saved.name.clone().unwrap_or_else(|| algorithm.to_owned());
    Err(AlgorithmError::MissingCode { name, parts: missing.join("(…).") })
}
