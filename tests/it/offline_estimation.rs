//! Estimates of returns from recorded data: by critics in every action space, and as part of evaluations.

use burn::prelude::*;
use rekindle::algorithms::{AlgorithmError, Experiment, OffPolicyEstimation};
use rekindle::core::any_tensor::to_f32;
use rekindle::core::host_batch::upload;
use rekindle::offline::{Estimator, OfflineData, OfflineError, OfflineSource, ParquetData};
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
             [evaluation.off_policy_estimation]\nmethods = [\"dr\"]\n{input}"
        )
    };
    let refused = |text: &str| {
        let experiment = Experiment::from_toml(text).unwrap();
        experiment.build(&device()).map(|_| ()).unwrap_err().to_string()
    };
    let message = refused(&text(""));
    assert!(message.contains("`off_policy_estimation.input_` is []"), "{message}");
    let input = format!("input_ = [{:?}]\n", path.display().to_string());
    let message = refused(&text(&input).replace("\"dr\"", ""));
    assert!(message.contains("`off_policy_estimation.methods` is []"), "{message}");
    let message = refused(&text(&input));
    assert!(message.contains("`dr` cannot estimate"), "{message}");
    let allowed = text(&input).replace("\"dr\"", "\"is\"");
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

/// BC of recordings of CartPole, without an environment.
fn bc(input: &std::path::Path) -> BcConfig {
    BcConfig::new()
        .offline_data(|o| o.input_(input).dataset_num_iters_per_learner(2))
        .training(|t| t.train_batch_size(16))
        .model("fcnet_hiddens", vec![8])
        .seed(0)
}

#[test]
fn held_out_minari_datasets_are_estimated_from_like_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let (_, data) = acted("CartPole-v1", RLModuleSpec::default());
    let [parquet, minari] = ["parquet", "minari"].map(|name| folder.path().join(name));
    data.save_parquet(&parquet).unwrap();
    data.save_minari(&minari).unwrap();
    let estimates = |path: &std::path::Path| {
        let estimation = OffPolicyEstimation::default().input_(path);
        let config = bc(&parquet).evaluation(|e| e.off_policy_estimation(estimation));
        config.build(&device()).unwrap().evaluate().unwrap().estimates
    };
    let expected = estimates(&parquet);
    let wis = expected[DEFAULT_MODULE_ID][&Estimator::WeightedImportanceSampling];
    assert!(wis.value > 1.0 && wis.low <= wis.high, "{wis:?}");
    assert_eq!(estimates(&minari), expected);
    // The file of a dataset is the dataset, and the directory above is answered with its name.
    assert_eq!(estimates(&minari.join("data/metadata.json")), expected);
    let above = OffPolicyEstimation::default().input_(folder.path());
    let error = bc(&parquet).evaluation(|e| e.off_policy_estimation(above)).build(&device());
    let message = error.unwrap_err().to_string();
    assert!(message.contains("is a directory of Minari datasets; name one of them"), "{message}");
}

/// Data of `acted` with other log-probabilities of the policy that acted.
fn with_logp(data: &OfflineData, logp: impl Fn(usize, f32) -> f32) -> OfflineData {
    let mut changed = OfflineData::of_modules(data.module_spaces().clone());
    for (number, (id, episode)) in data.episodes().enumerate() {
        let mut episode = episode.clone();
        let old = episode.extras["action_logp"].as_f32().unwrap().iter();
        let new: Vec<f32> = old.map(|old| logp(number, *old)).collect();
        episode.extras.insert("action_logp".into(), Buffer::from_f32(new, &[]).unwrap());
        changed.push_rollout(id, &episode).unwrap();
    }
    changed
}

#[test]
fn log_probabilities_above_0_are_refused_where_no_density_exceeds_1() {
    let is = Estimator::ImportanceSampling;
    let (module, data) = acted("CartPole-v1", RLModuleSpec::default());
    for (logp, is_valid) in [(1.0, false), (2e-4, false), (5e-5, true)] {
        let other = with_logp(&data, |number, old| if number == 1 { logp } else { old });
        match (estimate(&module, &other, &[is]), is_valid) {
            (Ok(found), true) => assert!(found[0].is_finite()),
            (Err(error), false) => {
                let message = error.to_string();
                let expected = format!("`action_logp` of episode 1 in the data holds {logp}");
                assert!(message.starts_with("the estimator `is` cannot estimate"), "{message}");
                assert!(message.contains(&expected), "{message}");
                assert!(message.contains("in Discrete(2) is at most 0"), "{message}");
            }
            (found, _) => panic!("{logp}: {found:?}"),
        }
    }
    // At build, too.
    let wrong = with_logp(&data, |_, _| 1.0);
    let config = BcConfig::new()
        .offline_source(wrong)
        .evaluation(|e| e.off_policy_estimation(OffPolicyEstimation::default()));
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("is at most 0"), "{message}");
    // Densities of a Box exceed 1.
    let (module, data) = acted("Pendulum-v1", RLModuleSpec::default());
    let dense = with_logp(&data, |_, old| old + 3.0);
    assert!(estimate(&module, &dense, &[is]).unwrap()[0].is_finite());
}

#[test]
fn weights_that_overflow_are_errors_and_metrics_are_always_numbers() {
    let (module, data) = acted("CartPole-v1", RLModuleSpec::default());
    let rare = with_logp(&data, |number, old| if number == 2 { -1e30 } else { old });
    for estimator in [Estimator::ImportanceSampling, Estimator::PerDecisionImportanceSampling] {
        let message = estimate(&module, &rare, &[estimator]).unwrap_err().to_string();
        let expected = format!(
            "the estimator `{}` cannot estimate: the weight of episode 2 is too large",
            estimator.name()
        );
        assert!(message.starts_with(&expected), "{message}");
    }
    let (_, third) = data.episodes().nth(2).unwrap();
    let steps = third.rewards.len() as i32;
    let expected: f64 = (0..steps).map(|t| 0.9_f64.powi(t)).sum();
    let weighted =
        [Estimator::WeightedImportanceSampling, Estimator::PerDecisionWeightedImportanceSampling];
    for found in estimate(&module, &rare, &weighted).unwrap() {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    // Training goes on without the estimate.
    let estimation =
        OffPolicyEstimation::default().methods([Estimator::ImportanceSampling, weighted[0]]);
    let config = BcConfig::new()
        .offline_source(rare)
        .evaluation(|e| e.off_policy_estimation(estimation))
        .model("fcnet_hiddens", vec![8]);
    let evaluation = config.build(&device()).unwrap().evaluate().unwrap();
    let made: Vec<_> = evaluation.estimates["default_policy"].keys().collect();
    assert_eq!(made, [&weighted[0]]);
    assert!(evaluation.metrics.iter().all(|(_, value)| value.is_finite()));
}

#[test]
fn a_run_without_an_environment_records_its_estimates() {
    let folder = tempfile::tempdir().unwrap();
    let path = recordings(folder.path());
    let estimation = OffPolicyEstimation::default()
        .methods([Estimator::WeightedImportanceSampling, Estimator::PerDecisionImportanceSampling]);
    let config = bc(&path).evaluation(|e| e.off_policy_estimation(estimation));
    let algo = config.build(&device()).unwrap();
    let mut algo = algo.with_run_folder(folder.path(), RunConfig::default()).unwrap();
    algo.train().unwrap();
    let evaluation = algo.evaluate_run().unwrap();
    let run = algo.run_folder().unwrap().path().to_owned();
    let read = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let recorded = json(&read("evaluations.jsonl"));
    for (estimator, estimate) in &evaluation.estimates[DEFAULT_MODULE_ID] {
        let of = &recorded["off_policy_estimation"]["default_policy"][estimator.name()];
        let expected = json!({"value": estimate.value, "low": estimate.low, "high": estimate.high});
        assert_eq!(of, &expected);
    }
    let results = json(&read("results.json"));
    assert_eq!(results["off_policy_estimation"], recorded["off_policy_estimation"]);
    assert_eq!((&results["n_eval_episodes"], results.get("mean_reward")), (&json!(0), None));
    let card = read("README.md");
    let wis = evaluation.estimates[DEFAULT_MODULE_ID][&Estimator::WeightedImportanceSampling];
    let row = format!(
        "| default_policy | wis | {:.2} | {:.2} to {:.2} |\n",
        wis.value, wis.low, wis.high
    );
    for part in ["# BC from recordings\n", "tags: [deep-reinforcement-learning, ", &row] {
        assert!(card.contains(part), "no `{part}` in:\n{card}");
    }
    for part in ["NaN", " inf ", "null", "model-index", "\"\"", " on \n"] {
        assert!(!card.contains(part), "`{part}` in:\n{card}");
    }
    // With an environment, the card has both.
    let config = config.evaluation(|e| e.evaluation_config(|c| c.env("CartPole-v1")));
    let algo = config.build(&device()).unwrap();
    let mut algo = algo.with_run_folder(folder.path(), RunConfig::default()).unwrap();
    algo.evaluate_run().unwrap();
    let run = algo.run_folder().unwrap().path().to_owned();
    let card = std::fs::read_to_string(run.join("README.md")).unwrap();
    for part in ["# BC on CartPole-v1\n", "- {type: mean_reward, value: \"", "| wis | "] {
        assert!(card.contains(part), "no `{part}` in:\n{card}");
    }
}
