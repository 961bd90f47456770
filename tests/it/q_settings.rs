//! Settings of DQN reach its modules in all ways in which modules come and go; modules of users' own, and modules
//! that learn by themselves beside DQN.

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, AsyncGradients, Synchronous};
use rekindle::catalog::Mlp;
use rekindle::prelude::*;
use rekindle::rl_module::{QNetwork, Result as ModuleResult};
use serde_json::{Value, json};

use crate::support::device;

#[path = "../../examples/custom_q_module.rs"]
#[allow(dead_code, reason = "the example has a `main`")]
pub(crate) mod example;

fn two_agents() -> DqnConfig {
    DqnConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![4])
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(0)
}

/// A setting in the model config of a module.
fn setting(algo: &Algorithm, id: &str, field: &str) -> Value {
    algo.module(id).unwrap().spec().get_model_config()[field].clone()
}

#[test]
fn an_iteration_of_dqn_has_1000_steps_unless_the_settings_say_otherwise() {
    let config = DqnConfig::new().environment("CartPole-v1").model("fcnet_hiddens", vec![4]);
    let steps = |config: &DqnConfig| {
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        algo.env_steps()
    };
    assert_eq!(steps(&config), 1000);
    let few = config.clone().reporting(|r| r.min_sample_timesteps_per_iteration(10));
    assert_eq!(steps(&few), 12);
    assert_eq!(steps(&config.reporting(|r| r.min_sample_timesteps_per_iteration(0))), 4);
}

#[test]
fn a_changed_epsilon_holds_from_the_restore_on_for_each_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let config = two_agents()
        .multi_agent(|m| m.override_module("1", "epsilon", 0.3))
        .training(|t| t.epsilon(0.7));
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    algo.save_to_path(&path).unwrap();
    let restored = |change: fn(DqnConfig) -> DqnConfig| {
        let path = &path;
        Algorithm::from_checkpoint_with::<DqnTraining>(path, &device(), change).unwrap()
    };
    let same = restored(|config| config);
    assert_eq!([setting(&same, "0", "epsilon"), setting(&same, "1", "epsilon")], [0.7, 0.3]);
    let changed = restored(|config| config.training(|t| t.epsilon(0.2)));
    assert_eq!(setting(&changed, "0", "epsilon"), 0.2);
    assert_eq!(setting(&changed, "1", "epsilon"), 0.3, "its own setting");
    let changed = restored(|c| c.multi_agent(|m| m.override_module("1", "epsilon", 0.1)));
    assert_eq!([setting(&changed, "0", "epsilon"), setting(&changed, "1", "epsilon")], [0.7, 0.1]);

    // Also from one checkpoint to the next, and with one agent.
    let again = folder.path().join("again");
    changed.save_to_path(&again).unwrap();
    let change = |config: DqnConfig| config.training(|t| t.epsilon(0.05));
    let second = Algorithm::from_checkpoint_with::<DqnTraining>(&again, &device(), change).unwrap();
    assert_eq!([setting(&second, "0", "epsilon"), setting(&second, "1", "epsilon")], [0.05, 0.1]);
}

fn network(config: Value) -> AnyRLModule {
    RLModuleSpec::of::<QNetwork>()
        .observation_space(cart_pole())
        .action_space(Space::discrete(2).unwrap())
        .model_config(config)
        .build_seeded(&device(), Generator::from_seed(9))
        .unwrap()
}

fn cart_pole() -> Space {
    make("CartPole-v1").unwrap().observation_space().clone()
}

#[test]
fn a_module_that_replaces_another_one_or_joins_has_the_settings_that_it_leaves_open() {
    let one = DqnConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.epsilon(0.4))
        .seed(0);
    let mut algo = one.build(&device()).unwrap();
    let module = network(json!({"fcnet_hiddens": [6]}));
    algo.replace_module(DEFAULT_MODULE_ID, module.clone()).unwrap();
    assert_eq!(setting(&algo, DEFAULT_MODULE_ID, "epsilon"), 0.4);
    let weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert_eq!(weights, module.state_dict().unwrap());
    // What it says itself holds, also where the parameters differ.
    let own = network(json!({"fcnet_hiddens": [6], "epsilon": 0.9, "dueling": false}));
    algo.replace_module(DEFAULT_MODULE_ID, own).unwrap();
    assert_eq!(setting(&algo, DEFAULT_MODULE_ID, "epsilon"), 0.9);
    algo.train().unwrap();

    let mut algo = two_agents().training(|t| t.epsilon(0.4)).build(&device()).unwrap();
    let space = algo.module("0").unwrap().spec().get_observation_space().unwrap().clone();
    let joined = RLModuleSpec::of::<QNetwork>()
        .observation_space(space)
        .action_space(Space::discrete(2).unwrap())
        .model_config(json!({"fcnet_hiddens": [5]}))
        .build(&device())
        .unwrap();
    algo.add_module("2", joined, None, None).unwrap();
    assert_eq!(setting(&algo, "2", "epsilon"), 0.4);
}

#[test]
fn a_spec_with_a_model_config_of_its_own_has_the_settings_that_it_leaves_open() {
    let spec = |config: Value| RLModuleSpec::of::<QNetwork>().model_config(config);
    let config = |config: Value| {
        DqnConfig::new()
            .environment("CartPole-v1")
            .rl_module(spec(config))
            .training(|t| t.epsilon(0.4).num_quantiles(3))
    };
    let algo = config(json!({"fcnet_hiddens": [4]})).build(&device()).unwrap();
    assert_eq!(setting(&algo, DEFAULT_MODULE_ID, "epsilon"), 0.4);
    assert_eq!(setting(&algo, DEFAULT_MODULE_ID, "num_quantiles"), 3);
    let own = config(json!({"fcnet_hiddens": [4], "epsilon": 0.1})).build(&device()).unwrap();
    assert_eq!(setting(&own, DEFAULT_MODULE_ID, "epsilon"), 0.1);
}

#[test]
fn pqn_needs_no_hidden_layers() {
    let config =
        PqnConfig::new().environment("CartPole-v1").model("fcnet_hiddens", Vec::<u64>::new());
    config.training(|t| t.train_batch_size(128)).build(&device()).unwrap().train().unwrap();
}

#[test]
fn a_network_without_hidden_layers_learns() {
    let config = DqnConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", Vec::<u64>::new())
        .reporting(|r| r.min_sample_timesteps_per_iteration(40))
        .training(|t| {
            t.num_steps_sampled_before_learning_starts(10)
                .target_network_update_freq(20)
                .epsilon(1.0)
        })
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    let weights = |algo: &Algorithm| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let before = weights(&algo);
    algo.train().unwrap();
    let after = weights(&algo);
    for name in ["qf.af.layers.0.weight", "target_qf.af.layers.0.weight"] {
        assert!(before[name] != after[name], "{name}");
    }
}

#[test]
fn modules_that_learn_by_themselves_learn_beside_dqn_from_whole_trajectories() {
    let policies = crate::policy_from_scratch::example::beside_a_network(0);
    crate::policy_from_scratch::register();
    let mut config = DqnConfig::new()
        .model("fcnet_hiddens", vec![4])
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .reporting(|r| r.min_sample_timesteps_per_iteration(200))
        .training(|t| {
            t.num_steps_sampled_before_learning_starts(150).sample_timesteps_per_update_round(20)
        })
        .seed(0);
    (config.environment, config.multi_agent) = (policies.environment, policies.multi_agent);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    let before = straight.module("table").unwrap().state_dict().unwrap();
    let result = straight.train().unwrap();
    // Each step once, also before learning from replayed transitions starts.
    let trained =
        |id: &str| result.get(&format!("learners/{id}/num_module_steps_trained_lifetime"));
    for id in ["table", "random"] {
        let sampled = result.get(&format!("env_runners/num_module_steps_sampled/{id}"));
        assert!(sampled.is_some() && sampled == trained(id), "{id}: {sampled:?} {:?}", trained(id));
    }
    assert!(trained("network").is_some_and(|steps| steps > 0.0));
    assert!(before != straight.module("table").unwrap().state_dict().unwrap());
    straight.save_to_path(&path).unwrap();
    let state = straight.get_state().unwrap();
    assert!(state.component("execution_plan/network").is_ok());
    assert!(state.component("execution_plan/table").is_err(), "no buffer");
    let mut resumed = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
    for algo in [&mut straight, &mut resumed] {
        algo.train().unwrap();
    }
    assert!(straight.learner().get_state().unwrap() == resumed.learner().get_state().unwrap());
}

/// Acts by its policy, and predicts the position that follows.
#[derive(Module, Debug)]
struct Predictor {
    policy: Mlp,
    next: Mlp,
}

impl RLModule for Predictor {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(4, &[], 2), next: cx.mlp(4, &[], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_self_supervised_loss(&self) -> Option<&dyn SelfSupervisedLoss> {
        Some(self)
    }
}

impl SelfSupervisedLoss for Predictor {
    fn compute_self_supervised_loss(&self, batch: &Batch, _: &Batch) -> ModuleResult<Tensor<1>> {
        let next = batch.float::<2>(Columns::NEXT_OBS)?.narrow(1, 0, 1);
        Ok((self.next.forward(batch.float(Columns::OBS)?) - next).square().mean())
    }
}

#[test]
fn modules_with_a_loss_of_their_own_learn_from_the_transitions_of_dqn() {
    let specs = MultiRLModuleSpec::new([("1", RLModuleSpec::of::<Predictor>())]);
    let mut config = two_agents()
        .multi_agent(|m| m.rl_module_specs(specs))
        .reporting(|r| r.min_sample_timesteps_per_iteration(200))
        .training(|t| t.num_steps_sampled_before_learning_starts(50).lr(1e-2));
    config.model_config.clear();
    let mut algo = config.build(&device()).unwrap();
    let loss = |algo: &mut Algorithm| algo.train().unwrap().get("learners/1/total_loss").unwrap();
    let first = loss(&mut algo);
    let last = (0..4).map(|_| loss(&mut algo)).last().unwrap();
    assert!(last < first, "{first} {last}");
    assert!(algo.get_state().unwrap().component("execution_plan/1").is_ok(), "it has a buffer");
}

/// A module that reads DQN's `epsilon`.
#[derive(Module, Debug)]
struct ReadsEpsilon {
    qf: Mlp,
    target_qf: Mlp,
    #[module(skip)]
    epsilon: Schedule,
}

impl RLModule for ReadsEpsilon {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let net = || cx.mlp(4, &[], 2);
        let epsilon = cx.setting("epsilon")?.unwrap_or(Schedule::Constant(0.75));
        Ok(Self { qf: net(), target_qf: net(), epsilon })
    }
    fn algorithm_settings() -> &'static [&'static str] {
        &["epsilon"]
    }
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, self.qf.forward(batch.float(Columns::OBS)?)))
    }
    fn forward_exploration(
        &self,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let q = self.qf.forward(batch.float(Columns::OBS)?);
        let epsilon = self.epsilon.value(cx.env_steps());
        Ok(Batch::new().with(Columns::ACTIONS, epsilon_greedy(&q, epsilon, cx)?))
    }
    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for ReadsEpsilon {
    fn compute_q_values(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.forward_train(batch)
    }
}

impl TargetNetwork for ReadsEpsilon {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }
    fn forward_target(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = self.target_qf.forward(batch.float(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, q))
    }
}

#[test]
fn a_custom_module_has_the_settings_of_the_algorithm_that_it_names() {
    let recorded = |algo: &Algorithm| {
        algo.module(DEFAULT_MODULE_ID).unwrap().spec().get_model_config().clone()
    };
    let mut config = crate::dqn::small().rl_module(RLModuleSpec::of::<ReadsEpsilon>());
    config.model_config.clear();
    let config = config.training(|t| t.epsilon([(0, 1.0), (500, 0.25)]));
    let mut algo = config.build(&device()).unwrap();
    // `dueling` and the others are not among them.
    assert_eq!(recorded(&algo), json!({"epsilon": [[0, 1.0], [500, 0.25]]}));
    algo.train().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let restored = Algorithm::from_checkpoint_with::<DqnTraining>(&path, &device(), |c| {
        c.training(|t| t.epsilon(0.125))
    });
    assert_eq!(recorded(&restored.unwrap()), json!({"epsilon": 0.125}));

    // The module's own value holds, and a program without the algorithm has the recorded one.
    let own = RLModuleSpec::of::<ReadsEpsilon>().model_config(json!({"epsilon": 0.5}));
    let algo = config.clone().rl_module(own).build(&device()).unwrap();
    assert_eq!(recorded(&algo), json!({"epsilon": 0.5}));
    let module =
        ReadsEpsilon::from_checkpoint(path.join("learner/rl_module/default_policy"), &device());
    assert_eq!(module.unwrap().epsilon, Schedule::from([(0, 1.0), (500, 0.25)]));
}

#[test]
fn the_custom_q_module_of_the_example_trains_and_is_under_40_lines() {
    let (algo, _) = example::train(2_000, 0).unwrap();
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(module.spec().module(), RLModuleSpec::of::<example::MyQNet>().module());
    assert!(algo.learner().weights_seq_no() > 0);
    let played = EnvRunnerConfig::new("CartPole-v1").num_envs(2);
    let episodes = evaluate(module, &played, 4, SampleOptions::greedy(), &device()).unwrap();
    assert_eq!(episodes.returns.len(), 4);

    let source = include_str!("../../examples/custom_q_module.rs");
    let module = source.split("// A user's module starts here").nth(1).unwrap();
    let module = module.split("// … and ends here.").next().unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = module.lines().skip(1).filter(is_code).count();
    assert!(lines < 40, "{lines} lines");
}

#[test]
fn reinforce_bootstraps_where_its_trajectories_are_cut_off() {
    let reinforce = || {
        AlgorithmConfig::from_loss("Reinforce", |cx, batch| {
            let returns = batch.float::<1>(Columns::RETURNS_TO_GO)?;
            let vf_loss = (cx.values()? - returns.clone()).square().mean();
            Ok((cx.logp()? * returns).mean().neg() + vf_loss)
        })
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![4])
        .env_runners(|e| e.num_env_runners(2))
        .seed(0)
    };
    let plan = AsyncGradients::new(8).updates_per_step(4).deterministic(true);
    let cut = reinforce().with_postprocess(|trajectory| trajectory.add_returns_to_go(0.9));
    let message = cut.with_execution_plan(plan).build(&device()).unwrap_err().to_string();
    for part in ["add_bootstrapped_returns_to_go", "complete episodes", "`Synchronous`"] {
        assert!(message.contains(part), "{message}");
    }
    let bootstrapped = |config: AlgorithmConfig<_>| {
        config.with_postprocess(|trajectory| trajectory.add_bootstrapped_returns_to_go(0.9))
    };
    for config in [
        bootstrapped(reinforce()).with_execution_plan(plan),
        bootstrapped(reinforce()).with_execution_plan(Synchronous::new(32)),
    ] {
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        assert!(algo.learner().weights_seq_no() > 0);
    }
}
