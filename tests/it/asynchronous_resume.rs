//! The deterministic mode of the asynchronous plan: equal seeds give equal runs, and N + N iterations
//! equal 2N.

use rekindle::algorithms::{
    AlgorithmConfig, AppoConfig, AppoTraining, ImpalaConfig, ImpalaTraining, TrainingConfig,
};
use rekindle::checkpoint;
use rekindle::prelude::*;

use crate::support::device;

const ITERATIONS: usize = 2;

/// Everything that could be forgotten is on: a filter, schedules, runners that get new weights at an
/// interval that does not divide a training step.
fn small<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("CartPole-v1")
        .env_runners(|e| {
            e.num_env_runners(2)
                .num_envs_per_env_runner(2)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![8])
        .seed(11)
}

fn impala() -> AlgorithmConfig<ImpalaTraining> {
    small(ImpalaConfig::new().training(|t| {
        t.lr([(0, 5e-3), (2000, 1e-4)])
            .entropy_coeff([(0, 0.01), (2000, 0.0)])
            .train_batch_size(40)
            .fragment_length(5)
            .broadcast_interval(4)
            .deterministic(true)
    }))
}

fn appo() -> AlgorithmConfig<AppoTraining> {
    small(AppoConfig::new().training(|t| {
        t.lr([(0, 5e-3), (2000, 1e-4)])
            .train_batch_size(40)
            .fragment_length(5)
            .circular_buffer_num_batches(3)
            .target_network_update_freq(1.5)
            .tau(0.5)
            .use_kl_loss(true)
            .broadcast_interval(3)
            .deterministic(true)
    }))
}

fn recurrent<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    let config = config.model("use_lstm", true).model("lstm_cell_size", 6);
    config.model("max_seq_len", 4).model("lstm_use_prev_action", true)
}

fn two_agents<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

fn train(algo: &mut Algorithm) -> Vec<Option<f64>> {
    let results = (0..ITERATIONS).map(|_| algo.train().unwrap());
    let keys = ["policy_loss", "vf_loss", "entropy", "total_loss"];
    let of = |result: Metrics| {
        keys.map(|key| {
            let of = |id: &str| result.get(&format!("learners/{id}/{key}"));
            of("default_policy").or_else(|| of("1"))
        })
    };
    results.flat_map(of).collect()
}

fn assert_equal(straight: &State, other: &State) {
    for component in ["learner", "execution_plan", "env_runners"] {
        let of = |state: &State| state.component(component).unwrap().clone();
        assert!(of(straight) == of(other), "{component} differs");
    }
    for field in ["algorithm", "execution_plan", "iteration", "env_steps"] {
        assert_eq!(straight.data[field], other.data[field], "{field}");
    }
}

fn resumes_exactly<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let folder = tempfile::tempdir().unwrap();
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo);
    algo.save_to_path(folder.path().join("half")).unwrap();
    let half = algo.get_state().unwrap();
    let losses = train(&mut algo);
    let straight = algo.get_state().unwrap();
    assert!(half.component("learner").unwrap() != straight.component("learner").unwrap());

    let path = folder.path().join("half");
    let mut resumed = Algorithm::from_checkpoint::<T>(&path, &device()).unwrap();
    assert_equal(&half, &checkpoint::read(&path).unwrap());
    assert_equal(&half, &resumed.get_state().unwrap());
    assert_eq!(train(&mut resumed), losses);
    assert_equal(&straight, &resumed.get_state().unwrap());

    // An algorithm that went on returns to the saved state, with fewer threads.
    let mut other = config.clone().env_runners(|e| e.num_threads(1)).build(&device()).unwrap();
    train(&mut other);
    assert_equal(&half, &other.get_state().unwrap());
    train(&mut other);
    other.set_state(&half).unwrap();
    assert_eq!(train(&mut other), losses);
    assert_equal(&straight, &other.get_state().unwrap());
}

#[test]
fn n_plus_n_iterations_of_impala_equal_2n_bit_for_bit() {
    resumes_exactly(&impala());
}

#[test]
fn n_plus_n_iterations_of_appo_equal_2n_bit_for_bit() {
    resumes_exactly(&appo());
}

#[test]
fn n_plus_n_iterations_with_memory_equal_2n_bit_for_bit() {
    resumes_exactly(&recurrent(impala()));
    resumes_exactly(&recurrent(appo()));
}

#[test]
fn n_plus_n_iterations_of_two_agents_equal_2n_bit_for_bit() {
    resumes_exactly(&two_agents(impala()));
    resumes_exactly(&two_agents(appo()));
}

#[test]
fn experience_that_waits_in_a_checkpoint_is_learned_from_without_the_deterministic_mode_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half");
    let mut algo = impala().build(&device()).unwrap();
    let all = "learners/__all_modules__/num_env_steps_trained_lifetime";
    let trained = algo.train().unwrap().get(all).unwrap() as u64;
    assert!(trained < algo.env_steps(), "a batch waits for the next step");
    algo.save_to_path(&path).unwrap();
    let free =
        |config: AlgorithmConfig<ImpalaTraining>| config.training(|t| t.deterministic(false));
    let mut resumed =
        Algorithm::from_checkpoint_with::<ImpalaTraining>(&path, &device(), free).unwrap();
    let trained = resumed.train().unwrap().get(all).unwrap() as u64;
    assert_eq!(trained, resumed.env_steps());
    assert!(!resumed.get_state().unwrap().components.contains_key("execution_plan"));
}

/// What the plan keeps belongs to the state that is replaced.
#[test]
fn returning_to_the_start_forgets_the_experience_that_waits() {
    let mut algo = appo().build(&device()).unwrap();
    let start = algo.get_state().unwrap();
    let first = train(&mut algo);
    let end = algo.get_state().unwrap();
    algo.set_state(&start).unwrap();
    assert_eq!(train(&mut algo), first);
    assert_equal(&end, &algo.get_state().unwrap());
}

#[test]
fn a_plan_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let [mut algo, mut control] = [0; 2].map(|_| appo().build(&device()).unwrap());
    assert_eq!(train(&mut algo), train(&mut control));
    let mut state = algo.get_state().unwrap();
    let plan = state.components.get_mut("execution_plan").unwrap();
    plan.components.get_mut("circular_buffer").unwrap().data["left"][0] = 0.into();
    let message = algo.set_state(&state).unwrap_err().to_string();
    assert!(message.contains("circular buffer"), "{message}");
    assert_eq!(train(&mut algo), train(&mut control));
    assert_equal(&control.get_state().unwrap(), &algo.get_state().unwrap());
}
