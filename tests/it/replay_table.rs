//! DQN, C51, QR-DQN, PQN, SAC, discrete SAC, TD3 and TQC in every modality: each cell of the table trains, or is
//! refused at build with what to do instead.

mod shared;

use std::sync::Once;

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::core::rng::{Purpose, stream};
use rekindle::env::VectorStep;
use rekindle::env::diagnostic::RandomEnv;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;
use serde_json::json;

use self::shared::{Policy, SharedCritics, SharedValues};
use crate::scripted;
use crate::support::device;

/// What a cell of the table does.
#[derive(Clone, Copy)]
enum Cell {
    /// It trains.
    Trains,
    /// It is refused at build, with this in the message.
    Refused(&'static str),
}

use Cell::{Refused, Trains};

const NO_MASK: Cell = Refused("masks the actions of a Discrete space, and a Box has none");

#[rustfmt::skip]
const TABLE: [(&str, [Cell; 9]); 8] = [
    // algorithm       mask     LSTM    Dict    image   two     shared  override bundle  resume
    ("DQN",          [Trains,  Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("C51",          [Trains,  Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("QR-DQN",       [Trains,  Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("PQN",          [Trains,  Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("SAC",          [NO_MASK, Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("discrete SAC", [Trains,  Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("TD3",          [NO_MASK, Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
    ("TQC",          [NO_MASK, Trains, Trains, Trains, Trains, Trains, Trains,  Trains, Trains]),
];

/// An algorithm, with what its cells need.
struct Case<T: TrainingConfig> {
    name: &'static str,
    /// Small networks and few steps, without an environment.
    config: AlgorithmConfig<T>,
    is_discrete: bool,
    /// Two modules with a common encoder.
    shared: MultiRLModuleSpec,
    /// The learning rates.
    rates: &'static [&'static str],
}

const SEED: u64 = 3;

fn small<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(SEED)
}

fn dqn_of(
    name: &'static str,
    change: fn(DqnTraining) -> DqnTraining,
    shared: MultiRLModuleSpec,
) -> Case<DqnTraining> {
    let replay = ReplayConfig::default().capacity(400).prioritized(PrioritizedConfig::default());
    let config = small(DqnConfig::new()).training(|t| {
        t.train_batch_size(12)
            .replay_buffer_config(replay)
            .num_steps_sampled_before_learning_starts(16)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.25)
            .n_step(1..=2)
            .target_network_update_freq(32)
            .tau(0.5)
    });
    Case { name, config: config.training(change), is_discrete: true, shared, rates: &["lr"] }
}

fn uniform() -> ReplayConfig {
    ReplayConfig::default().capacity(400)
}

const RATES: &[&str] = &["actor_lr", "critic_lr"];

fn sac_of(name: &'static str, is_discrete: bool, policy: Policy) -> Case<SacTraining> {
    let config = small(SacConfig::new()).training(|t| {
        t.train_batch_size(12)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(32)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.25)
            .n_step(1..=2)
    });
    let shared = SharedCritics::specs(policy, 1);
    Case { name, config, is_discrete, shared, rates: RATES }
}

#[test]
fn dqn_in_every_modality() {
    check(&dqn_of("DQN", |t| t, SharedValues::specs(1, None)));
}

#[test]
fn c51_in_every_modality() {
    let change = |t: DqnTraining| t.num_atoms(5).v_min(0.0).v_max(20.0);
    check(&dqn_of("C51", change, SharedValues::specs(5, None)));
}

#[test]
fn qr_dqn_in_every_modality() {
    check(&dqn_of("QR-DQN", |t| t.num_quantiles(4), SharedValues::specs(1, Some(4))));
}

#[test]
fn pqn_in_every_modality() {
    let config = small(PqnConfig::new()).training(|t| {
        t.lr(1e-3)
            .train_batch_size(48)
            .minibatch_size(24)
            .num_epochs(1)
            .epsilon([(0, 1.0), (300, 0.1)])
    });
    let shared = SharedValues::specs(1, None);
    check(&Case { name: "PQN", config, is_discrete: true, shared, rates: &["lr"] });
}

#[test]
fn sac_in_every_modality() {
    check(&sac_of("SAC", false, Policy::Gaussian));
}

#[test]
fn discrete_sac_in_every_modality() {
    check(&sac_of("discrete SAC", true, Policy::Discrete));
}

#[test]
fn td3_in_every_modality() {
    let config = small(Td3Config::new()).training(|t| {
        t.train_batch_size(12)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(32)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.25)
            .n_step(1..=2)
    });
    let shared = SharedCritics::specs(Policy::Deterministic, 1);
    check(&Case { name: "TD3", config, is_discrete: false, shared, rates: RATES });
}

#[test]
fn tqc_in_every_modality() {
    let config = small(TqcConfig::new()).training(|t| {
        t.train_batch_size(12)
            .num_quantiles(4)
            .top_quantiles_to_drop_per_critic(1)
            .replay_buffer_config(uniform())
            .num_steps_sampled_before_learning_starts(32)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.25)
            .n_step(1..=2)
    });
    let shared = SharedCritics::specs(Policy::Gaussian, 4);
    check(&Case { name: "TQC", config, is_discrete: false, shared, rates: RATES });
}

/// Checks all cells of an algorithm.
fn check<T: TrainingConfig>(case: &Case<T>) {
    register_environments();
    let (_, cells) = TABLE.iter().find(|(name, _)| *name == case.name).unwrap();
    let modalities: [(&str, Configure<T>, Check<T>); 9] = [
        ("mask", mask, obeys),
        ("LSTM", lstm, remembers),
        ("Dict", dict, trains),
        ("image", image, trains),
        ("two modules", two_modules, differ),
        ("shared encoder", shared_encoder, share),
        ("override", overridden, overrides),
        ("bundle", vector, acts_as_evaluated),
        ("resume", vector, resumes),
    ];
    for ((modality, configure, check), cell) in modalities.into_iter().zip(cells) {
        let (config, cell_name) = (configure(case), format!("{} × {modality}", case.name));
        match cell {
            Trains => check(&cell_name, &config),
            Refused(expected) => {
                let message = config.build(&device()).unwrap_err().to_string();
                assert!(message.contains(expected), "{cell_name}: {message}");
            }
        }
    }
}

/// Sets environment and networks of a cell.
type Configure<T> = fn(&Case<T>) -> AlgorithmConfig<T>;
/// Checks a cell, whose name is given for messages.
type Check<T> = fn(&str, &AlgorithmConfig<T>);

pub(crate) fn register_environments() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vector = || Space::unbounded(&[2]).unwrap();
        let choices = || Space::discrete(3).unwrap();
        let bounded = || Space::box_between([-1.0, 0.25], [7.0, 0.5]).unwrap();
        let masked = || {
            let mask = ("action_mask", Space::multi_binary(3).unwrap());
            Space::dict([mask, ("observations", vector())]).unwrap()
        };
        let nested = || Space::dict([("x", vector()), ("n", choices())]).unwrap();
        let pixels = || Space::image(&[12, 12, 1]).unwrap();
        // A forbidden action has the reward NaN, which is an error.
        scripted::env("Table/Masked-v0", [masked(), choices()], |t, action, mut row| {
            let is_odd = t % 2 == 1;
            row.get_mut("observations")?.write_f32(&[t as f32 / 9.0, 1.0])?;
            row.get_mut("action_mask")?.write_u8(&[u8::from(!is_odd), u8::from(is_odd), 1])?;
            let action = action.map(|action| action.as_discrete()).transpose()?;
            // The mask of the observation before.
            let forbidden = action.is_some_and(|action| action == i64::from(is_odd));
            let reward = if forbidden { f64::NAN } else { 1.0 };
            Ok(Step { terminated: t == 9, ..Step::running(reward) })
        });
        let random = |id: &'static str, observations: Space, actions: Space| {
            let make =
                move |_: &EnvConfig| Ok(RandomEnv::new(observations.clone(), actions.clone()));
            register(EnvSpec::new(id, make)).unwrap();
        };
        random("Table/MaskedBox-v0", masked(), bounded());
        random("Table/Dict-v0", nested(), choices());
        random("Table/DictBox-v0", nested(), bounded());
        random("Table/Image-v0", pixels(), choices());
        random("Table/ImageBox-v0", pixels(), bounded());
    });
}

impl<T: TrainingConfig> Case<T> {
    /// Sets an environment with choices, or one with a Box of actions.
    fn of(&self, discrete: &str, boxed: &str) -> AlgorithmConfig<T> {
        self.config.clone().environment(if self.is_discrete { discrete } else { boxed })
    }
}

fn vector<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("CartPole-v1", "Pendulum-v1").model("fcnet_hiddens", vec![8])
}

fn mask<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("Table/Masked-v0", "Table/MaskedBox-v0").model("fcnet_hiddens", vec![8])
}

fn lstm<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("StatelessCartPole-v1", "Pendulum-v1")
        .model("fcnet_hiddens", vec![8])
        .model("use_lstm", true)
        .model("lstm_cell_size", 6)
        .model("max_seq_len", 4)
}

fn dict<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("Table/Dict-v0", "Table/DictBox-v0")
        .model("fcnet_hiddens", vec![8])
        .model("fusionnet_hiddens", vec![8])
}

fn image<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("Table/Image-v0", "Table/ImageBox-v0")
        .model("conv_filters", json!([[4, 3, 2], [8, 3, 2]]))
}

fn agents<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    case.of("MultiAgentCartPole-v1", "MultiAgentPendulum-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

fn two_modules<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    agents(case).model("fcnet_hiddens", vec![8])
}

fn shared_encoder<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    agents(case).multi_agent(|m| m.rl_module_specs(case.shared.clone()))
}

/// Module `1` does not learn.
fn overridden<T: TrainingConfig>(case: &Case<T>) -> AlgorithmConfig<T> {
    let none = |config: AlgorithmConfig<T>, rate: &&str| {
        config.multi_agent(|m| m.override_module("1", *rate, 0.0))
    };
    case.rates.iter().fold(two_modules(case), none)
}

const ITERATIONS: usize = 8;

fn weights(algo: &Algorithm, id: &str) -> Weights {
    algo.module(id).unwrap().state_dict().unwrap()
}

/// Trains, and checks that all numbers of the losses are finite. Returns the weights of each module before.
fn train(name: &str, algo: &mut Algorithm) -> Vec<(String, Weights)> {
    let ids: Vec<_> = algo.learner().module().keys().cloned().collect();
    let before = ids.iter().map(|id| (id.clone(), weights(algo, id))).collect();
    for iteration in 1..=ITERATIONS {
        let result = algo.train().unwrap();
        for (key, value) in result.iter().filter(|(key, _)| key.starts_with("learners/")) {
            assert!(value.is_finite(), "{name}: {key} is {value}");
            // The values of forbidden actions would be far larger.
            assert!(
                !key.ends_with("td_error_mean") || value.abs() < 1e3,
                "{name}: {key} is {value}"
            );
        }
        for id in ids.iter().filter(|_| iteration == ITERATIONS) {
            let error = result.get(&format!("learners/{id}/td_error_mean"));
            assert!(error.is_some(), "{name}: module {id} did not learn in the last iteration");
            let refused = format!("learners/{id}/num_non_finite_updates_lifetime");
            assert_eq!(result.get(&refused), None, "{name}");
        }
    }
    before
}

/// Asserts that each weight matrix of a module has changed.
fn assert_moved(name: &str, algo: &Algorithm, (id, before): &(String, Weights)) {
    for (weight, after) in weights(algo, id) {
        assert!(
            !weight.ends_with("weight") || after != before[&weight],
            "{name}: {weight} of {id} was not updated"
        );
    }
}

fn trains<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let before = train(name, &mut algo);
    before.iter().for_each(|of_module| assert_moved(name, &algo, of_module));
}

/// Masks hold, also with memory and previous actions beside the observations.
fn obeys<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    trains(name, config);
    let with_previous = config
        .clone()
        .model("use_lstm", true)
        .model("lstm_cell_size", 6)
        .model("max_seq_len", 4)
        .model("lstm_use_prev_action", true)
        .model("lstm_use_prev_reward", true);
    trains(name, &with_previous);
}

/// Recurrent weights learn; the state is that of the acting module in a bundle, and is restored.
fn remembers<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let before = train(name, &mut algo);
    assert_moved(name, &algo, &before[0]);
    let recurrent = before[0].1.keys().filter(|weight| weight.contains("weight_hh")).count();
    // Networks and targets of DQN, the encoders of policy and critics of SAC, and of their targets in TD3.
    let expected = match name.split(' ').next().unwrap() {
        "PQN" => 1,
        "DQN" | "C51" | "QR-DQN" => 2,
        "SAC" | "discrete" | "TQC" => 3,
        _ => 4,
    };
    assert_eq!(recurrent, expected, "{name}: {:?}", before[0].1.keys());
    for (weight, after) in weights(&algo, DEFAULT_MODULE_ID) {
        let is_recurrent = weight.contains("weight_hh");
        assert!(!is_recurrent || after != before[0].1[&weight], "{name}: {weight}");
    }
    acts_as_evaluated(name, config);
    resumes(name, config);
}

fn differ<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let before = train(name, &mut algo);
    before.iter().for_each(|of_module| assert_moved(name, &algo, of_module));
    assert_eq!(before.len(), 2);
    for (weight, of_first) in weights(&algo, "0") {
        let is_matrix = weight.ends_with("weight");
        assert!(
            !is_matrix || of_first != weights(&algo, "1")[&weight],
            "{name}: {weight} is shared"
        );
    }
}

/// The encoder is one, its targets begin as copies, and all heads learn.
fn share<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let start = weights(&algo, "0");
    for (weight, target) in start.iter().filter(|(weight, _)| weight.starts_with("target_")) {
        assert_eq!(target, &start[&weight["target_".len()..]], "{name}: {weight}");
    }
    let before = train(name, &mut algo);
    let after = weights(&algo, "0");
    assert_eq!(after, weights(&algo, "1"), "{name}: the parameters are not shared");
    for (weight, before) in &before[0].1 {
        // PQN has no targets to move, and SAC no target of its policy.
        let stays = weight.starts_with("target_")
            && (name.starts_with("PQN") || after[weight] == start[&weight["target_".len()..]]);
        let is_matrix = weight.ends_with("weight");
        assert!(!is_matrix || stays || after[weight] != *before, "{name}: {weight}");
    }
    for prefix in ["encoder.", "qf.0.", "qf.1."] {
        let moved = after.iter().filter(|(weight, _)| weight.starts_with(prefix));
        let moved = moved.filter(|(weight, value)| **value != start[*weight]).count();
        assert!(moved > 0, "{name}: {prefix} did not move");
    }
    resumes(name, config);
}

fn overrides<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let before = train(name, &mut algo);
    assert_moved(name, &algo, &before[0]);
    let (id, before) = &before[1];
    for (weight, after) in weights(&algo, id) {
        let stays = weight.starts_with("target_") || after == before[&weight];
        assert!(stays, "{name}: {weight} of {id} moved with a learning rate of 0");
    }
}

/// The greedy actions of a bundle on disk have the returns of an evaluation.
fn acts_as_evaluated<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    const EPISODES: usize = 10;
    let mut algo = config.build(&device()).unwrap();
    train(name, &mut algo);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    let mut policy = PolicyBundle::from_checkpoint(&path, &device()).unwrap();

    let mut expected = algo.evaluate().unwrap().returns;
    let seed = stream(SEED, 0, 0, Purpose::Evaluation).next_u64();
    let mut seeds = stream(seed, 0, 0, Purpose::EnvSeed);
    let env = config.environment.env.as_deref().unwrap();
    let mut envs = make_vec(env, EPISODES).unwrap();
    let mut step = VectorStep::new(envs.observation_space(), EPISODES);
    let start: Vec<_> = (0..EPISODES).map(|_| Some(u64::from(seeds.next_u32()))).collect();
    envs.reset(&start, &mut step).unwrap();
    let (mut returns, mut ended) = ([0.0; EPISODES], [false; EPISODES]);
    while ended.contains(&false) {
        let actions = policy.compute_actions(&step.observations, false).unwrap().clone();
        envs.step(&actions, &mut step).unwrap();
        policy.set_rewards(&step.rewards);
        for env in 0..EPISODES {
            if !ended[env] {
                returns[env] += step.rewards[env];
            }
            ended[env] |= step.is_done(env);
        }
    }
    // Episodes of an evaluation are in the order in which they ended.
    returns.sort_unstable_by(f64::total_cmp);
    expected.sort_unstable_by(f64::total_cmp);
    assert_eq!(expected.len(), EPISODES);
    for (found, expected) in returns.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-2, "{name}: {found} {expected}");
    }
}

/// N and N iterations are 2N, bit for bit.
fn resumes<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    train(name, &mut straight);
    straight.save_to_path(&path).unwrap();
    let mut resumed = Algorithm::from_checkpoint::<T>(&path, &device()).unwrap();
    for algo in [&mut straight, &mut resumed] {
        train(name, algo);
    }
    let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
    for component in ["learner", "env_runners", "execution_plan"] {
        let of = |state: &State| state.component(component).ok().cloned();
        assert!(of(&straight) == of(&resumed), "{name}: {component}");
    }
}
