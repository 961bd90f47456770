//! Evaluation during training: after an iteration, or beside it.

use std::panic::resume_unwind;
use std::time::Instant;

use rekindle_core::rng::{Purpose, stream};
use rekindle_env::EnvConfig;
use rekindle_env_runner::{
    EnvRunnerConfig, EnvRunnerGroup, FaultToleranceConfig, MultiAgentConfig, PolicyMapping,
    SampleOptions,
};

use super::Algorithm;
use crate::{AlgorithmError, DurationUnit, Evaluation, EvaluationConfig, Result};

/// An evaluation that has been played and is not reported yet.
pub(super) struct Played {
    runners: EnvRunnerGroup,
    outcome: Result<Evaluation>,
    started: Instant,
}

impl Algorithm {
    /// Evaluates the weights as they are, on environments of its own and with the connectors'
    /// statistics as training left them: plays `evaluation_duration`, or calls the custom function.
    ///
    /// # Errors
    /// If an environment, connector, forward pass, the custom function or a callback fails.
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        let started = Instant::now();
        let mut runners = self.begin_evaluation()?;
        let config = self.settings.evaluation.clone();
        let outcome = match config.custom_evaluation_function.get() {
            Some(function) => {
                let hook = "custom_evaluation_function";
                let failed = |source| AlgorithmError::Callback { hook, source };
                function(self, &mut runners).map_err(failed)
            }
            None => play(&mut runners, &config),
        };
        self.end_evaluation(Played { runners, outcome, started })
    }

    /// Collects and learns while the weights of before are evaluated on a thread of their own.
    pub(super) fn train_and_evaluate(&mut self) -> Result<Played> {
        let started = Instant::now();
        let mut runners = self.begin_evaluation()?;
        let config = self.settings.evaluation.clone();
        let (trained, outcome) = std::thread::scope(|scope| {
            let worker = scope.spawn(|| play(&mut runners, &config));
            let trained = self.collect_and_learn();
            (trained, worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let played = Played { runners, outcome, started };
        match trained {
            Ok(()) => Ok(played),
            Err(error) => {
                self.eval_env_runners = Some(played.runners);
                Err(error)
            }
        }
    }

    /// The evaluation runners, with the weights and connectors of now.
    fn begin_evaluation(&mut self) -> Result<EnvRunnerGroup> {
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_evaluate_start", |c| c.on_evaluate_start(self))?;
        let mut runners = match self.eval_env_runners.take() {
            Some(runners) => runners,
            None => self.new_eval_env_runners()?,
        };
        let modules = self.learner.module().without_learner_only();
        runners.set_modules(&modules, self.learner.weights_seq_no())?;
        runners.copy_connectors_from(&self.env_runners)?;
        Ok(runners)
    }

    /// Puts the runners back and reports.
    pub(super) fn end_evaluation(&mut self, played: Played) -> Result<Evaluation> {
        let Played { mut runners, outcome, started } = played;
        let reports = runners.take_metrics();
        let recreated = runners.take_recreated();
        self.eval_env_runners = Some(runners);
        self.tell_recreated(&recreated, true)?;
        let mut evaluation = outcome?;
        self.eval_metrics.aggregate("env_runners", reports)?;
        let measured = std::mem::replace(&mut evaluation.metrics, self.eval_metrics.reduce());
        evaluation.metrics.extend(measured);
        self.metrics.log_time("timers/evaluation_iteration", started.elapsed())?;
        let callbacks = self.callbacks.clone();
        callbacks.tell("on_evaluate_end", |c| c.on_evaluate_end(self, &mut evaluation.metrics))?;
        Ok(evaluation)
    }

    /// Runners on environments and seeds of their own, whose connectors do not learn.
    pub(super) fn new_eval_env_runners(&self) -> Result<EnvRunnerGroup> {
        self.eval_env_runners_of(self.settings.runner.multi_agent.as_ref())
    }

    /// The same for other policies than there are now.
    pub(super) fn eval_env_runners_of(
        &self,
        multi_agent: Option<&MultiAgentConfig>,
    ) -> Result<EnvRunnerGroup> {
        let (settings, evaluation) = (&self.settings, &self.settings.evaluation);
        let overrides = evaluation.evaluation_config.clone();
        let training = settings.runner.clone();
        let env_config = match (&overrides.env, overrides.env_config) {
            (_, Some(config)) => config,
            (Some(_), None) => EnvConfig::new(),
            (None, None) => training.env_config,
        };
        let config = EnvRunnerConfig {
            env: overrides.env.unwrap_or(training.env),
            env_config,
            num_envs: overrides.num_envs_per_env_runner,
            seed: stream(settings.seed, 0, 0, Purpose::Evaluation).next_u64(),
            clip_actions: overrides.clip_actions.unwrap_or(training.clip_actions),
            update_connectors: false,
            multi_agent: multi_agent.map(|m| with_mapping(m, overrides.policy_mapping)),
            // An evaluation reports all that it played, and nothing of the last one.
            metrics_num_episodes_for_smoothing: None,
            in_evaluation: true,
            // Episodes of older weights would be counted for those that are evaluated.
            fault_tolerance: FaultToleranceConfig {
                sample_timeout_s: None,
                ..training.fault_tolerance.clone()
            },
            ..training
        };
        let threads = overrides.num_threads.unwrap_or(settings.num_threads);
        let runners = evaluation.evaluation_num_env_runners;
        let group = EnvRunnerGroup::new(&config, runners, threads, &self.runner_device)?;
        self.check_eval_spaces(&group, multi_agent)?;
        Ok(group)
    }

    /// Modules see in evaluation what they see in training.
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
                let text = |(seen, done): &(_, _)| format!("{seen} and act in {done}");
                let (expected, found) = (text(expected), text(&found));
                return Err(AlgorithmError::OtherSpacesInEvaluation { id, expected, found });
            }
        }
        Ok(())
    }

    /// Tells callbacks of runners that were replaced.
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

/// Plays what the configuration asks for.
fn play(runners: &mut EnvRunnerGroup, config: &EvaluationConfig) -> Result<Evaluation> {
    let options = SampleOptions {
        explore: config.evaluation_config.explore,
        force_reset: config.evaluation_force_reset_envs_before_iteration,
        ..SampleOptions::default()
    };
    let duration = config.evaluation_duration;
    let experience = match config.evaluation_duration_unit {
        DurationUnit::Episodes => runners.sample_episodes(duration, options)?,
        DurationUnit::Timesteps => runners.sample_timesteps(duration, options)?,
    };
    Ok(Evaluation::of(&experience))
}

/// The policies of training under another mapping.
fn with_mapping(training: &MultiAgentConfig, mapping: Option<PolicyMapping>) -> MultiAgentConfig {
    let Some(policy_mapping) = mapping else { return training.clone() };
    // A function may map to any policy. Of the others the policies are known, and those that sit
    // out need no spaces.
    let policies = match policy_mapping {
        PolicyMapping::Function(_) => training.policies.clone(),
        _ => Vec::new(),
    };
    MultiAgentConfig { policies, policy_mapping }
}
