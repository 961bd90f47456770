//! The plan of A3C: gradients that runners compute, applied in a fixed order or as they come.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rekindle::algorithms::{
    A2cConfig, A2cTraining, AlgorithmConfig, AsyncGradients, ExecutionPlan, PpoTraining,
    Synchronous, TrainingConfig,
};
use rekindle::core::ConfigError;
use rekindle::learner::{
    LearnerConfig, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Phase,
};
use rekindle::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::device;

fn small<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2).num_threads(2))
        .model("fcnet_hiddens", vec![8])
        .seed(0)
}

fn plan() -> AsyncGradients {
    AsyncGradients::new(8).updates_per_step(6)
}

fn get(result: &Metrics, key: &str) -> f64 {
    result.get(key).unwrap_or_else(|| panic!("{key} is missing: {result}"))
}

/// Every runner has one fragment of 8 steps of 2 environments for each of its updates.
fn resumes_exactly<T: TrainingConfig>(config: AlgorithmConfig<T>) {
    let config = config.with_execution_plan(plan().deterministic(true));
    let build = || config.build(&device()).unwrap();
    let mut algo = build();
    let result = algo.train().unwrap();
    assert_eq!(get(&result, "env_runners/num_env_steps_sampled"), 6.0 * 16.0);
    assert_eq!(algo.learner().weights_seq_no(), 6, "an update for each fragment");
    // Each of the two runners acts with weights to which the other adds one update.
    assert_eq!(get(&result, "learners/weights_lag_mean"), 5.0 / 6.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let again = config.clone();
    let mut resumed = Algorithm::from_checkpoint_with::<T>(&path, &device(), |_| again).unwrap();
    let mut other = build();
    other.train().unwrap();
    for algo in [&mut algo, &mut resumed, &mut other] {
        algo.train().unwrap();
    }
    let state = |algo: &Algorithm, of: &str| algo.get_state().unwrap().component(of).cloned();
    for component in ["learner", "env_runners"] {
        let expected = state(&algo, component).unwrap();
        assert!(expected == state(&resumed, component).unwrap(), "{component}: not continued");
        assert!(expected == state(&other, component).unwrap(), "{component}: not repeated");
    }
}

#[test]
fn ppo_and_a2c_take_the_plan_of_a3c_and_n_plus_n_iterations_equal_2n() {
    resumes_exactly::<PpoTraining>(small(PpoConfig::new()));
    resumes_exactly::<A2cTraining>(small(A2cConfig::new()));
}

#[test]
fn with_memory_n_plus_n_iterations_equal_2n() {
    let config = small(A2cConfig::new()).model("use_lstm", true).model("lstm_cell_size", 6);
    resumes_exactly(config.model("max_seq_len", 4));
}

#[test]
fn two_agents_with_networks_of_their_own_continue_exactly() {
    resumes_exactly(
        small(PpoConfig::new())
            .environment("MultiAgentCartPole-v1")
            .env_config(EnvConfig::new().with("num_agents", 2))
            .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent)),
    );
}

#[test]
fn with_one_runner_the_updates_are_those_of_the_synchronous_plan() {
    let config = small(A2cConfig::new()).env_runners(|e| e.num_env_runners(1));
    let synchronous = config.clone().training(|t| t.train_batch_size(16));
    let mut synchronous = synchronous.build(&device()).unwrap();
    let mut plan = config.with_execution_plan(plan()).build(&device()).unwrap();
    let parameters = |algo: &Algorithm| {
        let weights = algo.module("default_policy").unwrap().state_dict().unwrap();
        let values = weights.values().flat_map(|array| array.as_slice::<f32>().unwrap().to_vec());
        values.collect::<Vec<_>>()
    };
    let start = parameters(&plan);
    plan.train().unwrap();
    while synchronous.env_steps() < plan.env_steps() {
        synchronous.train().unwrap();
    }
    assert_eq!(synchronous.learner().weights_seq_no(), 6);
    let (expected, found) = (parameters(&synchronous), parameters(&plan));
    let distance =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(distance(&expected, &start) > 1e-3);
    // Only the order of rows in sums differs.
    assert!(distance(&expected, &found) < 1e-5, "{}", distance(&expected, &found));
}

#[test]
fn crashing_environments_cost_their_fragments_and_training_goes_on() {
    for deterministic in [false, true] {
        let config = small(A2cConfig::new())
            .environment("CrashingCartPole-v1")
            .env_config(EnvConfig::new().with("p_crash", 0.01))
            .with_execution_plan(plan().updates_per_step(20).deterministic(deterministic));
        let mut algo = config.build(&device()).unwrap();
        let results: Vec<_> = (0..6).map(|_| algo.train().unwrap()).collect();
        let last = &results[5];
        assert!(get(last, "fault_tolerance/num_remote_worker_restarts") > 1.0);
        let (updates, steps) = (algo.learner().weights_seq_no(), algo.env_steps());
        assert!((40..120).contains(&updates), "{updates} updates");
        assert_eq!(steps, updates * 16, "every fragment that arrived was learned from");
        assert_eq!(get(last, "env_runners/num_env_steps_sampled_lifetime"), steps as f64);
    }
}

#[test]
fn without_any_tolerance_the_step_ends_with_the_error_and_nothing_in_flight() {
    let config = small(A2cConfig::new())
        .environment("CrashingCartPole-v1")
        .env_config(EnvConfig::new().with("p_crash", 0.01))
        .fault_tolerance(|f| f.restart_failed_env_runners(false))
        .with_execution_plan(plan());
    let mut algo = config.build(&device()).unwrap();
    let error = (0..20).find_map(|_| algo.train().err()).unwrap().to_string();
    assert!(error.contains("a simulated crash"), "{error}");
    let state = algo.get_state().unwrap();
    assert_eq!(state.component("env_runners").unwrap().components.len(), 2);
    assert!((0..20).any(|_| algo.train().is_ok()));
}

static FAILS: AtomicBool = AtomicBool::new(false);

#[test]
fn a_failing_loss_ends_the_step_with_its_error() {
    let config = AlgorithmConfig::from_loss("Failing", |cx, batch| {
        if FAILS.load(SeqCst) {
            return Err(LearnerError::custom("told to fail"));
        }
        Ok(-(cx.logp()? * batch.float::<1>(Columns::REWARDS)?).mean())
    });
    let config = small(config).with_execution_plan(plan());
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let before = algo.env_steps();
    FAILS.store(true, SeqCst);
    let error = algo.train().unwrap_err().to_string();
    assert!(error.contains("told to fail"), "{error}");
    assert!(algo.env_steps() > before, "steps that were sampled count");
    FAILS.store(false, SeqCst);
    algo.train().unwrap();
}

/// An algorithm whose actor and critic are stepped one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TwoPhases {}

impl TrainingConfig for TwoPhases {
    const NAME: &'static str = "TwoPhases";

    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    fn train_batch_size(&self) -> usize {
        32
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default()
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(self.clone())
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(32))
    }
}

impl Loss for TwoPhases {
    fn name(&self) -> &str {
        "two-phase"
    }

    fn phases(&self) -> Vec<Phase> {
        let optimizer = || [OptimizerGroup::default().name];
        vec![Phase::new("critic", optimizer()), Phase::new("actor", optimizer())]
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        Ok(cx.logp()?.mean().into())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

#[test]
fn a_loss_with_several_phases_is_refused_at_build_and_the_message_names_both() {
    let config = small(AlgorithmConfig::<TwoPhases>::default());
    config.build(&device()).unwrap().train().unwrap();
    let error = config.with_execution_plan(plan()).build(&device()).unwrap_err().to_string();
    for part in ["`AsyncGradients`", "two-phase", "default_policy"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_runners_find_out_as_they_prepare_is_reported() {
    let ppo = small(PpoConfig::new()).with_execution_plan(plan()).build(&device());
    let a2c = small(A2cConfig::new()).with_execution_plan(plan()).build(&device());
    for mut algo in [ppo.unwrap(), a2c.unwrap()] {
        let result = algo.train().unwrap();
        let explained = get(&result, "learners/default_policy/vf_explained_var");
        assert!(explained <= 1.0, "{explained}");
        assert!(result.get("learners/learner_connector_timer").is_some(), "{result}");
    }
}

static PANICS: AtomicBool = AtomicBool::new(false);

#[test]
fn a_panic_of_a_loss_ends_the_step_with_an_error_and_no_runner_counts_as_failed() {
    let config = AlgorithmConfig::from_loss("Panicking", |cx, _| {
        assert!(!PANICS.load(SeqCst), "told to panic");
        Ok(-cx.logp()?.mean())
    });
    let mut algo = small(config).with_execution_plan(plan()).build(&device()).unwrap();
    algo.train().unwrap();
    PANICS.store(true, SeqCst);
    let error = algo.train().unwrap_err().to_string();
    for part in ["`compute` of the Panicking loss", "`default_policy`", "told to panic"] {
        assert!(error.contains(part), "{error}");
    }
    PANICS.store(false, SeqCst);
    let result = algo.train().unwrap();
    assert_eq!(get(&result, "fault_tolerance/num_remote_worker_restarts"), 0.0);
}
