//! SAC, TQC, TD3 and DDPG: resuming, targets, action spaces, custom parts, and settings that cannot be.

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, AlgorithmError, TrainingConfig};
use rekindle::catalog::SquashedGaussian;
use rekindle::checkpoint::ArrayData;
use rekindle::core::AnyTensor;
use rekindle::env::diagnostic::RandomEnv;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;
use rekindle::rl_module::{DeterministicActorCritic, Result as ModuleResult, SoftActorCritic};

use crate::support::device;

pub(crate) fn train(algo: &mut Algorithm, iterations: usize) {
    (0..iterations).for_each(|_| drop(algo.train().unwrap()));
}

fn pendulum<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("Pendulum-v1")
        .env_runners(|e| e.num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![8])
        .seed(3)
}

fn prioritized() -> ReplayConfig {
    ReplayConfig::default().capacity(120).prioritized(PrioritizedConfig::default())
}

fn uniform() -> ReplayConfig {
    ReplayConfig::default().capacity(500)
}

pub(crate) fn sac() -> SacConfig {
    pendulum(SacConfig::new()).training(|t| {
        t.train_batch_size(8)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(20)
            .sample_timesteps_per_update_round(2)
    })
}

fn td3() -> Td3Config {
    pendulum(Td3Config::new()).training(|t| {
        t.train_batch_size(8)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(20)
            .sample_timesteps_per_update_round(2)
    })
}

fn ddpg() -> DdpgConfig {
    pendulum(DdpgConfig::new()).training(|t| {
        t.train_batch_size(8)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(20)
            .sample_timesteps_per_update_round(2)
    })
}

pub(crate) fn tqc() -> TqcConfig {
    pendulum(TqcConfig::new()).training(|t| {
        t.train_batch_size(8)
            .num_quantiles(5)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(20)
            .sample_timesteps_per_update_round(2)
    })
}

pub(crate) fn n_and_n_are_2n<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    train(&mut straight, 20);
    straight.save_to_path(&path).unwrap();
    let mut resumed = Algorithm::from_checkpoint::<T>(&path, &device()).unwrap();
    for algo in [&mut straight, &mut resumed] {
        train(algo, 21);
    }
    let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
    for component in ["learner", "env_runners", "execution_plan"] {
        let of = |state: &State| state.component(component).unwrap().clone();
        assert!(of(&straight) == of(&resumed), "{} {component}", T::NAME);
    }
}

#[test]
fn n_and_n_iterations_are_2n() {
    n_and_n_are_2n(&sac());
    n_and_n_are_2n(&sac().training(|t| {
        t.replay_buffer_config(prioritized())
            .n_step(1..=3)
            .updates_per_env_step(0.7)
            .critics_use_layernorm(true)
            .num_critics(3)
    }));
    n_and_n_are_2n(&sac().environment("CartPole-v1").training(|t| t.learn_alpha(false)));
    n_and_n_are_2n(&td3());
    n_and_n_are_2n(&ddpg());
    n_and_n_are_2n(&tqc());
}

/// The weights below a prefix, one after the other.
pub(crate) fn part(algo: &Algorithm, prefix: &str) -> Vec<f32> {
    let weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let part = weights.iter().filter(|(name, _)| name.starts_with(prefix));
    part.flat_map(|(_, array)| array.as_slice::<f32>().unwrap().to_vec()).collect()
}

#[test]
fn targets_follow_after_each_update_of_a_round_and_a_delayed_policy_after_every_second() {
    // One update a step, and then one of four steps.
    for (rounds, updates) in [(4, 1), (1, 4)] {
        let mut algo = sac()
            .env_runners(|e| e.num_envs_per_env_runner(1))
            .training(|t| {
                t.sample_timesteps_per_update_round(updates)
                    .num_steps_sampled_before_learning_starts(0)
                    .critic_lr(0.0)
                    .tau(0.5)
            })
            .build(&device())
            .unwrap();
        let (main, before) = (part(&algo, "qf"), part(&algo, "target_qf"));
        assert_eq!(main, before, "targets begin as copies");
        let apart: Vec<f32> = main.iter().map(|x| x + 1.0).collect();
        set_targets(&mut algo, 1.0);
        assert_eq!(part(&algo, "target_qf"), apart);
        train(&mut algo, rounds);
        for (target, main) in part(&algo, "target_qf").iter().zip(&main) {
            assert!((target - main - 0.5f32.powi(4)).abs() < 1e-5, "{target} {main}");
        }
    }
    let mut algo = td3()
        .env_runners(|e| e.num_envs_per_env_runner(1))
        .training(|t| {
            t.sample_timesteps_per_update_round(1).num_steps_sampled_before_learning_starts(0)
        })
        .build(&device())
        .unwrap();
    for update in 1..=4 {
        let parts = ["pi", "target_pi", "target_qf", "qf"];
        let before = parts.map(|prefix| part(&algo, prefix));
        train(&mut algo, 1);
        for (prefix, before) in parts.into_iter().zip(before) {
            let moves = prefix == "qf" || update % 2 == 0;
            assert_eq!(part(&algo, prefix) != before, moves, "{prefix} in update {update}");
        }
    }
}

/// Adds a number to all weights of the target critics.
fn set_targets(algo: &mut Algorithm, by: f32) {
    let mut weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    for (_, array) in weights.iter_mut().filter(|(name, _)| name.starts_with("target_qf")) {
        let moved = array.as_slice::<f32>().unwrap().iter().map(|x| x + by).collect::<Vec<_>>();
        *array = Array::new(array.shape().to_vec(), ArrayData::F32(moved)).unwrap();
    }
    algo.load_module_matching(DEFAULT_MODULE_ID, &weights).unwrap();
}

#[test]
fn each_optimizer_moves_its_own_part_alone() {
    type Change = fn(SacTraining) -> SacTraining;
    let still: [(&str, Change); 3] = [
        ("actor", |t| t.actor_lr(0.0)),
        ("critic", |t| t.critic_lr(0.0)),
        ("alpha", |t| t.alpha_lr(0.0)),
    ];
    for (name, change) in still {
        let mut algo = sac().training(change).build(&device()).unwrap();
        let before = ["encoder", "pi", "qf"].map(|prefix| part(&algo, prefix));
        train(&mut algo, 15);
        let result = algo.train().unwrap();
        let [encoder, pi, qf] = ["encoder", "pi", "qf"].map(|prefix| part(&algo, prefix));
        let [old_encoder, old_pi, old_qf] = before;
        assert_eq!(encoder != old_encoder && pi != old_pi, name != "actor", "{name}");
        assert_eq!(encoder == old_encoder && pi == old_pi, name == "actor", "{name}");
        assert_eq!(qf != old_qf, name != "critic", "{name}");
        let alpha = result.get("learners/default_policy/alpha").unwrap();
        assert_eq!(alpha != 1.0, name != "alpha", "{name}: {alpha}");
        for loss in ["critic_loss", "actor_loss", "alpha_loss", "entropy", "td_error_mean"] {
            let value = result.get(&format!("learners/default_policy/{loss}"));
            assert!(value.is_some_and(f64::is_finite), "{loss}: {value:?}");
        }
    }
}

#[test]
fn what_is_stored_is_what_was_executed_in_the_units_of_the_module() {
    let mut algo = sac()
        .training(|t| t.num_steps_sampled_before_learning_starts(300))
        .build(&device())
        .unwrap();
    train(&mut algo, 100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let state = rekindle::checkpoint::read(&path).unwrap();
    let chunks = state.component("execution_plan/default_policy/rows").unwrap();
    let mut actions: Vec<f32> = Vec::new();
    for index in 0..chunks.shards.len() {
        let chunk = columns(&chunks.part(&index.to_string()).unwrap());
        // Of the stored columns, actions have one number per row.
        let rows = chunk.iter().map(|array| array.shape()[0]).max().unwrap();
        let of_rows = chunk.iter().find(|array| array.shape() == [rows, 1]).unwrap();
        actions.extend(of_rows.as_slice::<f32>().unwrap());
    }
    let actions = &actions[..200];
    // Random actions before learning starts: uniform in [−1, 1], not in Pendulum's [−2, 2].
    assert!(actions.iter().all(|a| (-1.0..=1.0).contains(a)), "{actions:?}");
    let large = actions.iter().filter(|a| a.abs() > 0.5).count();
    assert!((70..130).contains(&large), "{large} of 200 are beyond ±0.5");
}

#[test]
fn a_bundle_has_no_critics_and_acts_the_same() {
    fn check<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
        let mut algo = config.build(&device()).unwrap();
        train(&mut algo, 15);
        let module = algo.module(DEFAULT_MODULE_ID).unwrap();
        let mut acting = module.spec().clone().inference_only(true).build(&device()).unwrap();
        acting.load_state_dict(&module.state_dict().unwrap()).unwrap();
        let names: Vec<_> = acting.state_dict().unwrap().into_keys().collect();
        let is_policy = |n: &String| n.starts_with("encoder.") || n.starts_with("pi.");
        assert!(names.iter().all(is_policy), "{names:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
        let mut policy = PolicyBundle::from_checkpoint(&path, &device()).unwrap();
        let mut observations = Buffer::zeros(&Space::unbounded(&[3]).unwrap(), 4);
        let numbers = observations.as_f32_mut().unwrap();
        numbers.iter_mut().enumerate().for_each(|(i, x)| *x = (i as f32).sin());
        let acted = policy.compute_actions(&observations, false).unwrap().clone();
        let acted = acted.as_f32().unwrap();
        let column = rekindle::core::host_batch::upload(&observations, &device()).unwrap();
        let out = acting.forward_inference(&Batch::new().with(Columns::OBS, column)).unwrap();
        let expected = match out.contains(Columns::ACTIONS) {
            true => out.column(Columns::ACTIONS).unwrap().tensor().unwrap().to_f32().unwrap(),
            false => {
                let inputs = out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
                AnyTensor::from(inputs.narrow(1, 0, 1).tanh()).to_f32().unwrap()
            }
        };
        for (a, b) in acted.iter().zip(expected) {
            assert!((a - 2.0 * b).abs() < 1e-5, "{}: {a} {b}", T::NAME);
        }
    }
    check(&sac());
    check(&tqc());
    check(&td3());
    check(&ddpg());
}

/// The arrays of a state and its components.
fn columns(state: &State) -> Vec<Array> {
    let own = state.tensors.values().cloned();
    own.chain(state.components.values().flat_map(columns)).collect()
}

/// Registers an environment with these spaces and random rewards.
fn random(id: &'static str, observations: Space, actions: Space) {
    let make = move |_: &EnvConfig| Ok(RandomEnv::new(observations.clone(), actions.clone()));
    register(EnvSpec::new(id, make)).unwrap();
}

#[test]
fn actions_of_any_bounds_and_shape_and_observations_of_any_kind_are_learned_from() {
    let vector = || Space::unbounded(&[2]).unwrap();
    let nested = Space::dict([("x", vector()), ("n", Space::discrete(3).unwrap())]).unwrap();
    let lopsided = Space::box_between([-1.0, 0.25], [7.0, 0.5]).unwrap();
    let matrix = Space::boxed(-3.0, 1.0, &[2, 2]).unwrap();
    let scalar = Space::boxed(0.0, 1.0, &[]).unwrap();
    let image = Space::image(&[12, 12, 1]).unwrap();
    let cases = [
        ("test/Sac0-v0", vector(), lopsided),
        ("test/Sac1-v0", nested.clone(), matrix),
        ("test/Sac2-v0", image, scalar),
        ("test/Sac3-v0", nested, Space::discrete_with_start(3, 5).unwrap()),
    ];
    for (id, observations, actions) in cases {
        let is_box = matches!(actions, Space::Box(_));
        random(id, observations, actions);
        let of_sac = SacConfig::new()
            .environment(id)
            .seed(0)
            .training(|t| t.train_batch_size(4).num_steps_sampled_before_learning_starts(4));
        let mut algo = of_sac.build(&device()).unwrap();
        train(&mut algo, 8);
        let before = algo.learner().get_state().unwrap();
        train(&mut algo, 1);
        assert!(algo.learner().get_state().unwrap() != before, "{id}");
        if is_box {
            let of_td3 = Td3Config::new()
                .environment(id)
                .seed(0)
                .training(|t| t.train_batch_size(4).num_steps_sampled_before_learning_starts(4));
            train(&mut of_td3.build(&device()).unwrap(), 8);
        }
    }
}

/// A module of SAC: its own networks under the names that the optimizers look for.
#[derive(Module, Debug)]
struct OwnSac {
    pi: Mlp,
    qf: Mlp,
    target_qf: Mlp,
}

fn unit() -> SquashedGaussian {
    SquashedGaussian::new([-1.0], [1.0]).unwrap()
}

fn value(qf: &Mlp, batch: &Batch) -> ModuleResult<Tensor<3>> {
    let (obs, actions) = (batch.float::<2>(Columns::OBS)?, batch.float::<2>(Columns::ACTIONS)?);
    Ok(qf.forward(Tensor::cat(vec![obs, actions], 1)).unsqueeze_dim(1))
}

impl RLModule for OwnSac {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let obs = cx.observation_space().flat_dim();
        let qf = || cx.mlp(obs + 1, &[16], 1);
        Ok(Self { pi: cx.mlp(obs, &[16], 2), qf: qf(), target_qf: qf() })
    }
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let inputs = self.pi.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs))
    }
    fn action_distribution(
        _: &ModuleContext<'_>,
    ) -> ModuleResult<std::sync::Arc<dyn Distribution>> {
        Ok(std::sync::Arc::new(unit()))
    }
    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        Some(self)
    }
    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl ActionCritic for OwnSac {
    fn compute_action_values(&self, batch: &Batch) -> ModuleResult<Tensor<3>> {
        value(&self.qf, batch)
    }
}

impl StochasticPolicy for OwnSac {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> ModuleResult<(Tensor<2>, Tensor<1>)> {
        Ok(unit().rsample_and_logp(self.pi.forward(batch.float::<2>(Columns::OBS)?), noise)?)
    }
}

impl TargetNetwork for OwnSac {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }
    fn forward_target(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, value(&self.target_qf, batch)?))
    }
}

#[test]
fn a_custom_module_and_a_custom_catalog_learn() {
    let mut own = sac();
    own.model_config.clear();
    let mut algo = own.rl_module(RLModuleSpec::of::<OwnSac>()).build(&device()).unwrap();
    let before = ["pi", "qf", "target_qf"].map(|prefix| part(&algo, prefix));
    train(&mut algo, 15);
    for (prefix, before) in ["pi", "qf", "target_qf"].into_iter().zip(before) {
        assert_ne!(part(&algo, prefix), before, "{prefix}");
    }

    let spec = RLModuleSpec::of::<SoftActorCritic>().catalog(Mirrors);
    let mut algo = sac().rl_module(spec).build(&device()).unwrap();
    train(&mut algo, 15);
    let names = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    for name in ["encoder.mirror.layers.0.weight", "qf.encoder.mirror.layers.0.weight"] {
        assert!(names.contains_key(name), "{:?}", names.keys());
    }
    // Actions join the features of the catalog's encoder.
    assert_eq!(names["qf.layers.layers.0.weight"].shape(), [2, 6 + 1, 256]);
    assert_eq!(names["qf.layers.layers.1.weight"].shape(), [2, 256, 1]);
}

/// The features of an observation minus those of its mirror image.
#[derive(Module, Debug)]
struct Mirror {
    mirror: Mlp,
}

impl Encoder for Mirror {
    fn forward(&self, observations: &Column) -> rekindle::catalog::Result<Tensor<2>> {
        let x = observations.tensor()?.float::<2>()?;
        Ok(self.mirror.forward(x.clone()) - self.mirror.forward(x.neg()))
    }
    fn output_dim(&self) -> usize {
        6
    }
}

#[derive(Debug)]
struct Mirrors;

impl Catalog for Mirrors {
    fn build_encoder(
        &self,
        cx: CatalogContext<'_>,
        space: &Space,
    ) -> rekindle::catalog::Result<BoxEncoder> {
        let mirror = MlpConfig::new(space.flat_dim(), &[5], Some(6)).build(cx.builder);
        Ok(BoxEncoder::new(Mirror { mirror }))
    }
}

#[test]
fn vectors_and_actions_go_into_the_first_layer_of_each_critic_together() {
    let algo = sac().build(&device()).unwrap();
    let names = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert_eq!(names["qf.layers.layers.0.weight"].shape(), [2, 3 + 1, 8]);
    assert_eq!(names["qf.layers.layers.1.weight"].shape(), [2, 8, 1]);
    assert!(!names.keys().any(|name| name.starts_with("qf.encoder")));
    let wide = sac().model("vf_fcnet_hiddens", vec![9, 7]).build(&device()).unwrap();
    let names = wide.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert_eq!(names["qf.layers.layers.1.weight"].shape(), [2, 9, 7]);
}

#[test]
fn each_module_has_its_own_temperature_and_settings() {
    let config = sac()
        .environment("MultiAgentPendulum-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .multi_agent(|m| m.override_module("1", "initial_alpha", 0.5));
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, 12);
    let result = algo.train().unwrap();
    let [first, second] = ["0", "1"].map(|id| result.get(&format!("learners/{id}/alpha")).unwrap());
    assert!((first - 1.0).abs() < 0.05 && (second - 0.5).abs() < 0.05, "{first} {second}");
}

pub(crate) fn message<T: TrainingConfig>(config: &AlgorithmConfig<T>) -> String {
    config.build(&device()).unwrap_err().to_string()
}

#[test]
fn settings_and_spaces_that_cannot_be_are_refused() {
    random("test/Open-v0", Space::unbounded(&[2]).unwrap(), Space::unbounded(&[1]).unwrap());
    let bits = Space::multi_binary(2).unwrap();
    random("test/Bits-v0", Space::unbounded(&[2]).unwrap(), bits);
    let with = |change: fn(SacTraining) -> SacTraining| message(&sac().training(change));
    for (found, expected) in [
        (with(|t| t.train_batch_size(501)), "`replay_buffer_config.capacity` (500)"),
        (with(|t| t.n_step(501)), "`replay_buffer_config.capacity` (500)"),
        (with(|t| t.actor_lr(-1.0)), "`actor_lr`"),
        (with(|t| t.initial_alpha(0.0)), "`initial_alpha`"),
        (with(|t| t.target_entropy(f64::NAN)), "`target_entropy`"),
        (with(|t| t.num_critics(0)), "`num_critics`"),
        (with(|t| t.tau(1.5)), "`tau`"),
        (message(&sac().normalize_actions(false)), "`normalize_actions` is false"),
        (message(&sac().env_runners(|e| e.explore(false))), "`env_runners.explore`"),
        (message(&sac().environment("test/Open-v0")), "bound the Box"),
        (message(&sac().environment("test/Bits-v0")), "use PPO"),
        (with(|t| t.burn_in_len(4)), "module `default_policy` has no memory"),
        (message(&sac().model("vf_share_layers", true)), "`vf_share_layers`"),
        (message(&td3().environment("CartPole-v1")), "use DQN or SAC"),
        (message(&td3().environment("test/Open-v0")), "bound the Box"),
        (message(&td3().training(|t| t.policy_delay(0))), "`policy_delay`"),
        (message(&td3().training(|t| t.burn_in_len(4))), "module `default_policy` has no memory"),
        (message(&td3().training(|t| t.target_noise(-0.1))), "`target_noise`"),
        (message(&ddpg().training(|t| t.exploration_noise(f64::NAN))), "`exploration_noise`"),
        (message(&ddpg().environment("CartPole-v1")), "use DQN or SAC"),
        (message(&tqc().environment("CartPole-v1")), "quantiles"),
        (
            message(&tqc().training(|t| t.top_quantiles_to_drop_per_critic(5))),
            "`num_quantiles` (5)",
        ),
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

/// A module that acts, and nothing else.
#[derive(Module, Debug)]
struct Plain {
    pi: Mlp,
}

impl RLModule for Plain {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { pi: cx.mlp(3, &[4], 2) })
    }
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let inputs = self.pi.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs))
    }
}

#[test]
fn modules_without_the_roles_are_refused_with_the_method_to_implement() {
    let mut plain = sac();
    plain.model_config.clear();
    let error = plain.rl_module(RLModuleSpec::of::<Plain>()).build(&device()).unwrap_err();
    assert!(matches!(error, AlgorithmError::Learner { .. }), "{error:?}");
    for (found, expected) in [
        (error.to_string(), "as_action_critic"),
        (
            message(&sac().rl_module(RLModuleSpec::of::<DeterministicActorCritic>())),
            "as_stochastic_policy",
        ),
        (
            message(&td3().rl_module(RLModuleSpec::of::<SoftActorCritic>())),
            "as_deterministic_policy",
        ),
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn critics_whose_values_overflow_change_no_weight() {
    let mut algo = sac().build(&device()).unwrap();
    train(&mut algo, 12);
    let mut weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let infinite = weights.iter_mut().find(|(name, _)| name.starts_with("qf")).unwrap().1;
    let large = vec![f32::MAX; infinite.as_slice::<f32>().unwrap().len()];
    *infinite = Array::new(infinite.shape().to_vec(), ArrayData::F32(large)).unwrap();
    algo.load_module_matching(DEFAULT_MODULE_ID, &weights).unwrap();
    let result = algo.train().unwrap();
    let refused = "learners/default_policy/num_non_finite_updates_lifetime";
    assert!(result.get(refused).is_some_and(|count| count > 0.0));
    let weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let numbers = weights.values().flat_map(|array| array.as_slice::<f32>().unwrap());
    assert!(numbers.into_iter().all(|x| x.is_finite()));
}

#[test]
fn ddpg_is_td3_with_one_critic_without_delay_and_noise_on_targets() {
    let as_td3 = td3().training(|t| t.num_critics(1).policy_delay(1).target_noise(0.0));
    let mut algorithms = [ddpg().build(&device()).unwrap(), as_td3.build(&device()).unwrap()];
    algorithms.iter_mut().for_each(|algo| train(algo, 30));
    let [ddpg, td3] =
        algorithms.map(|algo| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap());
    assert!(ddpg == td3);
}

#[test]
fn the_temperature_falls_by_the_learning_rate_in_the_first_step_of_a_policy_with_too_much_entropy()
{
    let config = sac().env_runners(|e| e.num_envs_per_env_runner(1)).training(|t| {
        t.sample_timesteps_per_update_round(1).num_steps_sampled_before_learning_starts(0)
    });
    let mut algo = config.build(&device()).unwrap();
    let mut alpha = || algo.train().unwrap().get("learners/default_policy/alpha").unwrap();
    assert_eq!(alpha(), 1.0);
    let second = alpha();
    assert!((second - (-3e-4f64).exp()).abs() < 1e-7, "{second}");
}

#[test]
fn a_choice_without_alternatives_has_no_entropy_and_finite_losses() {
    random("test/One-v0", Space::unbounded(&[2]).unwrap(), Space::discrete(1).unwrap());
    let mut algo = sac().environment("test/One-v0").build(&device()).unwrap();
    train(&mut algo, 12);
    let result = algo.train().unwrap();
    let of = |name: &str| result.get(&format!("learners/default_policy/{name}")).unwrap();
    assert_eq!(of("entropy"), 0.0);
    assert!(of("critic_loss").is_finite() && of("actor_loss").is_finite());
    assert!(result.get("learners/default_policy/num_non_finite_updates_lifetime").is_none());
}
