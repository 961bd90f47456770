//! Action masks under PPO, DQN, PQN and discrete SAC: forbidden actions are never taken, and do not count in targets.

use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::core::AnyTensor;
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use rekindle::rl_module::{QNetwork, SoftActorCritic};
use serde_json::json;

use crate::scripted;
use crate::support::device;

fn masked_space(actions: usize) -> Space {
    let (mask, seen) = (Space::multi_binary(actions).unwrap(), Space::unbounded(&[2]).unwrap());
    Space::dict([("action_mask", mask), ("observations", seen)]).unwrap()
}

/// Rows that see ones, with these masks.
fn batch<const A: usize>(masks: &[[f32; A]]) -> Batch {
    let device = device();
    let mask = Tensor::<1>::from_floats(masks.concat().as_slice(), &device);
    let rows = masks.len();
    let parts = Batch::new()
        .with("action_mask", mask.reshape([rows, A]))
        .with("observations", Tensor::<2>::ones([rows, 2], &device));
    Batch::new().with(Columns::OBS, Column::Nested(parts))
}

fn network(config: serde_json::Value) -> AnyRLModule {
    RLModuleSpec::of::<QNetwork>()
        .observation_space(masked_space(4))
        .action_space(Space::discrete_with_start(4, 3).unwrap())
        .model_config(config)
        .build_seeded(&device(), Generator::from_seed(2))
        .unwrap()
}

fn actions(outputs: &Batch) -> Vec<i64> {
    AnyTensor::from(outputs.int::<1>(Columns::ACTIONS).unwrap()).to_i64().unwrap()
}

#[test]
fn masked_actions_have_the_smallest_value_and_are_never_taken() {
    for config in [
        json!({"fcnet_hiddens": [4]}),
        json!({"fcnet_hiddens": [4], "dueling": false}),
        json!({"fcnet_hiddens": [4], "num_atoms": 5}),
        json!({"fcnet_hiddens": [4], "num_quantiles": 3, "noisy": true}),
    ] {
        let module = network(config.clone());
        let masks: Vec<[f32; 4]> = (1..16)
            .map(|bits: u8| std::array::from_fn(|action| f32::from(bits >> action & 1)))
            .collect();
        let q = module.compute_q_values(&batch(&masks)).unwrap();
        let q = to_f32(q.float::<2>(Columns::QF_PREDS).unwrap()).unwrap();
        for (value, allowed) in q.iter().zip(masks.iter().flatten()) {
            assert_eq!(*value == f32::MIN, *allowed == 0.0, "{config}");
        }
        let is_allowed = |taken: &[i64]| {
            let mut rows = taken.iter().zip(&masks);
            rows.all(|(action, mask)| mask[(*action - 3) as usize] == 1.0)
        };
        assert!(is_allowed(&actions(&module.forward_inference(&batch(&masks)).unwrap())));
        let mut cx = ExplorationContext::from_seed(1);
        for _ in 0..50 {
            let explored = module.forward_exploration(&batch(&masks), &mut cx).unwrap();
            assert!(is_allowed(&actions(&explored)), "{config}");
        }
        let values = to_f32(module.compute_state_values(&batch(&[[0.0; 4]])).unwrap()).unwrap();
        assert_eq!(values, [0.0], "nothing follows where nothing is allowed");
        let refused = module.forward_inference(&batch(&[[1.0; 4], [0.0; 4]])).unwrap_err();
        assert!(refused.to_string().contains("row 1 of the batch cannot choose"), "{refused}");
    }
}

#[test]
fn the_mean_of_a_dueling_network_is_that_of_the_allowed_actions() {
    let module = network(json!({"fcnet_hiddens": [4]}));
    let q = |mask: [f32; 4]| {
        let q = module.compute_q_values(&batch(&[mask])).unwrap();
        to_f32(q.float::<2>(Columns::QF_PREDS).unwrap()).unwrap()
    };
    let (all, some) = (q([1.0; 4]), q([1.0, 1.0, 0.0, 1.0]));
    // The mean of the values over allowed actions is the value of the state.
    let (value, of_some) = (all.iter().sum::<f32>() / 4.0, (some[0] + some[1] + some[3]) / 3.0);
    assert!((value - of_some).abs() < 1e-6, "{all:?} {some:?}");
    assert!(all[2] != value && some[0] != all[0]);
}

#[test]
fn the_encoder_does_not_see_the_mask_and_a_mask_of_another_size_is_refused() {
    let with = network(json!({"fcnet_hiddens": [4], "dueling": false}));
    // Two inputs and four actions, twice.
    assert_eq!(burn::module::Module::num_params(&with), 2 * (2 * 4 + 4 + 4 * 4 + 4));
    let spec = RLModuleSpec::of::<QNetwork>()
        .observation_space(masked_space(3))
        .action_space(Space::discrete(4).unwrap());
    let message = spec.build(&device()).unwrap_err().to_string();
    assert!(
        message.contains("`action_mask`") && message.contains("there are 4 actions"),
        "{message}"
    );
}

fn tic_tac_toe<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    let players = [("player1", "p"), ("player2", "p")];
    let players = players.map(|(agent, module)| (agent.into(), module.into()));
    config
        .environment("TicTacToe-v0")
        .env_config(EnvConfig::new().with("action_mask", true))
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .multi_agent(|m| m.policies(["p"]).policy_mapping(PolicyMapping::Table(players.into())))
        .model("fcnet_hiddens", vec![8])
        .seed(0)
}

/// A player that marks a taken cell loses at once, often before the fifth move.
#[test]
fn players_of_tic_tac_toe_never_mark_a_taken_cell() {
    let check = |name: &str, mut algo: Algorithm| {
        for _ in 0..4 {
            let result = algo.train().unwrap();
            let shortest = result.get("env_runners/episode_len_min").unwrap();
            assert!(shortest >= 5.0, "{name}: {shortest}");
            let td_error = result.get("learners/p/td_error_mean");
            assert!(td_error.is_none_or(|error| error.abs() < 100.0), "{name}: {td_error:?}");
        }
    };
    let dqn = || {
        tic_tac_toe(DqnConfig::new()).training(|t| {
            t.train_batch_size(16)
                .num_steps_sampled_before_learning_starts(100)
                .epsilon([(0, 1.0), (1000, 0.0)])
        })
    };
    let limits = |c: DqnConfig| c.reporting(|r| r.min_sample_timesteps_per_iteration(300));
    check("DQN", limits(dqn()).build(&device()).unwrap());
    let c51 = limits(dqn()).training(|t| t.num_atoms(5).v_min(-1.0).v_max(1.0));
    check("C51", c51.build(&device()).unwrap());
    let pqn = tic_tac_toe(PqnConfig::new())
        .training(|t| t.train_batch_size(256).minibatch_size(64).epsilon([(0, 1.0), (1000, 0.0)]));
    check("PQN", pqn.build(&device()).unwrap());
    let sac = tic_tac_toe(SacConfig::new())
        .reporting(|r| r.min_sample_timesteps_per_iteration(300))
        .training(|t| {
            t.train_batch_size(16)
                .num_steps_sampled_before_learning_starts(400)
                .sample_timesteps_per_update_round(16)
                .updates_per_env_step(0.25)
        });
    // The first iteration takes random actions.
    check("SAC", sac.build(&device()).unwrap());
    let ppo = tic_tac_toe(PpoConfig::new())
        .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(2).entropy_coeff(0.01));
    check("PPO", ppo.build(&device()).unwrap());
    let shared = ppo.model("vf_share_layers", true).model("use_lstm", true);
    check("PPO with an LSTM", shared.model("lstm_cell_size", 4).build(&device()).unwrap());
}

#[test]
fn the_default_policy_never_takes_masked_actions_and_its_encoders_do_not_see_the_mask() {
    for config in [
        json!({"fcnet_hiddens": [4]}),
        json!({"fcnet_hiddens": [4], "vf_share_layers": true}),
        json!({"fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": 4}),
    ] {
        for (actions, several) in [
            (Space::discrete_with_start(4, 3).unwrap(), false),
            (Space::multi_discrete([1, 3]).unwrap(), true),
        ] {
            let spec = RLModuleSpec::default()
                .observation_space(masked_space(4))
                .action_space(actions)
                .model_config(config.clone());
            let module = spec.build(&device()).unwrap();
            let weights = module.state_dict().unwrap();
            let wide = weights.iter().filter(|(name, _)| name.starts_with("encoder"));
            assert!(wide.clone().any(|(_, weight)| weight.shape().last() == Some(&2)), "{config}");
            let masks = [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]];
            let mut seen = batch(&masks);
            if let Some(state) = module.initial_state().unwrap() {
                let mut rows = state.clone();
                rows.extend_from(&state, 0..1).unwrap();
                let state = rekindle::core::host_batch::upload(&rows, &device()).unwrap();
                seen.insert(Columns::STATE_IN, state);
            }
            let outputs = module.forward_inference(&seen).unwrap();
            let logits = to_f32(outputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap();
            for (logit, mask) in logits.iter().zip(masks.concat()) {
                assert_eq!(
                    *logit <= f32::MIN / 2.0,
                    mask == 0.0,
                    "{config}, {several}: {logits:?}"
                );
            }
        }
    }
    let spec = RLModuleSpec::default()
        .observation_space(masked_space(4))
        .action_space(Space::boxed(-1.0, 1.0, &[4]).unwrap());
    let message = spec.build(&device()).unwrap_err().to_string();
    assert!(message.contains("rename the part if it is no mask"), "{message}");
}

#[test]
fn a_policy_never_takes_masked_actions_and_its_networks_do_not_see_the_mask() {
    let spec = RLModuleSpec::of::<SoftActorCritic>()
        .observation_space(masked_space(4))
        .action_space(Space::discrete(4).unwrap())
        .model_config(json!({"fcnet_hiddens": [4]}));
    let module = spec.build(&device()).unwrap();
    let weights = module.state_dict().unwrap();
    assert_eq!(weights["encoder.mlp.layers.0.weight"].shape(), [4, 2], "{:?}", weights.keys());
    let masks = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let outputs = module.forward_train(&batch(&masks)).unwrap();
    let inputs = to_f32(outputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap();
    for (input, mask) in inputs.iter().zip(masks.concat()) {
        assert_eq!(*input <= f32::MIN / 2.0, mask == 0.0, "{inputs:?}");
    }
    let spec = spec.action_space(Space::discrete(3).unwrap());
    let message = spec.build(&device()).unwrap_err().to_string();
    assert!(message.contains("there are 3 actions"), "{message}");
}

#[test]
fn a_resumed_run_with_masks_continues_exactly() {
    let config = tic_tac_toe(DqnConfig::new())
        .reporting(|r| r.min_sample_timesteps_per_iteration(100))
        .training(|t| t.num_steps_sampled_before_learning_starts(50).train_batch_size(8));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut straight = config.build(&device()).unwrap();
    (0..2).for_each(|_| drop(straight.train().unwrap()));
    straight.save_to_path(&path).unwrap();
    let mut resumed = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
    for algo in [&mut straight, &mut resumed] {
        (0..2).for_each(|_| drop(algo.train().unwrap()));
    }
    assert!(straight.learner().get_state().unwrap() == resumed.learner().get_state().unwrap());
}

#[test]
fn an_environment_that_allows_nothing_is_an_error_that_names_the_row() {
    scripted::env(
        "AllowsNothing-v0",
        [masked_space(2), Space::discrete(2).unwrap()],
        |t, _, mut row| {
            row.get_mut("observations")?.write_f32(&[0.0, 1.0])?;
            row.get_mut("action_mask")?.write_u8(&[u8::from(t < 3), 0])?;
            Ok(Step::running(1.0))
        },
    );
    let config = DqnConfig::new()
        .environment("AllowsNothing-v0")
        .model("fcnet_hiddens", vec![4])
        .env_runners(|e| e.num_envs_per_env_runner(2))
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    let message = algo.train().unwrap_err().to_string();
    assert!(message.contains("all 2 actions are masked"), "{message}");
}

#[test]
fn bundles_keep_the_mask() {
    scripted::env(
        "Masked-v0",
        [masked_space(3), Space::discrete(3).unwrap()],
        |t, action, mut row| {
            row.get_mut("observations")?.write_f32(&[t as f32, 1.0])?;
            row.get_mut("action_mask")?.write_u8(&[
                u8::from(t % 2 == 0),
                u8::from(t % 2 == 1),
                1,
            ])?;
            let forbidden = action.map(|action| action.as_discrete()).transpose()?;
            // The mask before this step.
            let wrong = forbidden.is_some_and(|action| action == i64::from(t % 2 == 1));
            let reward = if wrong { f64::NAN } else { 1.0 };
            Ok(Step { terminated: t == 9, ..Step::running(reward) })
        },
    );
    let config = DqnConfig::new()
        .environment("Masked-v0")
        .model("fcnet_hiddens", vec![4])
        .reporting(|r| r.min_sample_timesteps_per_iteration(80))
        .training(|t| t.num_steps_sampled_before_learning_starts(20).train_batch_size(8))
        .seed(0);
    let folder = tempfile::tempdir().unwrap();
    // A reward of a forbidden action would be an error.
    let mut algo = config.build(&device()).unwrap();
    (0..3).for_each(|_| drop(algo.train().unwrap()));
    let bundle = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&bundle).unwrap();
    let mut bundle = PolicyBundle::from_checkpoint(&bundle, &device()).unwrap();
    let mut seen = Buffer::zeros(&masked_space(3), 1);
    seen.row_mut(0).get_mut("action_mask").unwrap().write_u8(&[0, 0, 1]).unwrap();
    assert_eq!(bundle.compute_actions(&seen, false).unwrap().as_i64().unwrap(), [2]);
    seen.row_mut(0).get_mut("action_mask").unwrap().write_u8(&[0; 3]).unwrap();
    let error = bundle.compute_actions(&seen, true).unwrap_err().to_string();
    assert!(error.contains("all 3 actions are masked"), "{error}");
}
