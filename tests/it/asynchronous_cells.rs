//! IMPALA and APPO train every kind of module, and are saved and restored.

use std::sync::{Arc, Mutex};

use rekindle::algorithms::{
    AlgorithmConfig, AppoConfig, AppoTraining, ImpalaConfig, ImpalaTraining, TrainingConfig,
};
use rekindle::prelude::*;

use crate::support::device;

fn impala(env: &str) -> AlgorithmConfig<ImpalaTraining> {
    let config = ImpalaConfig::new().training(|t| t.train_batch_size(40).fragment_length(10));
    small(config.environment(env))
}

fn appo(env: &str) -> AlgorithmConfig<AppoTraining> {
    let config = AppoConfig::new().training(|t| {
        t.train_batch_size(40)
            .fragment_length(10)
            .circular_buffer_num_batches(3)
            .target_network_update_freq(1.0)
            .use_kl_loss(true)
    });
    small(config.environment(env))
}

fn small<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config.env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2)).seed(3)
}

/// Trains three iterations, saves, restores and trains once more. Asserts that all losses are finite and
/// that every module changed.
fn trains<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    let ids: Vec<_> = algo.learner().module().keys().cloned().collect();
    let weights = |algo: &Algorithm, id: &str| algo.module(id).unwrap().state_dict().unwrap();
    let before: Vec<_> = ids.iter().map(|id| weights(&algo, id)).collect();
    for iteration in 1..=3 {
        let result = algo.train().unwrap();
        for (key, value) in result.iter().filter(|(key, _)| key.starts_with("learners/")) {
            assert!(value.is_finite(), "{key} is {value}");
        }
        for id in &ids {
            assert!(result.get(&format!("learners/{id}/policy_loss")).is_some(), "{result}");
            let steps = result.get(&format!("learners/{id}/num_module_steps_trained_lifetime"));
            assert!(steps >= Some(f64::from(iteration) * 100.0), "{id}: {steps:?}");
        }
        let sampled = result.get("env_runners/num_env_steps_sampled_lifetime");
        assert_eq!(sampled, Some(algo.env_steps() as f64));
    }
    for (id, before) in ids.iter().zip(&before) {
        for (name, weight) in weights(&algo, id) {
            assert_ne!(weight, before[&name], "{name} of {id} was not updated");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("saved")).unwrap();
    let mut restored =
        Algorithm::from_checkpoint::<T>(folder.path().join("saved"), &device()).unwrap();
    let (saved, state) = (algo.get_state().unwrap(), restored.get_state().unwrap());
    for component in ["learner", "execution_plan", "env_runners"] {
        let of = |state: &State| state.components.get(component).cloned();
        assert!(of(&saved) == of(&state), "{component} differs");
    }
    let result = restored.train().unwrap();
    for id in &ids {
        let loss = result.get(&format!("learners/{id}/policy_loss")).unwrap();
        assert!(loss.is_finite());
    }
}

fn both(
    env: &str,
    impala_of: impl Fn(AlgorithmConfig<ImpalaTraining>) -> AlgorithmConfig<ImpalaTraining>,
    appo_of: impl Fn(AlgorithmConfig<AppoTraining>) -> AlgorithmConfig<AppoTraining>,
) {
    for deterministic in [true, false] {
        trains(&impala_of(impala(env)).training(|t| t.deterministic(deterministic)));
        trains(&appo_of(appo(env)).training(|t| t.deterministic(deterministic)));
    }
}

fn small_mlp<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config.model("fcnet_hiddens", vec![16])
}

fn two_agents<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    small_mlp(config)
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

fn lstm<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    let config = small_mlp(config).model("use_lstm", true);
    config.model("lstm_cell_size", 8).model("max_seq_len", 6)
}

#[test]
fn impala_and_appo_train_a_fully_connected_module() {
    both("CartPole-v1", small_mlp, small_mlp);
}

#[test]
fn impala_and_appo_train_two_independent_agents() {
    both("MultiAgentCartPole-v1", two_agents, two_agents);
}

#[test]
fn impala_and_appo_train_a_convolutional_module() {
    both("Catch-v0", |config| config, |config| config);
}

#[test]
fn impala_and_appo_train_a_recurrent_module() {
    both("StatelessCartPole-v1", lstm, lstm);
}

#[test]
fn impala_and_appo_train_on_nested_observations() {
    both("NestedCartPole-v1", small_mlp, small_mlp);
}

/// Steps of agents count, if the settings say so: two agents fill a batch up to twice as fast.
#[test]
fn batches_are_as_large_as_asked_in_steps_of_agents() {
    for deterministic in [true, false] {
        let config = two_agents(impala("MultiAgentCartPole-v1"))
            .multi_agent(|m| m.count_steps_by(CountStepsBy::AgentSteps))
            .training(|t| t.train_batch_size(80).deterministic(deterministic));
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        let steps = algo.env_steps();
        assert!((8 * 40..8 * 70).contains(&steps), "{steps}");
    }
}

#[test]
fn an_asynchronous_algorithm_evaluates_beside_training() {
    let config = small_mlp(impala("CartPole-v1")).evaluation(|e| {
        e.evaluation_interval(1).evaluation_duration(2).evaluation_parallel_to_training(true)
    });
    let mut algo = config.build(&device()).unwrap();
    for _ in 0..2 {
        let result = algo.train().unwrap();
        assert!(result.get("evaluation/env_runners/episode_return_mean").is_some());
    }
}

#[test]
fn results_have_the_timers_and_the_lag_of_the_weights_in_both_modes() {
    for deterministic in [true, false] {
        let config = small_mlp(appo("CartPole-v1")).training(|t| t.deterministic(deterministic));
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        let result = algo.train().unwrap();
        let get =
            |key: &str| result.get(key).unwrap_or_else(|| panic!("{key} is missing: {result}"));
        let whole = get("timers/training_iteration");
        for timer in ["timers/env_runner_sampling_timer", "timers/learner_update_timer"] {
            assert!((1e-6..=whole).contains(&get(timer)), "{timer} of {whole}: {result}");
        }
        let lag = get("learners/weights_lag_mean");
        assert!((0.0..20.0).contains(&lag), "{lag}");
        let sampled = get("env_runners/num_env_steps_sampled");
        assert_eq!(get("env_runners/num_env_steps_sampled_lifetime"), algo.env_steps() as f64);
        assert!(sampled >= 320.0 && sampled < algo.env_steps() as f64, "{sampled}");
        let trained = get("learners/default_policy/num_module_steps_trained_lifetime");
        assert!(trained > sampled, "each batch twice: {trained}");

        let terminal = Terminal::default();
        let columns = rekindle::algorithms::ppo::console_columns();
        ConsoleSink::new(Box::new(terminal.clone()), columns).write(2, &result).unwrap();
        let text = String::from_utf8(terminal.0.lock().unwrap().clone()).unwrap();
        let line: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert!(!line.contains(&"-"), "every column has a number: {text}");
        assert!(!line.last().unwrap().ends_with("/0"), "the learner has a share: {text}");
    }
}

/// What a console shows.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn settings_that_the_plan_would_ignore_are_refused() {
    let config = impala("CartPole-v1").env_runners(|e| e.rollout_fragment_length(7));
    let message = config.validate().unwrap_err().to_string();
    assert!(message.contains("rollout_fragment_length"), "{message}");
    assert!(message.contains("fragment_length"), "{message}");
}
