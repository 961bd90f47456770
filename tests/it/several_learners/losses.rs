//! Every algorithm's first update with several learners equals that of one.

use rekindle::algorithms::AppoConfig;
use rekindle::algorithms::impala::LossReduction;

use super::*;
use crate::offline_table::recorded;

/// Checks the first update, and one more for what is kept between updates.
fn check<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>, first: usize) {
    let [first, second] = compare(name, config, first, first + 1);
    assert!(first <= 2e-6 && second <= 1e-4, "{name}: {first} {second}");
}

fn small<T: TrainingConfig>(config: AlgorithmConfig<T>, env: &str) -> AlgorithmConfig<T> {
    let config = config.environment(env).model("fcnet_hiddens", vec![8]).seed(7);
    config.env_runners(|e| e.num_envs_per_env_runner(4))
}

fn on_policy<T: TrainingConfig>(name: &str, config: AlgorithmConfig<T>) {
    let config = small(config, "CartPole-v1");
    check(name, &config.with_execution_plan(Unseen::new(Synchronous::new(60))), 1);
}

fn off_policy<T: TrainingConfig>(name: &str, config: AlgorithmConfig<T>, env: &str) {
    let config = small(config, env).reporting(|r| r.min_sample_timesteps_per_iteration(0));
    check(name, &config.with_execution_plan(Unseen::new(replay(30, false))), FIRST_REPLAY);
}

fn offline<T: TrainingConfig>(name: &str, config: AlgorithmConfig<T>, env: &str) {
    let config = config
        .offline_source(recorded(env, "bundle", &[("fcnet_hiddens", serde_json::json!([8]))]))
        .offline_data(|o| o.dataset_num_iters_per_learner(1).buffer_steps(100))
        .model("fcnet_hiddens", vec![8])
        .seed(3);
    check(name, &config, 1);
}

#[test]
fn on_policy_losses_are_shared() {
    let one_step = |batch: usize| {
        move |t: PpoTraining| t.train_batch_size(batch).minibatch_size(batch).num_epochs(1)
    };
    on_policy("PPO", PpoConfig::new().training(one_step(60)));
    let clipped = PpoConfig::new().training(one_step(60)).training(|t| t.grad_clip(1e-2));
    on_policy("PPO with clipped gradients", clipped);
    on_policy("A2C", A2cConfig::new().training(|t| t.train_batch_size(60)));
    on_policy("VPG", VpgConfig::new().training(|t| t.train_batch_size(60).use_critic(true)));
    let pqn =
        PqnConfig::new().training(|t| t.train_batch_size(60).minibatch_size(60).num_epochs(1));
    on_policy("PQN", pqn);
    for reduction in [LossReduction::Mean, LossReduction::Sum] {
        let config = ImpalaConfig::new().training(|t| {
            t.train_batch_size(60).fragment_length(5).loss_reduction(reduction).entropy_coeff(0.01)
        });
        on_policy("IMPALA", config);
    }
    let appo =
        AppoConfig::new().training(|t| t.train_batch_size(60).fragment_length(5).use_kl_loss(true));
    on_policy("APPO", appo);
}

#[test]
fn off_policy_losses_are_shared() {
    for (name, env) in [("SAC", "Pendulum-v1"), ("discrete SAC", "CartPole-v1")] {
        off_policy(name, SacConfig::new().training(|t| t.train_batch_size(30)), env);
    }
    off_policy("TQC", TqcConfig::new().training(|t| t.train_batch_size(30)), "Pendulum-v1");
    off_policy("TD3", Td3Config::new().training(|t| t.train_batch_size(30)), "Pendulum-v1");
    let c51 = DqnConfig::new().training(|t| t.train_batch_size(30).num_atoms(5).v_max(100.0));
    off_policy("C51", c51.training(|t| t.v_min(0.0).noisy(true)), "CartPole-v1");
    let with_memory = SacConfig::new().training(|t| t.train_batch_size(30).burn_in_len(1));
    let with_memory = with_memory.model("use_lstm", true).model("lstm_cell_size", 4);
    off_policy("SAC with an LSTM", with_memory.model("max_seq_len", 6), "Pendulum-v1");
}

#[test]
fn offline_losses_are_shared() {
    offline("BC", BcConfig::new().training(|t| t.train_batch_size(30)), "CartPole-v1");
    offline("MARWIL", MarwilConfig::new().training(|t| t.train_batch_size(30)), "CartPole-v1");
    let cql = CqlConfig::new().training(|t| {
        t.train_batch_size(30).num_actions(2).bc_iters(1).lagrangian(true).calibrated(true)
    });
    offline("CQL", cql, "Pendulum-v1");
    offline("IQL", IqlConfig::new().training(|t| t.train_batch_size(30)), "Pendulum-v1");
    offline("TD3+BC", Td3BcConfig::new().training(|t| t.train_batch_size(30)), "Pendulum-v1");
}
