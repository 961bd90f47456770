//! Algorithms in environments of Python. They need a Python with Gymnasium: `cargo xtask test` runs these
//! tests if there is one.

use rekindle::prelude::*;

#[path = "../../examples/python_env.rs"]
mod example;

fn device() -> burn::prelude::Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn returns(metrics: &Metrics) -> Vec<Option<f64>> {
    let keys = ["env_runners/episode_return_mean", "env_runners/num_env_restarts"];
    keys.map(|key| metrics.get(key)).to_vec()
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn ppo_in_cart_pole_of_python_equals_ppo_in_the_native_one() {
    let train = |id: &str| {
        let mut algo = PpoConfig::new()
            .environment(id)
            .env_runners(|e| e.num_envs_per_env_runner(4).num_env_runners(2))
            .training(|t| t.train_batch_size(512).minibatch_size(128).num_epochs(2))
            .model("fcnet_hiddens", vec![16])
            .seed(3)
            .build(&device())
            .unwrap();
        let metrics: Vec<_> = (0..4).map(|_| returns(&algo.train().unwrap())).collect();
        (metrics, algo.get_state().unwrap().component("learner").unwrap().clone())
    };
    let (native, python) = (train("CartPole-v1"), train("gymnasium:CartPole-v1"));
    assert!(native.0[0][0].is_some());
    assert_eq!(native.0, python.0);
    assert!(native.1 == python.1, "the weights differ");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn every_kind_of_algorithm_takes_such_an_id() {
    let env = "gymnasium:CartPole-v1";
    let dqn = DqnConfig::new()
        .environment(env)
        .training(|t| t.num_steps_sampled_before_learning_starts(16).train_batch_size(16));
    dqn.build(&device()).unwrap().train().unwrap();
    let sac = SacConfig::new()
        .environment("gymnasium:Pendulum-v1")
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.num_steps_sampled_before_learning_starts(16).train_batch_size(16));
    sac.build(&device()).unwrap().train().unwrap();
    let impala = ImpalaConfig::new()
        .environment(env)
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2));
    impala.build(&device()).unwrap().train().unwrap();
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn the_grid_world_of_the_example_is_learned_and_restored() {
    let (algo, mean) = example::train(60_000, 0).unwrap();
    assert!(mean >= 1.0, "reached {mean} after {} steps", algo.env_steps());
    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("algo")).unwrap();
    let path = folder.path().join("algo");
    assert!(Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).is_err());
    let restored = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), |config| {
        config.allow_external_environments(true)
    });
    assert!(restored.unwrap().evaluate().unwrap().min_return() >= 1.0);
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn two_policies_train_in_a_game_of_petting_zoo() {
    let mut algo = PpoConfig::new()
        .environment("pettingzoo:classic.rps_v2")
        .env_runners(|e| e.num_envs_per_env_runner(2))
        .multi_agent(|m| {
            m.policies(["player_0", "player_1"]).policy_mapping(PolicyMapping::ByAgent)
        })
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(2)
        .build(&device())
        .unwrap();
    let metrics = algo.train().unwrap();
    // Fifteen rounds, as the game has by default.
    assert_eq!(metrics.get("env_runners/episode_len_mean"), Some(15.0));
}

/// Environments that raise exceptions and kill their workers now and then.
#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn training_goes_on_when_environments_and_workers_fail() {
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/gymnasium/tests/python/envs");
    let settings = EnvConfig::new()
        .with("python_path", vec![modules])
        .with("num_workers", 2)
        .with("show_output", false);
    let config = PpoConfig::new()
        .environment("python:lab:Unreliable")
        .env_config(settings)
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .training(|t| t.train_batch_size(512).minibatch_size(128).num_epochs(1))
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .seed(5);
    let mut algo = config.build(&device()).unwrap();
    let mut restarts = 0.0;
    for _ in 0..3 {
        let metrics = algo.train().unwrap();
        restarts = metrics.get("env_runners/num_env_restarts_lifetime").unwrap();
        // Episodes have exactly ten steps; those that were cut count nowhere.
        assert_eq!(metrics.get("env_runners/episode_len_min"), Some(10.0));
        assert_eq!(metrics.get("env_runners/episode_len_max"), Some(10.0));
    }
    assert!(restarts >= 3.0, "{restarts}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn an_environment_that_fails_in_its_first_reset_ends_training_soon() {
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/gymnasium/tests/python/envs");
    let settings = EnvConfig::new().with("python_path", vec![modules]).with("show_output", false);
    let config = PpoConfig::new().environment("python:lab:NeverResets").env_config(settings);
    let message = config.build(&device()).unwrap().train().unwrap_err().to_string();
    assert!(message.contains("`python:lab:NeverResets` never began an episode"), "{message}");
    assert!(message.contains("RuntimeError: no reset today"), "{message}");
    assert!(message.contains("lab.py"), "the traceback is missing: {message}");
}
