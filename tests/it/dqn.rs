//! DQN: exploration, replay, target networks, resuming, and settings that cannot be.

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{
    AlgorithmConfig, AlgorithmError, DqnConfig, DqnTraining, Replay, Synchronous,
};
use rekindle::core::AnyTensor;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig, TD_ERROR};
use rekindle::prelude::*;
use rekindle::rl_module::{QNetwork, QNetworkConfig};
use serde_json::json;

use crate::support::device;

/// Everything that could be forgotten is on: priorities, a range of steps, schedules, a fraction of updates.
pub(crate) fn small() -> DqnConfig {
    let replay = ReplayConfig::default().capacity(120).prioritized(PrioritizedConfig::default());
    DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![8])
        // A training step at a time.
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .training(|t| {
            t.lr([(0, 5e-3), (2000, 1e-4)])
                .train_batch_size(8)
                .replay_buffer_config(replay)
                .num_steps_sampled_before_learning_starts(20)
                .sample_timesteps_per_update_round(8)
                .updates_per_env_step(0.3)
                .n_step(1..=3)
                .epsilon([(0, 1.0), (200, 0.1)])
                .target_network_update_freq(30)
                .tau(0.5)
        })
        .seed(3)
}

fn train(algo: &mut Algorithm, iterations: usize) {
    (0..iterations).for_each(|_| drop(algo.train().unwrap()));
}

/// The priorities of all rows that a saved buffer has.
fn priorities(state: &State) -> Vec<f64> {
    let own = state.tensors.get("priorities").map(|p| p.as_slice::<f64>().unwrap().to_vec());
    let parts = state.components.values().flat_map(priorities);
    let shards = state.shards.values().flat_map(|shard| priorities(&shard.get_state().unwrap()));
    own.into_iter().flatten().chain(parts).chain(shards).collect()
}

/// New rows have the largest priority so far, 1 at first. Rows that were learned from have the size of their
/// error.
#[test]
fn priorities_become_the_errors_that_the_loss_returns() {
    let changed = |config: DqnConfig| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved");
        let mut algo = config.build(&device()).unwrap();
        train(&mut algo, 6);
        algo.save_to_path(&path).unwrap();
        let all = priorities(&rekindle::checkpoint::read(&path).unwrap());
        assert!(all.len() >= 40, "{}", all.len());
        // 0 is the priority of a row whose transition is not complete.
        all.iter().filter(|priority| ![0.0, 1.0].contains(*priority)).count()
    };
    let never = small().training(|t| t.num_steps_sampled_before_learning_starts(5000));
    assert_eq!(changed(never), 0);
    assert!(changed(small()) >= 8, "the rows of one minibatch at least");
}

#[test]
fn n_and_n_iterations_are_2n() {
    let epsilon = [(0, 1.0), (400, 0.0)];
    for config in [
        small(),
        small().training(|t| t.replay_buffer_config(uniform(1000))),
        // Exploration follows the steps also where updates are rare, or have not begun.
        small().training(|t| t.updates_per_env_step(0.01).epsilon(epsilon)),
        small().training(|t| t.num_steps_sampled_before_learning_starts(5000).epsilon(epsilon)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut straight = config.build(&device()).unwrap();
        train(&mut straight, 20);
        straight.save_to_path(folder.path().join("saved")).unwrap();
        let path = folder.path().join("saved");
        let mut resumed = Algorithm::from_checkpoint::<DqnTraining>(path, &device()).unwrap();
        for algo in [&mut straight, &mut resumed] {
            train(algo, 20);
        }
        let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
        for component in ["learner", "env_runners", "execution_plan"] {
            let of = |state: &State| state.component(component).unwrap().clone();
            assert!(of(&straight) == of(&resumed), "{component}");
        }
    }
}

#[cfg(unix)]
#[test]
fn the_first_save_of_a_restored_run_links_its_steps() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
    let mut algo = small().build(&device()).unwrap();
    train(&mut algo, 20);
    algo.save_to_path(&a).unwrap();
    let restored = Algorithm::from_checkpoint::<DqnTraining>(&a, &device()).unwrap();
    restored.save_to_path(&b).unwrap();
    algo.restore_from_path(&b).unwrap();
    algo.save_to_path(&c).unwrap();
    let inodes = [&a, &b, &c].map(|path| {
        let rows = std::fs::read_dir(path.join("execution_plan/default_policy/rows")).unwrap();
        let inode = |chunk: std::io::Result<std::fs::DirEntry>| {
            Some(std::fs::metadata(chunk.unwrap().path().join("tensors.safetensors")).ok()?.ino())
        };
        rows.filter_map(inode).collect::<std::collections::BTreeSet<_>>()
    });
    assert!(inodes[0].len() > 1 && inodes[0] == inodes[1] && inodes[1] == inodes[2], "{inodes:?}");
    let [a, c] = [&a, &c].map(|path| rekindle::checkpoint::read(path).unwrap());
    assert!(a.component("execution_plan").unwrap() == c.component("execution_plan").unwrap());
}

#[test]
fn a_run_without_steps_in_its_checkpoints_collects_new_ones_before_it_learns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let config = small().training(|t| t.replay_buffer_config(uniform(100).in_checkpoints(false)));
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, 20);
    algo.save_to_path(&path).unwrap();
    let saved = rekindle::checkpoint::read(&path).unwrap();
    assert!(saved.component("execution_plan").unwrap().components.is_empty());
    // A state in memory has the steps.
    let steps = algo.get_state().unwrap();
    assert!(!steps.component("execution_plan").unwrap().components.is_empty());

    let mut restored = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
    let trained = |algo: &mut Algorithm| {
        let result = algo.train().unwrap();
        result.get("learners/__all_modules__/num_env_steps_trained").unwrap_or(0.0) > 0.0
    };
    // Eight steps an iteration: the fourth begins with 24 new ones, and 20 are needed.
    assert_eq!([0; 4].map(|_| trained(&mut restored)), [false, false, false, true]);

    // A checkpoint of a run that is still collecting says so, too.
    let mut restored = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
    assert!(!trained(&mut restored));
    restored.save_to_path(&path).unwrap();
    let mut again = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
    assert_eq!([0; 4].map(|_| trained(&mut again)), [false, false, false, true]);
}

fn uniform(capacity: usize) -> ReplayConfig {
    ReplayConfig::default().capacity(capacity)
}

#[test]
fn equal_seeds_give_equal_runs_with_any_number_of_threads() {
    let runs = [1, 2].map(|threads| {
        let config = small().env_runners(|e| e.num_threads(threads));
        let mut algo = config.build(&device()).unwrap();
        train(&mut algo, 15);
        algo.learner().get_state().unwrap()
    });
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn updates_follow_environment_steps_once_learning_starts() {
    let mut algo =
        small().training(|t| t.replay_buffer_config(uniform(100))).build(&device()).unwrap();
    let mut trained = 0.0;
    for iteration in 1..=10 {
        let result = algo.train().unwrap();
        trained += result.get("learners/__all_modules__/num_env_steps_trained").unwrap_or(0.0);
        // Eight steps an iteration. The first three iterations begin with fewer than 20 steps.
        let steps = 8 * iteration;
        let learned_from = f64::from((steps - 24_i32).max(0));
        assert_eq!(trained, (learned_from * 0.3).floor() * 8.0, "after {steps} steps");
    }
}

#[test]
fn another_number_of_updates_per_step_holds_from_the_restore_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let config = small().training(|t| t.replay_buffer_config(uniform(100)));
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, 20);
    algo.save_to_path(&path).unwrap();
    let mut restored = Algorithm::from_checkpoint_with::<DqnTraining>(&path, &device(), |c| {
        c.training(|t| t.updates_per_env_step(1.0))
    })
    .unwrap();
    let trained = restored.train().unwrap().get("learners/__all_modules__/num_env_steps_trained");
    // Eight steps, and at most one update that was due before.
    assert!(matches!(trained, Some(trained) if (64.0..=72.0).contains(&trained)), "{trained:?}");
}

#[test]
fn epsilon_is_the_probability_of_a_random_action() {
    let spec = RLModuleSpec::of::<QNetwork>()
        .observation_space(Space::unbounded(&[2]).unwrap())
        .action_space(Space::discrete_with_start(4, 3).unwrap())
        .model_config(json!({"fcnet_hiddens": [4], "epsilon": [[0, 1.0], [1000, 0.2]]}));
    let module = spec.build(&device()).unwrap();
    let obs = Tensor::<2>::ones([500, 2], &device());
    let batch = Batch::new().with(Columns::OBS, obs);
    let greedy = module.forward_inference(&batch).unwrap().int::<1>(Columns::ACTIONS).unwrap();
    let greedy = AnyTensor::from(greedy).to_i64().unwrap();
    assert!(greedy.iter().all(|action| *action == greedy[0] && (3..7).contains(action)));
    for (env_steps, epsilon) in [(0, 1.0), (500, 0.6), (9000, 0.2)] {
        let mut cx = ExplorationContext::from_seed(5).with_env_steps(env_steps);
        let mut others = 0;
        for _ in 0..4 {
            let outputs = module.forward_exploration(&batch, &mut cx).unwrap();
            let actions = outputs.int::<1>(Columns::ACTIONS).unwrap();
            let actions = AnyTensor::from(actions).to_i64().unwrap();
            assert!(actions.iter().all(|action| (3..7).contains(action)));
            others += actions.iter().filter(|action| **action != greedy[0]).count();
        }
        // A random action is the greedy one in a quarter of the cases.
        let share = others as f64 / 2000.0;
        assert!((share - 0.75 * epsilon).abs() < 0.04, "{share} at {env_steps} steps");
    }
}

#[test]
fn a_network_for_inference_has_no_targets_and_acts_the_same() {
    let mut algo = small().build(&device()).unwrap();
    train(&mut algo, 6);
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    let mut acting = module.spec().clone().inference_only(true).build(&device()).unwrap();
    acting.load_state_dict(&module.state_dict().unwrap()).unwrap();
    assert_eq!(acting.num_params() * 2, module.num_params());
    let batch = Batch::new().with(Columns::OBS, Tensor::<2>::ones([3, 4], &device()));
    let [all, small] = [module, &acting].map(|module| {
        let out = module.forward_inference(&batch).unwrap();
        AnyTensor::from(out.int::<1>(Columns::ACTIONS).unwrap()).to_i64().unwrap()
    });
    assert_eq!(all, small);
}

#[test]
fn each_module_has_its_own_buffer_and_settings() {
    let config = small()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .multi_agent(|m| {
            m.override_module("1", "epsilon", 0.5).override_module("1", "dueling", false)
        });
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, 6);
    let state = algo.get_state().unwrap();
    for id in ["0", "1"] {
        let stored = state.component(&format!("execution_plan/{id}/rows")).unwrap();
        let rewards = stored
            .shards
            .values()
            .map(|chunk| chunk.get_state().unwrap().tensor("rewards").unwrap().shape()[0]);
        assert!(rewards.sum::<usize>() >= 40);
    }
    let [first, second] =
        ["0", "1"].map(|id| algo.module(id).unwrap().spec().get_model_config().clone());
    assert_eq!((&first["dueling"], &second["dueling"]), (&json!(true), &json!(false)));
    assert_eq!(second["epsilon"], json!(0.5));
}

#[test]
fn plans_and_losses_that_do_not_fit_are_refused_with_both_names() {
    let replayed = PpoConfig::new()
        .environment("CartPole-v1")
        .with_execution_plan(Replay::new(ReplayConfig::default(), 32));
    let message = replayed.build(&device()).unwrap_err().to_string();
    assert!(message.contains("Replay"), "{message}");
    let full = format!("{:?}", replayed.build(&device()).unwrap_err());
    assert!(full.contains("PPO"), "{full}");

    // The learner has minibatches of 8.
    let other = small().with_execution_plan(Replay::new(ReplayConfig::default(), 32));
    let message = other.build(&device()).unwrap_err().to_string();
    assert!(message.contains("`batch_size` is 32") && message.contains("of 8"), "{message}");

    let sampled = small().with_execution_plan(Synchronous::new(32));
    let error = sampled.build(&device()).unwrap_err();
    assert!(matches!(error, AlgorithmError::PlanDoesNotFit { .. }), "{error}");
    assert!(error.to_string().contains("Synchronous"), "{error}");
}

/// Both would go unnoticed otherwise: the function would not be called, and all priorities would stay equal.
#[test]
fn code_that_does_not_fit_replayed_steps_is_refused_at_build() {
    let postprocess = small().with_postprocess(|trajectory| {
        let len = trajectory.len();
        trajectory.insert("weight", vec![1.0; len])
    });
    let message = postprocess.build(&device()).unwrap_err().to_string();
    assert!(message.contains("reads trajectories") && message.contains("replay"), "{message}");

    let loss = |errors: bool| {
        small().with_name("MyDQN").with_loss(move |cx, _| {
            let values = cx.outputs()?.float::<2>(Columns::QF_PREDS)?;
            let losses = Losses::new(values.clone().mean());
            Ok(match errors {
                true => losses.row_values(TD_ERROR, values.mean_dim(1).squeeze_dim(1)),
                false => losses,
            })
        })
    };
    let error = loss(false).build(&device()).unwrap_err();
    assert!(matches!(error, AlgorithmError::PlanDoesNotFit { .. }), "{error}");
    let message = error.to_string();
    for part in ["`Replay`", "MyDQN loss of module `default_policy`", "`td_error`"] {
        assert!(message.contains(part), "{message}");
    }
    train(&mut loss(true).build(&device()).unwrap(), 6);
    let replay = ReplayConfig::default().capacity(120);
    let uniform = loss(false).training(|t| t.replay_buffer_config(replay));
    train(&mut uniform.build(&device()).unwrap(), 6);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let message =
        |config: AlgorithmConfig<DqnTraining>| config.build(&device()).unwrap_err().to_string();
    let with = |change: fn(DqnTraining) -> DqnTraining| message(small().training(change));
    for (found, expected) in [
        (with(|t| t.train_batch_size(121)), "`replay_buffer_config.capacity` (120)"),
        (with(|t| t.n_step(121)), "`replay_buffer_config.capacity` (120)"),
        (with(|t| t.n_step(std::ops::RangeInclusive::new(3, 1))), "`n_step` is [3, 1]"),
        (with(|t| t.n_step(0)), "`n_step` is 0"),
        (with(|t| t.updates_per_env_step(0.0)), "`updates_per_env_step`"),
        (with(|t| t.epsilon(-0.5)), "`epsilon`"),
        (message(small().environment("Pendulum-v1")), "Discrete"),
        (message(small().model("max_seq_len", 8)), "use_lstm"),
        (with(|t| t.burn_in_len(4)), "module `default_policy` has no memory"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let config = QNetworkConfig::default();
    assert!(config.dueling);
}
