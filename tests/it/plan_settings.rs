//! Execution plans that do not fit losses, modules or settings are refused, at build and later.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{
    A2cConfig, A2cTraining, AlgorithmConfig, AlgorithmError, AppoConfig, AsyncGradients,
    Asynchronous, EnvRunnersConfig, ExecutionPlan, ImpalaConfig, Synchronous, TrainingConfig,
};
use rekindle::core::HostBatch;
use rekindle::core::weights::Weights;
use rekindle::prelude::*;
use rekindle::rl_module::{ModuleError, Result as ModuleResult};
use serde_json::{Value, json};

use crate::support::device;

fn cartpole<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config.environment("CartPole-v1").model("fcnet_hiddens", vec![4]).seed(0)
}

fn refused<T: TrainingConfig>(config: &AlgorithmConfig<T>, parts: &[&str]) -> AlgorithmError {
    let error = config.build(&device()).unwrap_err();
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no {part}: {message}");
    }
    error
}

#[test]
fn plans_whose_sizes_would_hang_or_overflow_are_refused_by_name() {
    fn with(plan: impl ExecutionPlan + Clone + Sync + 'static, parts: &[&str]) {
        let config = cartpole(A2cConfig::new()).with_execution_plan(plan);
        let error = refused(&config, parts);
        assert!(matches!(error, AlgorithmError::Config(_)), "{error}");
    }
    with(Synchronous::new(0), &["`train_batch_size` is 0", "`Synchronous`"]);
    with(Asynchronous::new(0, 5), &["`train_batch_size` is 0", "`Asynchronous`"]);
    with(Asynchronous::new(500, 0), &["`fragment_length` is 0", "`Asynchronous`"]);
    with(AsyncGradients::new(0), &["`fragment` is 0", "`AsyncGradients`"]);
    for (buffer, field) in [((0, 2), "num_batches"), ((2, 0), "iterations_per_batch")] {
        let plan = Asynchronous::new(500, 50).circular_buffer(buffer.0, buffer.1);
        with(plan, &[&format!("`circular_buffer_{field}` is 0"), "`Asynchronous`"]);
    }
    let plan = Asynchronous::new(500, 50).queue_size(usize::MAX);
    with(plan, &["`learner_queue_size`", "at most 10000"]);
}

#[test]
fn plans_with_fragments_of_their_own_refuse_the_settings_that_they_would_ignore() {
    let plans: [fn(AlgorithmConfig<A2cTraining>) -> AlgorithmConfig<A2cTraining>; 2] = [
        |config| config.with_execution_plan(AsyncGradients::new(5)),
        |config| config.with_execution_plan(Asynchronous::new(40, 5)),
    ];
    for plan in plans {
        let config = plan(cartpole(A2cConfig::new()));
        let complete = |e: EnvRunnersConfig| e.batch_mode(BatchMode::CompleteEpisodes);
        refused(&config.clone().env_runners(complete), &["`batch_mode`", "`Async"]);
        let length = |e: EnvRunnersConfig| e.rollout_fragment_length(5);
        refused(&config.clone().env_runners(length), &["`rollout_fragment_length` is 5"]);
        config.build(&device()).unwrap();
    }
}

#[test]
fn a_batch_smaller_than_a_step_of_all_environments_is_refused_only_where_batches_are_collected() {
    let config = cartpole(A2cConfig::new()).env_runners(|e| e.num_envs_per_env_runner(64));
    refused(&config, &["`num_envs_per_env_runner` is 64", "a batch of 40"]);
    config.with_execution_plan(AsyncGradients::new(2)).build(&device()).unwrap();
}

#[test]
fn learner_connectors_and_losses_with_state_are_refused_where_gradients_are_computed_apart() {
    let plan = || AsyncGradients::new(5);
    let appo = cartpole(AppoConfig::new()).with_execution_plan(plan());
    let error = refused(&appo, &["`AsyncGradients`", "`default_policy`", "the APPO loss"]);
    assert!(matches!(error, AlgorithmError::PlanDoesNotFit { .. }), "{error}");
    cartpole(ImpalaConfig::new()).with_execution_plan(plan()).build(&device()).unwrap();

    register_learner_connector("PlanSettingsNothing", |_| Ok(Box::new(Nothing)));
    let connector = LearnerConnectorConfig::new("PlanSettingsNothing", Value::Null);
    let config = cartpole(A2cConfig::new()).learners(|l| l.learner_connector(connector));
    config.build(&device()).unwrap();
    let config = config.with_execution_plan(plan());
    let error = refused(&config, &["`AsyncGradients`", "`default_policy`", "learner connectors"]);
    assert!(matches!(error, AlgorithmError::PlanDoesNotFit { .. }), "{error}");
}

#[derive(Debug)]
struct Nothing;

impl LearnerConnector for Nothing {
    fn transform(
        &mut self,
        _: &PrepareContext<'_>,
        data: TrainData,
    ) -> Result<TrainData, rekindle::learner::LearnerError> {
        Ok(data)
    }

    fn get_state(&self) -> Result<State, rekindle::learner::LearnerError> {
        Ok(State::new())
    }
}

/// Learns nothing from a batch, by itself.
#[derive(Module, Debug)]
struct Idle {
    #[module(skip)]
    unused: usize,
}

impl RLModule for Idle {
    fn setup(_: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { unused: 0 })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.float::<2>(Columns::OBS)?;
        let logits = obs.narrow(1, 0, 2).zeros_like();
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        Some(self)
    }

    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        Some(self)
    }
}

impl LearnOnBatch for Idle {
    fn learn_on_batch(
        &mut self,
        _: &HostBatch,
        _: &mut LearnContext<'_>,
    ) -> ModuleResult<LearnStats> {
        Ok(LearnStats::new())
    }

    fn get_weights(&self) -> ModuleResult<Weights> {
        Ok(Weights::new())
    }

    fn set_weights(&mut self, _: &Weights) -> ModuleResult<()> {
        Ok(())
    }
}

/// A module in the spaces of another.
fn like(algo: &Algorithm, id: &str, spec: RLModuleSpec) -> AnyRLModule {
    let of = algo.module(id).unwrap().spec();
    let spec = spec
        .observation_space(of.get_observation_space().unwrap().clone())
        .action_space(of.get_action_space().unwrap().clone());
    spec.build_seeded(&device(), Generator::from_seed(1)).unwrap()
}

#[test]
fn a_module_that_does_not_fit_the_plan_is_neither_added_nor_put_in_place_of_another() {
    let config = cartpole(A2cConfig::new())
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| {
            m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent).policies_to_train(["0"])
        })
        .with_execution_plan(AsyncGradients::new(5).updates_per_step(2).deterministic(true));
    let mut algo = config.build(&device()).unwrap();
    let mut other = config.build(&device()).unwrap();
    algo.train().unwrap();
    other.train().unwrap();
    let recorded = algo.config().clone();
    let idle = || like(&other, "0", RLModuleSpec::of::<Idle>());
    let to_train = Some(["2".to_owned()].into());
    let mapping = Some(PolicyMapping::All("2".into()));
    for error in [
        algo.add_module("2", idle(), mapping, to_train).unwrap_err(),
        algo.replace_module("0", idle()).unwrap_err(),
    ] {
        assert!(matches!(error, AlgorithmError::PlanDoesNotFit { .. }), "{error}");
        assert!(error.to_string().contains("learns from a batch by itself"), "{error}");
    }
    assert_eq!(*algo.config(), recorded);
    assert_eq!(algo.learner().policies_to_train(), other.learner().policies_to_train());
    // Optimizers and losses, too, are as they were.
    for algo in [&mut algo, &mut other] {
        algo.train().unwrap();
    }
    let [one, other] = [algo, other].map(|algo| algo.get_state().unwrap());
    assert_eq!(one.component("learner").unwrap(), other.component("learner").unwrap());
}

#[test]
fn a_module_that_runners_or_losses_refuse_leaves_the_algorithm_as_it_was() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(64).minibatch_size(None).num_epochs(1))
        .seed(5);
    let idle = RLModuleSpec::of::<Idle>();
    let mut of_idle = config.clone().rl_module(idle.clone());
    of_idle.model_config.clear();
    refused(&of_idle, &["`env_runners.on_device`", "LearnOnBatch"]);

    let mut algo = config.build(&device()).unwrap();
    let mut other = config.build(&device()).unwrap();
    for algo in [&mut algo, &mut other] {
        algo.train().unwrap();
    }
    let recorded = algo.config().clone();
    let memory = json!({"fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": 4});
    let memory = RLModuleSpec::default().model_config(memory);
    for spec in [memory, idle] {
        let module = like(&other, DEFAULT_MODULE_ID, spec);
        algo.replace_module(DEFAULT_MODULE_ID, module).unwrap_err();
        assert_eq!(*algo.config(), recorded);
    }
    for algo in [&mut algo, &mut other] {
        algo.train().unwrap();
    }
    let [one, other] = [algo, other].map(|algo| algo.get_state().unwrap());
    assert_eq!(one.component("learner").unwrap(), other.component("learner").unwrap());
}

/// Calls of [`Fragile::initial_state`] that succeed.
static CALLS_LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// An actor-critic that fails when runners ask it once too often.
#[derive(Module, Debug)]
struct Fragile {
    pi: Mlp,
    vf: Mlp,
}

impl RLModule for Fragile {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { pi: cx.mlp(4, &[4], 2), vf: cx.mlp(4, &[4], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.pi.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        let called = CALLS_LEFT.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        called.map(|_| None).map_err(|_| ModuleError::custom("it broke"))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Fragile {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(self.vf.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

#[test]
fn a_replacement_that_fails_at_any_point_is_undone() {
    let config = cartpole(A2cConfig::new()).env_runners(|e| e.num_env_runners(2));
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let (recorded, before) = (algo.config().clone(), algo.get_state().unwrap());
    let fragile = like(&algo, DEFAULT_MODULE_ID, RLModuleSpec::of::<Fragile>());
    let mut failures = 0;
    for calls in 0.. {
        CALLS_LEFT.store(calls, SeqCst);
        match algo.replace_module(DEFAULT_MODULE_ID, fragile.clone()) {
            Ok(()) => break,
            Err(error) => assert!(error.to_string().contains("it broke"), "{error}"),
        }
        failures += 1;
        assert_eq!(*algo.config(), recorded);
        let after = algo.get_state().unwrap();
        for component in ["learner", "env_runners"] {
            let [before, after] = [&before, &after].map(|s| s.component(component).unwrap());
            assert!(before == after, "{component} after {calls} calls");
        }
    }
    CALLS_LEFT.store(usize::MAX, SeqCst);
    // The check, the trial, and the two runners.
    assert!(failures >= 4, "{failures}");
    assert_ne!(*algo.config(), recorded);
    algo.train().unwrap();
    assert!(algo.module(DEFAULT_MODULE_ID).unwrap().downcast_ref::<Fragile>().is_some());
}

#[test]
fn restoring_the_learner_alone_records_which_modules_learn() {
    let config = cartpole(A2cConfig::new())
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent));
    let mut algo = config.build(&device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.set_policies_to_train(Some(["1".to_owned()].into())).unwrap();
    algo.save_to_path(&path).unwrap();
    algo.set_policies_to_train(None).unwrap();
    algo.restore_component(path.join("learner"), "learner").unwrap();
    let section = algo.config().multi_agent.clone().unwrap();
    assert_eq!(section.policies_to_train, Some(vec!["1".to_owned()]));
    assert_eq!(algo.learner().config().policies_to_train, Some(["1".to_owned()].into()));

    algo.set_policy_mapping(PolicyMapping::All("0".into())).unwrap();
    algo.restore_component(path.join("env_runners"), "env_runners").unwrap();
    let section = algo.config().multi_agent.clone().unwrap();
    assert_eq!(section.policy_mapping, PolicyMapping::ByAgent);
    algo.train().unwrap();
}
