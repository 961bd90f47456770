//! Estimates of returns from recorded data: by critics in every action space, and as part of evaluations.

use burn::prelude::*;
use rekindle::algorithms::{AlgorithmError, Experiment, OffPolicyEstimation};
use rekindle::core::any_tensor::to_f32;
use rekindle::core::host_batch::upload;
use rekindle::offline::{Estimator, OfflineData, OfflineError, ParquetData};
use rekindle::prelude::*;
use rekindle::rl_module::{DeterministicActorCritic, QNetwork, SoftActorCritic};
use serde_json::json;

use crate::support::device;

/// A module for an environment, and steps that it sampled there.
fn acted(env: &str, spec: RLModuleSpec) -> (AnyRLModule, OfflineData) {
    let config = EnvRunnerConfig::new(env).num_envs(2).seed(1);
    let mut runners = EnvRunnerGroup::new(&config, 1, 1, &device()).unwrap();
    let spaces = runners.module_spaces();
    let (observations, actions) = spaces[DEFAULT_MODULE_ID].clone();
    let spec = spec
        .observation_space(observations)
        .action_space(actions)
        .model_config(json!({ "fcnet_hiddens": [8] }));
    let modules = MultiRLModuleSpec::new([(DEFAULT_MODULE_ID, spec)]).build(&device(), 0).unwrap();
    runners.set_modules(&modules, PublishedAt::new(0, 0)).unwrap();
    let experience = runners.sample_timesteps(80, SampleOptions::default()).unwrap();
    let mut data = OfflineData::of_modules(spaces);
    data.push(&experience.rollouts).unwrap();
    (modules.module(DEFAULT_MODULE_ID).unwrap().clone(), data)
}

fn estimate(
    module: &AnyRLModule,
    data: &OfflineData,
    methods: &[Estimator],
) -> Result<Vec<f64>, AlgorithmError> {
    let estimation = OffPolicyEstimation::default().methods(methods).gamma(0.9).num_actions(512);
    let found = estimation.estimate(module, data, DEFAULT_MODULE_ID)?;
    Ok(methods.iter().map(|estimator| found[estimator].value).collect())
}

fn mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The smaller value of each row.
fn smaller(q: Tensor<3>) -> Vec<f64> {
    to_f32(q.min_dim(1)).unwrap().into_iter().map(f64::from).collect()
}

#[test]
fn critics_of_a_box_value_actions_that_the_policy_samples() {
    let (module, data) = acted("Pendulum-v1", RLModuleSpec::of::<SoftActorCritic>());
    let found =
        estimate(&module, &data, &[Estimator::DirectMethod, Estimator::DoublyRobust]).unwrap();
    // By hand, with other draws.
    let mut rng = Generator::from_seed(5);
    let mut value = |observations: Buffer| {
        let rows = observations.rows();
        let obs = upload(&observations, &device()).unwrap();
        let sums = (0..400).fold(vec![0.0; rows], |sums, _| {
            let noise: Vec<f32> = (0..rows).map(|_| rng.standard_normal() as f32).collect();
            let noise = Tensor::<1>::from_floats(noise.as_slice(), &device()).reshape([rows, 1]);
            let batch = Batch::new().with(Columns::OBS, obs.clone());
            let actions = module.rsample(&batch, noise).unwrap().0;
            let q = module.compute_action_values(&batch.with(Columns::ACTIONS, actions)).unwrap();
            sums.iter().zip(smaller(q)).map(|(sum, q)| sum + q).collect()
        });
        sums.into_iter().map(|sum| sum / 400.0).collect::<Vec<_>>()
    };
    let (mut direct, mut robust) = (Vec::new(), Vec::new());
    for (_, episode) in data.episodes() {
        let values = value(episode.observations.clone());
        let batch = Batch::new()
            .with(Columns::OBS, upload(&episode.observations, &device()).unwrap())
            .with(Columns::ACTIONS, upload(&episode.actions, &device()).unwrap());
        let q = smaller(module.compute_action_values(&batch).unwrap());
        direct.push(values[0]);
        // The policy that acted is the one that is estimated: all ratios are 1.
        let mut after = value(episode.final_observations.clone())[0];
        for t in (0..q.len()).rev() {
            after = values[t] + f64::from(episode.rewards[t]) + 0.9 * after - q[t];
        }
        robust.push(after);
    }
    for (found, expected) in found.iter().zip([mean(direct), mean(robust)]) {
        assert!((found - expected).abs() < 0.02 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn a_deterministic_policy_is_estimated_by_the_value_of_its_action() {
    let (module, data) = acted("Pendulum-v1", RLModuleSpec::of::<DeterministicActorCritic>());
    let found = estimate(&module, &data, &[Estimator::DirectMethod]).unwrap()[0];
    let values = data.episodes().map(|(_, episode)| {
        let first = episode.observations.slice(0..1).unwrap();
        let batch = Batch::new().with(Columns::OBS, upload(&first, &device()).unwrap());
        let actions = module.compute_actions(&batch).unwrap();
        let batch = batch.with(Columns::ACTIONS, actions);
        smaller(module.compute_action_values(&batch).unwrap())[0]
    });
    let expected = mean(values);
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
}

#[test]
fn what_cannot_be_estimated_is_refused_by_name() {
    let message = |env: &str, spec: RLModuleSpec, estimator| {
        let (module, data) = acted(env, spec);
        let error = estimate(&module, &data, &[estimator]).unwrap_err();
        assert!(matches!(error, AlgorithmError::Offline(OfflineError::Estimator { .. })));
        error.to_string()
    };
    let td3 = RLModuleSpec::of::<DeterministicActorCritic>();
    for estimator in [Estimator::WeightedImportanceSampling, Estimator::DoublyRobust] {
        let found = message("Pendulum-v1", td3.clone(), estimator);
        assert!(found.contains(&format!("`{}` cannot estimate", estimator.name())), "{found}");
        assert!(found.contains("a deterministic policy has no density"), "{found}");
    }
    let q = RLModuleSpec::of::<QNetwork>();
    let found = message("CartPole-v1", q, Estimator::ImportanceSampling);
    assert!(found.contains("a Q-network has no probabilities"), "{found}");
    let found = message("CartPole-v1", RLModuleSpec::default(), Estimator::DirectMethod);
    assert!(found.contains("the module has no critics"), "{found}");
    let lstm = RLModuleSpec::default();
    let (_, data) = acted("CartPole-v1", lstm.clone());
    let (observations, actions) = data_spaces(&data);
    let module = lstm
        .observation_space(observations)
        .action_space(actions)
        .model_config(json!({ "use_lstm": true, "lstm_cell_size": 4 }))
        .build(&device())
        .unwrap();
    let found = estimate(&module, &data, &[Estimator::ImportanceSampling]).unwrap_err().to_string();
    assert!(found.contains("the module has memory"), "{found}");
}

fn data_spaces(data: &OfflineData) -> (Space, Space) {
    data.module_spaces()[DEFAULT_MODULE_ID].clone()
}

/// Recordings of PPO's first policy on CartPole.
fn recordings(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("data");
    let (_, data) = acted("CartPole-v1", RLModuleSpec::default());
    data.save_parquet(&path).unwrap();
    path
}

#[test]
fn evaluations_estimate_the_return_from_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let path = recordings(folder.path());
    let estimation = OffPolicyEstimation::default()
        .methods([Estimator::WeightedImportanceSampling, Estimator::PerDecisionImportanceSampling]);
    let config = BcConfig::new()
        .offline_data(|o| o.input_(&path).dataset_num_iters_per_learner(2))
        .training(|t| t.train_batch_size(16))
        .model("fcnet_hiddens", vec![8])
        .evaluation(|e| e.evaluation_interval(1).off_policy_estimation(estimation.clone()))
        .seed(0);
    // Without an environment, evaluations are estimates.
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    let data = ParquetData::open(&path).unwrap();
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    for (estimator, expected) in estimation.estimate(module, &data, DEFAULT_MODULE_ID).unwrap() {
        let key = format!("off_policy_estimation/default_policy/{}", estimator.name());
        for (end, expected) in
            [("", expected.value), ("_low", expected.low), ("_high", expected.high)]
        {
            assert_eq!(result.get(&format!("evaluation/{key}{end}")), Some(expected));
        }
        assert!(expected.low <= expected.value && expected.value <= expected.high);
    }
    assert_eq!(result.get("evaluation/env_runners/episode_return_mean"), None);
    assert!(algo.evaluate().unwrap().returns.is_empty());
    // With one, evaluations also play.
    for parallel in [false, true] {
        let played = config.clone().evaluation(|e| {
            e.evaluation_duration(2)
                .evaluation_parallel_to_training(parallel)
                .evaluation_config(|c| c.env("CartPole-v1"))
        });
        let result = played.build(&device()).unwrap().train().unwrap();
        assert_eq!(result.get("evaluation/env_runners/num_episodes"), Some(2.0));
        let found = result.get("evaluation/off_policy_estimation/default_policy/wis");
        assert!(found.is_some_and(f64::is_finite), "{found:?}");
    }
}

#[test]
fn a_settings_file_estimates_the_return_of_an_algorithm_that_learns_online() {
    let folder = tempfile::tempdir().unwrap();
    let path = recordings(folder.path());
    let text = |input: &str| {
        format!(
            "algorithm = \"PPO\"\n[environment]\nenv = \"CartPole-v1\"\n\
             [model_config]\nfcnet_hiddens = [8]\n\
             [training]\ntrain_batch_size = 32\nminibatch_size = 32\nnum_epochs = 1\n\
             [evaluation.off_policy_estimation]\nmethods = [\"doubly_robust\"]\n{input}"
        )
    };
    let refused = |text: &str| {
        let experiment = Experiment::from_toml(text).unwrap();
        experiment.build(&device()).map(|_| ()).unwrap_err().to_string()
    };
    let message = refused(&text(""));
    assert!(message.contains("`off_policy_estimation.input_` is []"), "{message}");
    let input = format!("input_ = [{:?}]\n", path.display().to_string());
    let message = refused(&text(&input));
    assert!(message.contains("`dr` cannot estimate"), "{message}");
    let allowed = text(&input).replace("doubly_robust", "importance_sampling");
    let mut algo = Experiment::from_toml(&allowed).unwrap().build(&device()).unwrap();
    let metrics = algo.evaluate().unwrap().metrics;
    assert!(metrics.get("off_policy_estimation/default_policy/is").is_some());
    assert!(metrics.get("env_runners/episode_return_mean").is_some());
}

#[test]
fn data_without_log_probabilities_are_refused_at_build() {
    let (observations, actions) = (Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap());
    let mut data = OfflineData::new(observations, actions);
    data.push_episode(rekindle::offline::Episode {
        observations: Buffer::from_f32(vec![0.0; 3], &[1]).unwrap(),
        actions: Buffer::from_i64(vec![0, 1], &[]).unwrap(),
        rewards: vec![1.0; 2],
        end: rekindle::env_runner::SegmentEnd::Terminated,
    })
    .unwrap();
    let config = BcConfig::new()
        .offline_source(data)
        .evaluation(|e| e.off_policy_estimation(OffPolicyEstimation::default()));
    let error = config.build(&device()).unwrap_err();
    assert!(
        matches!(
            &error,
            AlgorithmError::Offline(OfflineError::Estimator { estimator: "wis", reason })
                if reason.contains("no column `action_logp`")
        ),
        "{error}"
    );
}
