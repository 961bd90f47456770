//! Evaluation during training: after an iteration, or in parallel with it.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use rekindle_core::ConfigError;
use rekindle_core::panics;
use rekindle_core::rng::{Purpose, stream};
use rekindle_env::{EnvConfig, EnvError};
use rekindle_env_runner::{EnvRunnerGroup, MultiAgentConfig, PolicyMapping, SampleOptions};

use super::Algorithm;
use crate::evaluation::Estimates;
use crate::run_folder::VIDEOS;
use crate::{AlgorithmError, DurationUnit, Evaluation, EvaluationConfig, Result};

/// A completed evaluation that has not been reported.
pub(super) struct Played {
    runners: BorrowedRunners,
    /// Estimates from recorded data.
    estimates: Estimates,
    outcome: Result<Evaluation>,
    started: Instant,
}

/// The evaluation runners during an evaluation, with the settings of training that they follow.
struct BorrowedRunners {
    group: EnvRunnerGroup,
    env_config: EnvConfig,
    multi_agent: Option<MultiAgentConfig>,
}

impl Algorithm {
    /// Evaluates the current weights for `evaluation_duration`, or with the custom function.
    ///
    /// Evaluation has its own environments and uses the connector statistics of training. With
    /// `off_policy_estimation`, its metrics also hold estimates from recorded data; without an environment, nothing
    /// else.
    ///
    /// # Errors
    /// [`AlgorithmError::EvaluationTimeout`] after `evaluation_sample_timeout_s`; otherwise if an
    /// environment, connector, forward pass, an estimator, the custom function or a callback fails.
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let started = Instant::now();
        if !self.plays_evaluations() {
            return self.estimate_only(started);
        }
        let estimates = self.estimates()?;
        let mut runners = self.begin_evaluation()?;
        let config = self.config.evaluation.clone();
        let outcome = match config.custom_evaluation_function.get() {
            Some(function) => {
                let hook = "custom_evaluation_function";
                let failed = |source| AlgorithmError::Callback { hook, source };
                panics::as_error(|| function(self, &mut runners.group)).map_err(failed)
            }
            None => play_evaluation(&mut runners.group, &config),
        };
        self.end_evaluation(Played { runners, estimates, outcome, started })
    }

    /// Evaluates by estimates from recorded data alone.
    fn estimate_only(&mut self, started: Instant) -> Result<Evaluation> {
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_evaluate_start", |c| c.on_evaluate_start(self))?;
        let mut evaluation = Evaluation::default();
        evaluation.add_estimates(self.estimates()?);
        self.metrics.log_time("timers/evaluation_iteration", started.elapsed())?;
        callbacks.tell("on_evaluate_end", |c| c.on_evaluate_end(self, &mut evaluation.metrics))?;
        Ok(evaluation)
    }

    /// Collects and trains while another thread evaluates the weights from the start of the
    /// iteration. If no thread can be started, this one evaluates them first.
    pub(super) fn train_and_evaluate(&mut self) -> Result<Played> {
        let started = Instant::now();
        let estimates = self.estimates()?;
        let mut runners = self.begin_evaluation()?;
        let config = self.config.evaluation.clone();
        let both = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("evaluation".into());
            match thread.spawn_scoped(scope, || play_evaluation(&mut runners.group, &config)) {
                Ok(worker) => {
                    let trained = self.collect_and_learn();
                    Some((trained, worker.join().unwrap_or_else(|panic| resume_unwind(panic))))
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot spawn a thread for the evaluation");
                    None
                }
            }
        });
        let (trained, outcome) = both.unwrap_or_else(|| {
            let outcome = play_evaluation(&mut runners.group, &config);
            (self.collect_and_learn(), outcome)
        });
        let played = Played { runners, estimates, outcome, started };
        match trained {
            Ok(()) => Ok(played),
            Err(error) => {
                if let Err(error) = self.return_eval_env_runners(played.runners) {
                    // The next evaluation builds its runners and reports what is wrong.
                    tracing::warn!(%error, "the evaluation runners do not take the new settings");
                }
                Err(error)
            }
        }
    }

    /// Returns the evaluation runners with the current weights and connectors.
    fn begin_evaluation(&mut self) -> Result<BorrowedRunners> {
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_evaluate_start", |c| c.on_evaluate_start(self))?;
        let mut group = match self.eval_env_runners.take() {
            Some(runners) => runners,
            None => self.new_eval_env_runners()?,
        };
        let modules = self.learner.module().without_learner_only();
        let updated = group
            .set_modules(&modules, self.published_at())
            .and_then(|()| group.copy_connectors_from(&self.env_runners));
        if let Err(error) = updated {
            self.eval_env_runners = Some(group);
            return Err(error.into());
        }
        self.start_videos();
        let env_config = self.env_config().clone();
        Ok(BorrowedRunners { group, env_config, multi_agent: self.multi_agent_config() })
    }

    /// Records the first episodes of the evaluation that begins, if it is due.
    fn start_videos(&mut self) {
        let is_due = |interval| self.evaluations.is_multiple_of(interval);
        let settings = self.config.evaluation.evaluation_video.as_ref();
        let due = settings.filter(|video| is_due(video.interval as u64));
        self.evaluations += 1;
        let (Some(settings), Some(recorder)) = (due, &self.video) else { return };
        let of_run = self.run_folder.as_ref().map(|run| run.path().join(VIDEOS));
        let folder = settings.folder.clone().or(of_run).unwrap_or_else(|| VIDEOS.into());
        recorder.start(folder, format!("iteration-{:08}", self.iteration), settings.episodes);
    }

    /// Stores the runners for the next evaluation. Changes of the environment or the policies while they were
    /// out, by a hook or by the custom function, apply to them now.
    fn return_eval_env_runners(&mut self, runners: BorrowedRunners) -> Result<()> {
        let BorrowedRunners { mut group, env_config, multi_agent } = runners;
        if multi_agent != self.multi_agent_config() {
            // As for a change of the policies between evaluations.
            self.eval_env_runners = Some(self.new_eval_env_runners()?);
            return Ok(());
        }
        if env_config != *self.env_config() && self.evaluation_follows_env_config() {
            group.set_env_config(self.env_config())?;
        }
        self.eval_env_runners = Some(group);
        Ok(())
    }

    /// Checks what evaluations need beyond what training needs, before a run that evaluates only at its end.
    ///
    /// # Errors
    /// As for building the evaluation runners: an unknown environment, wrong settings of it, other spaces, or a mapping
    /// to unknown modules; a program for videos that cannot be started.
    pub(crate) fn check_evaluation(&self) -> Result<()> {
        let evaluation = &self.config.evaluation;
        if let Some(video) = &evaluation.evaluation_video {
            if !self.can_play() {
                let constraint = "videos need an environment; set `evaluation_config.env`, or leave out the videos";
                let value = format!("{} episodes", video.episodes);
                return Err(ConfigError::new("evaluation_video", value, constraint).into());
            }
            video.format.check()?;
        }
        let overrides = &evaluation.evaluation_config;
        let is_elsewhere = !self.evaluation_follows_env_config()
            || self.config.environment.env.is_none()
            || overrides.policy_mapping.is_some()
            || evaluation.off_policy_estimation.is_some() && self.plays_on_device_only();
        match is_elsewhere && self.can_play() && self.eval_env_runners.is_none() {
            true => self.new_eval_env_runners().map(drop),
            false => Ok(()),
        }
    }

    /// Whether evaluation takes place in the environment of training, with its settings.
    pub(super) fn evaluation_follows_env_config(&self) -> bool {
        let overrides = &self.config.evaluation.evaluation_config;
        overrides.env.is_none() && overrides.env_config.is_none()
    }

    /// Stores the runners for the next evaluation and reports the result.
    pub(super) fn end_evaluation(&mut self, played: Played) -> Result<Evaluation> {
        let Played { mut runners, estimates, outcome, started } = played;
        if let Some(recorder) = &self.video {
            recorder.stop();
        }
        let reports = runners.group.take_metrics();
        let recreated = runners.group.take_recreated();
        self.return_eval_env_runners(runners)?;
        self.tell_recreated(&recreated, true)?;
        let mut evaluation = outcome?;
        self.eval_metrics.aggregate("env_runners", reports)?;
        let settings = &self.config.evaluation;
        let is_custom = settings.custom_evaluation_function.get().is_some();
        if evaluation.returns.is_empty() && !is_custom {
            tracing::warn!(
                steps = settings.evaluation_duration,
                "no episode ended in the evaluation, so it has no mean return; raise \
                 `evaluation_duration`, or count episodes"
            );
        }
        let measured = std::mem::replace(&mut evaluation.metrics, self.eval_metrics.reduce());
        evaluation.metrics.extend(measured);
        evaluation.add_estimates(estimates);
        self.metrics.log_time("timers/evaluation_iteration", started.elapsed())?;
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_evaluate_end", |c| c.on_evaluate_end(self, &mut evaluation.metrics))?;
        Ok(evaluation)
    }

    /// Builds evaluation runners with their own environments and seeds. Their connector statistics
    /// are frozen.
    pub(super) fn new_eval_env_runners(&self) -> Result<EnvRunnerGroup> {
        self.eval_env_runners_of(self.multi_agent_config().as_ref())
    }

    /// Builds evaluation runners for other policies than the current ones.
    pub(super) fn eval_env_runners_of(
        &self,
        multi_agent: Option<&MultiAgentConfig>,
    ) -> Result<EnvRunnerGroup> {
        let evaluation = &self.config.evaluation;
        let overrides = evaluation.evaluation_config.clone();
        let training = self.config.runner_config();
        let env_config = match (&overrides.env, overrides.env_config) {
            (_, Some(config)) => config,
            (Some(_), None) => EnvConfig::new(),
            (None, None) => training.env_config.clone(),
        };
        let seed = stream(training.seed, 0, 0, Purpose::Evaluation).next_u64();
        let mut config = training
            .env_config(env_config)
            .num_envs(overrides.num_envs_per_env_runner)
            .seed(seed)
            .update_connectors(false)
            .on_device(false)
            .multi_agent(multi_agent.map(|m| with_mapping(m, overrides.policy_mapping)))
            // An evaluation reports all of its episodes, and none of the previous evaluation.
            .metrics_num_episodes_for_smoothing(None)
            .in_evaluation(true)
            .video(self.video.clone());
        config.env = overrides.env.unwrap_or(config.env);
        if config.env.is_empty() {
            let constraint =
                "evaluation needs an environment; set `environment.env` or `evaluation_config.env`";
            return Err(ConfigError::new("evaluation_config.env", "not set", constraint).into());
        }
        config.clip_actions = overrides.clip_actions.unwrap_or(config.clip_actions);
        // Wait for all runners, because late episodes would come from older weights.
        config.fault_tolerance.sample_timeout_s = None;
        if self.config.env_runners.on_device
            && let Err(EnvError::UnknownEnv { id: env, .. }) = rekindle_env::spec(&config.env)
        {
            return Err(AlgorithmError::NoEnvOnHost { env });
        }
        let threads = overrides.num_threads.unwrap_or_else(|| self.config.env_runners.threads());
        let runners = evaluation.evaluation_num_env_runners;
        let group = EnvRunnerGroup::new(&config, runners, threads, &self.runner_device)?;
        self.check_eval_spaces(&group, multi_agent)?;
        Ok(group)
    }

    /// Checks that modules have the same spaces in evaluation as in training.
    fn check_eval_spaces(
        &self,
        group: &EnvRunnerGroup,
        multi_agent: Option<&MultiAgentConfig>,
    ) -> Result<()> {
        let known = self.env_runners.module_spaces();
        let policies = match multi_agent {
            Some(m) if !m.policies.is_empty() => m.policies.clone(),
            _ => known.keys().cloned().collect(),
        };
        for (id, found) in group.module_spaces() {
            if !policies.contains(&id) {
                return Err(AlgorithmError::NoModuleToEvaluate { id, known: policies.join(", ") });
            }
            if let Some(expected) = known.get(&id).filter(|expected| **expected != found) {
                let text = |(observations, actions): &(_, _)| {
                    format!("the observation space {observations} and the action space {actions}")
                };
                let (expected, found) = (text(expected), text(&found));
                return Err(AlgorithmError::OtherSpacesInEvaluation { id, expected, found });
            }
        }
        Ok(())
    }

    /// Calls the hooks for runners that were recreated.
    pub(super) fn tell_recreated(&mut self, indices: &[usize], is_evaluation: bool) -> Result<()> {
        if indices.is_empty() {
            return Ok(());
        }
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_env_runners_recreated", |c| {
            c.on_env_runners_recreated(self, indices, is_evaluation)
        })
    }
}

/// Runs `evaluation_duration` episodes or steps. Only returns and lengths are recorded.
fn play_evaluation(runners: &mut EnvRunnerGroup, config: &EvaluationConfig) -> Result<Evaluation> {
    let limit = config.evaluation_sample_timeout_s;
    let options = SampleOptions::default()
        .explore(config.evaluation_config.explore)
        .force_reset(config.evaluation_force_reset_envs_before_iteration)
        .record(false)
        .time_limit(limit.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()));
    let (wanted, unit) = (config.evaluation_duration, config.evaluation_duration_unit);
    let experience = match unit {
        DurationUnit::Episodes => runners.sample_episodes(wanted, options)?,
        DurationUnit::Timesteps => runners.sample_timesteps(wanted, options)?,
    };
    match limit {
        Some(seconds) if experience.timed_out => {
            let (played, unit) = match unit {
                DurationUnit::Episodes => (experience.episodes.len(), "episodes"),
                DurationUnit::Timesteps => (experience.env_steps, "environment steps"),
            };
            Err(AlgorithmError::EvaluationTimeout { seconds, played, wanted, unit })
        }
        _ => Ok(Evaluation::of(&experience)),
    }
}

/// Returns the training policies with another mapping.
fn with_mapping(training: &MultiAgentConfig, mapping: Option<PolicyMapping>) -> MultiAgentConfig {
    let Some(policy_mapping) = mapping else { return training.clone() };
    // A function may map to any policy. Other mappings name their policies, and policies without
    // agents need no spaces.
    let policies = match policy_mapping {
        PolicyMapping::Function(_) => training.policies.clone(),
        _ => Vec::new(),
    };
    MultiAgentConfig::default().policies(policies).policy_mapping(policy_mapping)
}
