//! Modules that join, leave or are replaced during training: checkpoints follow, and a refused change
//! changes nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::scripted;
use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle::algorithms::AlgorithmError;
use rekindle::env::EnvError;
use rekindle::prelude::*;
use rekindle::rl_module::{Result as ModuleResult, register_module};
use serde_json::json;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn one() -> Space {
    Space::unbounded(&[1]).unwrap()
}

fn bin() -> Space {
    Space::discrete(2).unwrap()
}

/// Registers a game of ten steps in which all agents act.
fn game(id: &'static str, agents: &[(&str, usize)]) {
    scripted::game(id, agents, |t, out| {
        for agent in 0..out.num_agents() {
            let x = t as f32 / 5.0 - 1.0;
            // Agents see one value or two.
            if out.observe(agent)?.write_f32(&[x]).is_err() {
                out.observe(agent)?.write_f32(&[x, x])?;
            }
            if t > 0 {
                out.add_reward(agent, (t % 3) as f64)?;
            }
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
}

fn ppo(id: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(id)
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(20).minibatch_size(None).num_epochs(1))
        .seed(0)
}

/// A module for each of the agents `a` and `b`.
fn two(id: &str) -> PpoConfig {
    ppo(id).multi_agent(|m| m.policies(["a", "b"]).policy_mapping(PolicyMapping::ByAgent))
}

fn table(pairs: &[(&str, &str)]) -> PolicyMapping {
    PolicyMapping::Table(pairs.iter().map(|(a, m)| ((*a).into(), (*m).into())).collect())
}

fn ids(ids: &[&str]) -> Option<BTreeSet<String>> {
    Some(ids.iter().map(|id| (*id).to_string()).collect())
}

fn network(width: usize) -> AnyRLModule {
    RLModuleSpec::default()
        .observation_space(Space::unbounded(&[width]).unwrap())
        .action_space(bin())
        .model_config(json!({"fcnet_hiddens": [4]}))
        .build(&device())
        .unwrap()
}

/// Acts by a rule, with a parameter and without a value function.
#[derive(Module, Debug)]
struct Heuristic {
    bias: Param<Tensor<1>>,
}

impl RLModule for Heuristic {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { bias: Param::from_tensor(Tensor::zeros([1], cx.device())) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.float::<2>(Columns::OBS)?;
        let rows = obs.dims()[0];
        let first = obs.slice([0..rows, 0..1]).squeeze_dim::<1>(1) + self.bias.val();
        Ok(Batch::new().with(Columns::ACTIONS, first.greater_elem(0.5).int()))
    }

    fn type_name() -> String {
        "tests.Heuristic".into()
    }
}

fn heuristic() -> AnyRLModule {
    register_module::<Heuristic>();
    let spec = RLModuleSpec::of::<Heuristic>().observation_space(one()).action_space(bin());
    spec.build(&device()).unwrap()
}

/// Trains, saves, restores, and checks that both continue alike.
fn assert_survives(algo: &mut Algorithm) {
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let mut restored = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    let known =
        |algo: &Algorithm| -> Vec<String> { algo.learner().module().keys().cloned().collect() };
    assert_eq!(known(&restored), known(algo));
    assert_eq!(restored.learner().policies_to_train(), algo.learner().policies_to_train());
    assert_eq!(restored.config(), algo.config());
    algo.train().unwrap();
    restored.train().unwrap();
    for id in known(algo) {
        let weights = |algo: &Algorithm| algo.module(&id).unwrap().state_dict().unwrap();
        assert_eq!(weights(&restored), weights(algo), "{id}");
    }
}

#[test]
fn frozen_modules_that_joined_during_training_are_restored() {
    game("test/Joined-v0", &[("a", 1), ("b", 1)]);
    let a_and_h = || Some(table(&[("a", "a"), ("b", "h")]));
    let mut added = two("test/Joined-v0").build(&device()).unwrap();
    added.add_module("h", heuristic(), a_and_h(), ids(&["a"])).unwrap();
    assert_survives(&mut added);

    let mut inference = two("test/Joined-v0").build(&device()).unwrap();
    let spec = network(1).spec().clone().inference_only(true);
    inference.add_module("h", spec.build(&device()).unwrap(), a_and_h(), ids(&["a"])).unwrap();
    assert_survives(&mut inference);

    let mut replaced = two("test/Joined-v0").build(&device()).unwrap();
    replaced.set_policies_to_train(ids(&["a"])).unwrap();
    replaced.replace_module("b", heuristic()).unwrap();
    assert_survives(&mut replaced);
}

#[test]
fn a_frozen_heuristic_of_a_single_agent_is_restored() {
    let config = ppo("CartPole-v1").training(|t| t.minibatch_size(10));
    let mut algo = config.build(&device()).unwrap();
    algo.set_policies_to_train(ids(&[])).unwrap();
    let spaces = algo.module(DEFAULT_MODULE_ID).unwrap().spec().clone();
    register_module::<Heuristic>();
    let spec = RLModuleSpec::of::<Heuristic>()
        .observation_space(spaces.get_observation_space().unwrap().clone())
        .action_space(bin());
    algo.replace_module(DEFAULT_MODULE_ID, spec.build(&device()).unwrap()).unwrap();
    assert_survives(&mut algo);
}

#[test]
fn modules_of_the_learner_alone_are_restored() {
    game("test/LearnerOnly-v0", &[("a", 1), ("b", 1)]);
    let curiosity = || network(1).spec().clone().learner_only(true);
    let specs = MultiRLModuleSpec::new([("curiosity", curiosity())]);
    let config = two("test/LearnerOnly-v0").multi_agent(|m| m.rl_module_specs(specs));
    let mut algo = config.build(&device()).unwrap();
    assert_survives(&mut algo);
    algo.remove_module("curiosity", None).unwrap();
    assert_survives(&mut algo);
    algo.add_module("curiosity", curiosity().build(&device()).unwrap(), None, None).unwrap();
    assert_survives(&mut algo);
}

#[test]
fn a_removed_module_leaves_no_trace_in_the_configuration() {
    game("test/Removed-v0", &[("a", 1), ("b", 1)]);
    let config = two("test/Removed-v0").multi_agent(|m| {
        m.policies(["a", "b", "spare"])
            .policies_to_train(["a", "spare"])
            .override_module("spare", "lr", 0.1)
    });
    let mut algo = config.build(&device()).unwrap();
    let spare = algo.remove_module("spare", None).unwrap();
    assert_survives(&mut algo);
    // A module of the same id does not get the settings of the removed one.
    algo.add_module("spare", spare, None, ids(&["a", "spare"])).unwrap();
    assert_survives(&mut algo);
    let result = algo.train().unwrap();
    assert!(result.get("learners/spare/default_optimizer_learning_rate").is_none_or(|lr| lr < 0.1));
}

#[test]
fn modules_that_lost_their_agents_are_restored() {
    game("test/Asymmetric-v0", &[("a", 1), ("b", 2)]);
    let mut algo = two("test/Asymmetric-v0").build(&device()).unwrap();
    let copy = algo.module("a").unwrap().clone();
    algo.add_module("a2", copy, Some(table(&[("a", "a2"), ("b", "b")])), None).unwrap();
    assert_survives(&mut algo);
    algo.set_policy_mapping(PolicyMapping::ByAgent).unwrap();
    assert_survives(&mut algo);
}

#[test]
fn a_module_in_reserve_is_still_known_after_another_one_joined() {
    game("test/Reserve-v0", &[("a", 1), ("b", 2)]);
    // Without a list of policies: those that the mapping names, and one with a spec of its own.
    let reserve = network(3).spec().clone();
    let config = ppo("test/Reserve-v0").multi_agent(|m| {
        m.policy_mapping(PolicyMapping::ByAgent)
            .rl_module_specs(MultiRLModuleSpec::new([("r", reserve)]))
    });
    let mut algo = config.build(&device()).unwrap();
    assert_survives(&mut algo);
    algo.add_module("c", network(1), Some(table(&[("a", "c"), ("b", "b")])), None).unwrap();
    assert_survives(&mut algo);
}

#[test]
fn a_model_setting_that_only_a_replaced_module_used_is_no_obstacle() {
    let image = Space::image(&[8, 8, 3]).unwrap();
    let agents = vec![AgentSpec::new("a", one(), bin()), AgentSpec::new("b", image.clone(), bin())];
    scripted::game_of("test/Pictures-v0", agents, |t, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        out.observe(1)?.write_u8(&[7; 192])?;
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let config = two("test/Pictures-v0").model("conv_filters", json!([[4, [3, 3], 2]]));
    let mut algo = config.build(&device()).unwrap();
    let spec = RLModuleSpec::default().observation_space(image).action_space(bin());
    let other = spec.model_config(json!({"conv_filters": [[8, [3, 3], 2]]}));
    algo.replace_module("b", other.build(&device()).unwrap()).unwrap();
    assert_survives(&mut algo);
}

/// Batches of 25 steps end within an episode of ten, so the replaced module has open steps.
#[test]
fn a_module_of_two_agents_is_replaced_by_one_with_another_memory() {
    game("test/Replaced-v0", &[("a", 1), ("b", 1)]);
    let config = two("test/Replaced-v0").training(|t| t.train_batch_size(25));
    let mut algo = config.build(&device()).unwrap();
    let lstm = |cells: usize| {
        RLModuleSpec::default()
            .observation_space(one())
            .action_space(bin())
            .model_config(json!({"fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": cells}))
            .build(&device())
            .unwrap()
    };
    algo.train().unwrap();
    let networks = [lstm(4), lstm(8), network(1), lstm(8)];
    for module in networks {
        algo.set_policies_to_train(ids(&["a"])).unwrap();
        algo.replace_module("b", heuristic()).unwrap();
        algo.train().unwrap();
        algo.replace_module("b", module).unwrap();
        algo.set_policies_to_train(ids(&["a", "b"])).unwrap();
        algo.train().unwrap();
    }
    for module in [lstm(4), network(1), lstm(8), lstm(4)] {
        algo.replace_module("b", module).unwrap();
        algo.train().unwrap();
        algo.train().unwrap();
    }
    assert_survives(&mut algo);
}

/// One encoder and one critic for all modules, and a head for each.
#[derive(Module, Debug)]
struct Common {
    encoder: Mlp,
    heads: PerModule<Mlp>,
    critic: Mlp,
}

impl SharedRLModule for Common {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let heads = PerModule::build(cx, |cx| Ok(cx.mlp(4, &[], 2)))?;
        Ok(Self { encoder: first.mlp(1, &[], 4), heads, critic: first.mlp(1, &[4], 1) })
    }

    fn forward_train(&self, id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let features = self.encoder.forward(batch.float::<2>(Columns::OBS)?).tanh();
        let logits = self.heads.get(id)?.forward(features);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn SharedValueFunction> {
        Some(self)
    }

    fn type_name() -> String {
        "tests.Common".into()
    }
}

impl SharedValueFunction for Common {
    fn compute_values(
        &self,
        _: &str,
        batch: &Batch,
        _: Option<Tensor<2>>,
    ) -> ModuleResult<Tensor<1>> {
        Ok(self.critic.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

fn shared(id: &str) -> PpoConfig {
    let spec = || RLModuleSpec::default().observation_space(one()).action_space(bin());
    let specs = MultiRLModuleSpec::shared::<Common>(["a", "b", "c"].map(|id| (id, spec())));
    let mut config = ppo(id).multi_agent(|m| {
        m.policies(["a", "b", "c"]).policy_mapping(PolicyMapping::ByAgent).rl_module_specs(specs)
    });
    config.model_config = Default::default();
    config
}

#[test]
fn shared_modules_survive_the_removal_and_replacement_of_their_parts() {
    game("test/Common-v0", &[("a", 1), ("b", 1), ("c", 1)]);
    let build = || shared("test/Common-v0").build(&device()).unwrap();
    let mut algo = build();
    assert_survives(&mut algo);
    let part = algo.remove_module("c", Some(table(&[("a", "a"), ("b", "b"), ("c", "b")]))).unwrap();
    assert_survives(&mut algo);
    // A removed part that joins again has parameters of its own.
    algo.add_module("c", part, Some(PolicyMapping::ByAgent), None).unwrap();
    assert_survives(&mut algo);

    let mut first = build();
    first.remove_module("a", Some(table(&[("a", "b"), ("b", "b"), ("c", "c")]))).unwrap();
    assert_survives(&mut first);

    let mut replaced = build();
    replaced.replace_module("b", network(1)).unwrap();
    assert_survives(&mut replaced);

    let mut copied = build();
    let copy = copied.module("a").unwrap().clone();
    copied.add_module("d", copy, Some(table(&[("a", "a"), ("b", "b"), ("c", "d")])), None).unwrap();
    assert_survives(&mut copied);
}

#[test]
fn modules_that_share_parameters_have_one_optimizer() {
    game("test/OneOptimizer-v0", &[("a", 1), ("b", 1), ("c", 1)]);
    for (field, value) in
        [("lr", json!(1.0)), ("grad_clip", json!(1e-9)), ("optimizer", json!({"type": "sgd"}))]
    {
        let config =
            shared("test/OneOptimizer-v0").multi_agent(|m| m.override_module("a", field, value));
        let message = config.build(&device()).unwrap_err().to_string();
        for part in ["module `b`", "which shares its parameters", "same learning rate"] {
            assert!(message.contains(part), "{field}: no `{part}` in: {message}");
        }
    }
    // Settings of the loss may differ.
    let config = shared("test/OneOptimizer-v0")
        .multi_agent(|m| m.override_module("a", "vf_loss_coeff", 0.0));
    assert_survives(&mut config.build(&device()).unwrap());
}

/// A fixed mask of logits, −∞ for the second of two actions.
#[derive(Module, Debug)]
struct Masked {
    policy: Mlp,
    values: Mlp,
    mask: Param<Tensor<1>>,
}

impl RLModule for Masked {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let mask = Tensor::from_floats([0.0, f32::NEG_INFINITY, 0.0], cx.device());
        let mask = Param::from_tensor(mask).set_require_grad(false);
        Ok(Self { policy: cx.mlp(1, &[4], 3), values: cx.mlp(1, &[4], 1), mask })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits + self.mask.val().unsqueeze()))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }

    fn type_name() -> String {
        "tests.Masked".into()
    }
}

impl ValueFunction for Masked {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(self.values.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

#[test]
fn a_parameter_that_is_infinite_survives_a_checkpoint() {
    let spaces = [one(), Space::discrete(3).unwrap()];
    scripted::env("test/MaskedBandit-v0", spaces, |t, _, mut observation| {
        observation.write_f32(&[t as f32])?;
        Ok(Step { reward: 1.0, terminated: t == 10, truncated: false })
    });
    register_module::<Masked>();
    let mut config = ppo("test/MaskedBandit-v0").rl_module(RLModuleSpec::of::<Masked>());
    config.model_config = Default::default();
    let mut algo = config.build(&device()).unwrap();
    assert_survives(&mut algo);
    let state = algo.get_state().unwrap();
    algo.set_state(&state).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    PolicyBundle::from_checkpoint(&path, &device()).unwrap();
}

fn refused<T>(outcome: Result<T, AlgorithmError>, part: &str) {
    let message = outcome.err().unwrap().to_string();
    assert!(message.contains(part), "no `{part}` in: {message}");
}

/// Tries a change that is refused, and checks that the algorithm continues as one that was not asked.
fn assert_unchanged(
    config: &PpoConfig,
    part: &str,
    change: impl Fn(&mut Algorithm) -> Result<(), AlgorithmError>,
) {
    let [mut asked, mut other] = [(); 2].map(|()| config.build(&device()).unwrap());
    asked.train().unwrap();
    other.train().unwrap();
    refused(change(&mut asked), part);
    assert_eq!(
        asked.get_state().unwrap().data["config"],
        other.get_state().unwrap().data["config"]
    );
    asked.train().unwrap();
    other.train().unwrap();
    let [asked, other] = [asked, other].map(|algo| algo.get_state().unwrap());
    for part in ["learner", "env_runners"] {
        assert_eq!(asked.components[part], other.components[part], "{part}");
    }
}

#[test]
fn a_refused_change_of_modules_changes_nothing() {
    game("test/Refused-v0", &[("a", 1), ("b", 2)]);
    let filtered = |c: PpoConfig| {
        c.env_runners(|e| e.env_to_module_connector(ConnectorConfig::mean_std_filter()))
    };
    let config = filtered(two("test/Refused-v0"));
    assert_unchanged(&config, "typo", |algo| {
        algo.add_module("c", network(1), None, ids(&["c", "typo"]))
    });
    // The heuristic cannot learn, and learns nothing so far.
    let mut frozen = config.clone().multi_agent(|m| {
        let h = RLModuleSpec::of::<Heuristic>().observation_space(one()).action_space(bin());
        m.policies(["a", "b", "h"])
            .policies_to_train(["a", "b"])
            .rl_module_specs(MultiRLModuleSpec::new([("h", h)]))
    });
    frozen.model_config = Default::default();
    assert_unchanged(&frozen, "ValueFunction", |algo| {
        algo.add_module("c", network(1), None, ids(&["a", "b", "c", "h"]))
    });
    assert_unchanged(&frozen, "ValueFunction", |algo| algo.set_policies_to_train(None));
    assert_unchanged(&frozen, "typo", |algo| algo.set_policies_to_train(ids(&["typo"])));

    // `later` observes one value, and `b` two.
    let later = config.clone().multi_agent(|m| {
        m.policies(["a", "b", "later"])
            .rl_module_specs(MultiRLModuleSpec::new([("later", network(1).spec().clone())]))
    });
    let to_later = || table(&[("a", "a"), ("b", "later")]);
    assert_unchanged(&later, "later", |algo| algo.set_policy_mapping(to_later()));
    assert_unchanged(&later, "later", |algo| algo.remove_module("b", Some(to_later())).map(|_| ()));
}

/// Pays 100 per step with the setting `rich`, with which only two environments can be made, and 1
/// without.
struct Paying {
    spaces: [Space; 2],
    reward: f64,
    t: usize,
}

impl Env for Paying {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }

    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }

    fn reset(&mut self, _: &ResetOptions, mut observation: RowMut<'_>) -> Result<(), EnvError> {
        self.t = 0;
        observation.write_f32(&[0.0])
    }

    fn step(&mut self, _: Row<'_>, mut observation: RowMut<'_>) -> Result<Step, EnvError> {
        self.t += 1;
        observation.write_f32(&[self.t as f32])?;
        Ok(Step { reward: self.reward, terminated: self.t == 10, truncated: false })
    }
}

#[test]
fn environment_settings_that_evaluation_refuses_change_nothing() {
    static RICH: AtomicUsize = AtomicUsize::new(0);
    let make = |config: &EnvConfig| {
        let rich = config.get_bool("rich")?.unwrap_or_default();
        if rich && RICH.fetch_add(1, Ordering::Relaxed) >= 2 {
            return Err(EnvError::custom("none left"));
        }
        Ok(Paying { spaces: [one(), bin()], reward: if rich { 100.0 } else { 1.0 }, t: 0 })
    };
    register(EnvSpec::new("test/Paying-v0", make)).unwrap();
    // Training has one environment, and evaluation has three.
    let config = ppo("test/Paying-v0").evaluation(|e| {
        e.evaluation_interval(1)
            .evaluation_duration(1)
            .evaluation_config(|c| c.num_envs_per_env_runner(3))
    });
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    refused(algo.set_env_config(&EnvConfig::new().with("rich", true)), "none left");
    assert_eq!(algo.env_config(), &EnvConfig::new());
    for _ in 0..2 {
        let result = algo.train().unwrap();
        assert_eq!(result.get("env_runners/episode_return_mean"), Some(10.0));
        assert_eq!(result.get("evaluation/env_runners/episode_return_mean"), Some(10.0));
    }
}

/// Adds a module when the algorithm is built.
struct AddsOne;

impl Callbacks for AddsOne {
    fn on_algorithm_init(&self, algorithm: &mut Algorithm) -> CallbackResult {
        let copy = algorithm.module("a")?.clone();
        Ok(algorithm.add_module("c", copy, None, ids(&["a", "c"]))?)
    }
}

#[test]
fn a_hook_that_adds_a_module_at_the_start_does_not_hinder_restoring() {
    game("test/Hooked-v0", &[("a", 1), ("b", 1)]);
    let mut algo = two("test/Hooked-v0").callbacks(AddsOne).build(&device()).unwrap();
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let mut restored = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), |config| {
        config.callbacks(AddsOne)
    })
    .unwrap();
    let weights = |algo: &Algorithm| algo.module("c").unwrap().state_dict().unwrap();
    assert_eq!(weights(&restored), weights(&algo));
    // Afterwards the id is taken, as ever.
    refused(restored.add_module("c", network(1), None, None), "`c`");
}

#[test]
fn a_module_that_joins_without_a_critic_needs_complete_episodes() {
    game("test/NoCritic-v0", &[("a", 1), ("b", 1)]);
    let config = two("test/NoCritic-v0").training(|t| t.use_critic(false)).multi_agent(|m| {
        m.override_module("a", "use_critic", true).override_module("b", "use_critic", true)
    });
    let to_c = || Some(table(&[("a", "a"), ("b", "c")]));
    assert_unchanged(&config, "`use_critic` is false", |algo| {
        algo.add_module("c", network(1), to_c(), None)
    });
    // It may act, and may not be told to learn later.
    let mut algo = config.build(&device()).unwrap();
    algo.add_module("c", network(1), to_c(), ids(&["a"])).unwrap();
    algo.train().unwrap();
    refused(algo.set_policies_to_train(None), "`use_critic` is false");
    algo.train().unwrap();
}
