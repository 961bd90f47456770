//! C51, QR-DQN, noisy layers and PQN: resuming, deployment, observations of all kinds, and settings that cannot be.

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::core::AnyTensor;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;

use crate::support::device;

fn dqn() -> DqnConfig {
    let replay = ReplayConfig::default().capacity(200).prioritized(PrioritizedConfig::default());
    DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![8])
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .training(|t| {
            t.train_batch_size(8)
                .replay_buffer_config(replay)
                .num_steps_sampled_before_learning_starts(16)
                .sample_timesteps_per_update_round(8)
                .updates_per_env_step(0.25)
                .n_step(1..=3)
                .target_network_update_freq(30)
        })
        .seed(3)
}

fn c51() -> DqnConfig {
    dqn().training(|t| t.num_atoms(11).v_min(0.0).v_max(20.0))
}

fn qr_dqn() -> DqnConfig {
    dqn().training(|t| t.num_quantiles(5))
}

fn pqn() -> PqnConfig {
    PqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![8])
        .training(|t| {
            t.train_batch_size(32).minibatch_size(16).num_epochs(2).epsilon([(0, 1.0), (300, 0.1)])
        })
        .seed(3)
}

fn train(algo: &mut Algorithm, iterations: usize) {
    (0..iterations).for_each(|_| drop(algo.train().unwrap()));
}

/// N and N iterations are 2N bit for bit, and something was learned in each half.
fn resumes<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    let weights = |algo: &Algorithm| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let before = weights(&straight);
    train(&mut straight, 8);
    assert!(weights(&straight) != before, "{name}");
    straight.save_to_path(&path).unwrap();
    let mut resumed = Algorithm::from_checkpoint::<T>(&path, &device()).unwrap();
    for algo in [&mut straight, &mut resumed] {
        train(algo, 8);
    }
    let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
    for component in ["learner", "env_runners"] {
        let of = |state: &State| state.component(component).unwrap().clone();
        assert!(of(&straight) == of(&resumed), "{name}: {component}");
    }
    let plan = |state: &State| state.component("execution_plan").ok().cloned();
    assert!(plan(&straight) == plan(&resumed), "{name}");
}

#[test]
fn n_and_n_iterations_are_2n() {
    resumes("C51", &c51());
    resumes("QR-DQN", &qr_dqn());
    resumes("noisy", &c51().training(|t| t.noisy(true)));
    resumes("noisy without a value", &dqn().training(|t| t.noisy(true).dueling(false)));
    resumes("single", &c51().training(|t| t.double_q(false).dueling(false)));
    resumes("PQN", &pqn());
    resumes("PQN, dueling", &pqn().training(|t| t.dueling(true).use_layernorm(false)));
}

#[test]
fn images_and_nested_observations_are_learned_from_and_resumed() {
    let filters = serde_json::json!([[4, 3, 1], [4, 3, 2]]);
    resumes("image", &c51().environment("Catch-v0").model("conv_filters", filters.clone()));
    resumes("image, PQN", &pqn().environment("Catch-v0").model("conv_filters", filters));
    let nested = |config: DqnConfig| {
        config.environment("NestedCartPole-v1").model("fusionnet_hiddens", vec![8])
    };
    resumes("nested", &nested(dqn()));
    resumes("nested, QR-DQN", &nested(qr_dqn().training(|t| t.noisy(true))));
    let nested = pqn().environment("NestedCartPole-v1").model("fusionnet_hiddens", vec![8]);
    resumes("nested, PQN", &nested);
}

#[test]
fn independent_agents_learn_by_pqn() {
    let config = pqn()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .multi_agent(|m| {
            m.override_module("1", "lambda_", 0.9).override_module("1", "dueling", true)
        });
    let mut algo = config.build(&device()).unwrap();
    let weights = |algo: &Algorithm, id| algo.module(id).unwrap().state_dict().unwrap();
    let before = ["0", "1"].map(|id| weights(&algo, id));
    train(&mut algo, 4);
    assert_ne!(before[0].len(), before[1].len(), "one is dueling");
    assert!(before[0] != weights(&algo, "0") && before[1] != weights(&algo, "1"));
}

#[test]
fn bundles_have_no_targets_and_no_noise() {
    for (name, config) in
        [("C51", c51()), ("QR-DQN", qr_dqn()), ("noisy", c51().training(|t| t.noisy(true)))]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut algo = config.build(&device()).unwrap();
        train(&mut algo, 6);
        let path = folder.path().join("bundle");
        algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
        let mut bundle = PolicyBundle::from_checkpoint(&path, &device()).unwrap();
        let module = algo.module(DEFAULT_MODULE_ID).unwrap();
        let weights = module.inference_state_dict().unwrap();
        assert!(weights.keys().all(|key| !key.starts_with("target_")), "{name}");
        assert_eq!(2 * weights.len(), module.state_dict().unwrap().len(), "{name}");
        let space = Space::unbounded(&[4]).unwrap();
        let mut observations = Buffer::zeros(&space, 20);
        let mut rng = Generator::from_seed(1);
        (0..20).for_each(|row| space.sample_into(&mut rng, observations.row_mut(row)).unwrap());
        let greedy = bundle.compute_actions(&observations, false).unwrap().clone();
        let obs = rekindle::core::host_batch::upload(&observations, &device()).unwrap();
        let outputs = module.forward_inference(&Batch::new().with(Columns::OBS, obs)).unwrap();
        let expected = AnyTensor::from(outputs.int::<1>(Columns::ACTIONS).unwrap());
        assert_eq!(greedy.as_i64().unwrap(), expected.to_i64().unwrap(), "{name}");
    }
}

#[test]
fn noise_is_drawn_anew_for_each_row_and_step() {
    let config = dqn().training(|t| t.noisy(true));
    let algo = config.build(&device()).unwrap();
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    assert!(module.noise_dim() > 0);
    let batch =
        || Batch::new().with(Columns::OBS, burn::tensor::Tensor::<2>::ones([3, 4], &device()));
    let mut cx = ExplorationContext::from_seed(0);
    let mut values = || {
        let outputs = module.forward_exploration(&batch(), &mut cx).unwrap();
        let q = outputs.float::<2>(Columns::QF_PREDS).unwrap();
        rekindle::core::any_tensor::to_f32(q).unwrap()
    };
    let (first, second) = (values(), values());
    assert!(first[..2] != first[2..4] && first[2..4] != first[4..], "{first:?}");
    assert_ne!(first, second);
    // Without noise, the rows are alike: those of the means.
    let means = module.compute_q_values(&batch()).unwrap().float::<2>(Columns::QF_PREDS).unwrap();
    let means = rekindle::core::any_tensor::to_f32(means).unwrap();
    assert!(means[..2] == means[2..4] && means[..2] != first[..2]);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let message = |config: DqnConfig| config.build(&device()).unwrap_err().to_string();
    for (found, expected) in [
        (message(dqn().training(|t| t.num_atoms(51).v_min(3.0).v_max(3.0))), "less than `v_max`"),
        (message(dqn().training(|t| t.num_atoms(51).v_min(f64::NAN))), "`v_min` is NaN"),
        (message(dqn().training(|t| t.num_atoms(0))), "`num_atoms` is 0"),
        (message(dqn().training(|t| t.num_quantiles(0))), "`num_quantiles` is 0"),
        (message(c51().training(|t| t.num_quantiles(5))), "either atoms (C51) or quantiles"),
        (message(dqn().training(|t| t.v_max(500.0))), "set `num_atoms` above 1"),
        (message(qr_dqn().training(|t| t.v_min(0.0))), "only atoms have a range"),
        (
            message(
                c51().training(|t| t.td_error_loss_fn(rekindle::algorithms::dqn::TdErrorLoss::Mse)),
            ),
            "distributions of returns have a loss of their own",
        ),
        (message(dqn().training(|t| t.noisy(true).epsilon(0.1))), "in place of ε"),
        (message(dqn().training(|t| t.sigma0(0.4))), "set `noisy` to true"),
        (message(dqn().training(|t| t.noisy(true).sigma0(-1.0))), "`sigma0` is -1"),
        (message(c51().environment("Pendulum-v1")), "Discrete"),
        (
            message(c51().multi_agent(|m| m.override_module("p", "v_min", 30.0))),
            "less than `v_max`",
        ),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let message = |config: PqnConfig| config.build(&device()).unwrap_err().to_string();
    let too_large = message(pqn().training(|t| t.minibatch_size(33)));
    assert!(too_large.contains("`minibatch_size` is 33"), "{too_large}");
    let on_device = message(pqn().env_runners(|e| e.num_env_runners(1).on_device(true)));
    assert!(on_device.contains("choose them by themselves"), "{on_device}");
    let greedy = message(pqn().env_runners(|e| e.explore(false)));
    assert!(greedy.contains("`env_runners.explore`"), "{greedy}");
}

#[test]
fn a_module_without_the_role_is_refused_by_name() {
    let spec = RLModuleSpec::of::<super::q_settings::example::MyQNet>();
    let mut config = dqn().training(|t| t.num_quantiles(5)).rl_module(spec);
    config.model_config.clear();
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("lacks the role DistributionalQNet"), "{message}");
    assert!(message.contains("as_distributional_q_net"), "{message}");
}
