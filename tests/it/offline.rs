//! Recording, reading back, and learning from data without an environment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rekindle::algorithms::{
    AlgorithmConfig, BcTraining, Callbacks, OffPolicyEstimation, Offline, Replay, TrainingConfig,
};
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::offline::{
    Episode, Estimator, OfflineData, OfflineSource, OutputFormat, ParquetData, Recorded,
    Transitions,
};
use rekindle::prelude::*;

use crate::support::device;

fn ppo() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .training(|t| t.train_batch_size(96).minibatch_size(48).num_epochs(1))
        .model("fcnet_hiddens", vec![8])
        .seed(1)
}

/// Keeps a copy of what runners collect in training.
#[derive(Default, Clone)]
struct Keep(Arc<Mutex<Vec<Experience>>>);

impl Callbacks for Keep {
    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        if !event.in_evaluation {
            self.0.lock().unwrap().push(event.experience.clone());
        }
        Ok(())
    }
}

/// The episodes of data by runner, environment and number, joined where the recording was cut, as text: NaN equals NaN.
type Episodes = BTreeMap<(usize, usize, u64), Vec<(usize, String)>>;

/// Everything about the steps of a rollout.
fn add(episodes: &mut Episodes, rollout: &Rollout) {
    for segment in &rollout.segments {
        let key = (rollout.runner, segment.env, segment.episode);
        let steps = episodes.entry(key).or_default();
        for (t, row) in segment.rows().enumerate() {
            let observation = rollout.observations.row(row).to_value().unwrap();
            let action = rollout.actions.row(row).to_value().unwrap();
            let logp = rollout.extras["action_logp"].as_f32().unwrap()[row];
            let reward = rollout.rewards[row];
            steps.push((
                segment.t_started + t,
                format!("{observation:?} {action:?} {logp} {reward}"),
            ));
        }
    }
}

fn read(data: &ParquetData) -> Episodes {
    let mut episodes = Episodes::new();
    for part in 0..data.num_parts() {
        let recorded = data.read(part).unwrap();
        recorded.values().flatten().for_each(|rollout| add(&mut episodes, rollout));
    }
    episodes.values_mut().for_each(|steps| steps.sort());
    episodes
}

#[test]
fn everything_that_runners_collect_is_recorded_while_they_learn() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("data");
    let kept = Keep::default();
    let config = ppo().evaluation(|e| e.evaluation_interval(1).evaluation_duration(2));
    let recording = config.clone().env_runners(|e| e.output(&output)).callbacks(kept.clone());
    let weights = |config: &PpoConfig| {
        let mut algo = config.build(&device()).unwrap();
        for _ in 0..4 {
            algo.train().unwrap();
        }
        algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()
    };
    assert_eq!(weights(&recording), weights(&config));
    let mut expected = Episodes::new();
    for experience in kept.0.lock().unwrap().iter() {
        let rollouts = experience.rollouts.values().flatten();
        rollouts.for_each(|rollout| add(&mut expected, rollout));
    }
    let data = ParquetData::open(&output).unwrap();
    assert_eq!(data.num_steps(), 4 * 96);
    assert!(read(&data) == expected);
    // Only parts at the end of the recording are cut off.
    let parts = (0..data.num_parts()).flat_map(|part| data.read(part).unwrap().into_values());
    let cut = parts
        .flatten()
        .filter(|rollout| rollout.segments[0].end == rekindle::env_runner::SegmentEnd::Cut);
    assert!((1..=4).contains(&cut.count()));
}

#[test]
fn a_restored_run_repeats_what_it_recorded_after_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (output, saved) = (folder.path().join("data"), folder.path().join("saved"));
    let config = ppo().env_runners(|e| e.output(&output).output_max_file_size(1));
    let mut algo = config.build(&device()).unwrap();
    (0..2).for_each(|_| drop(algo.train().unwrap()));
    algo.save_to_path(&saved).unwrap();
    (0..2).for_each(|_| drop(algo.train().unwrap()));
    drop(algo);
    let straight = read(&ParquetData::open(&output).unwrap());

    // What is newer than the checkpoint goes when training goes on, not when the checkpoint is only looked at.
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(&saved, &device()).unwrap();
    algo.evaluate().unwrap();
    algo.save_to_path(folder.path().join("copy")).unwrap();
    drop(algo);
    assert!(read(&ParquetData::open(&output).unwrap()) == straight);
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(&saved, &device()).unwrap();
    algo.train().unwrap();
    drop(algo);
    assert_eq!(ParquetData::open(&output).unwrap().num_steps(), 3 * 96);
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(&saved, &device()).unwrap();
    (0..2).for_each(|_| drop(algo.train().unwrap()));
    drop(algo);
    assert!(read(&ParquetData::open(&output).unwrap()) == straight);

    let refused = config.build(&device()).unwrap_err().to_string();
    assert!(refused.contains("has recordings already"), "{refused}");
    // A run that recorded nothing does not take the files of another one for its own.
    let quiet = folder.path().join("quiet");
    ppo().build(&device()).unwrap().save_to_path(&quiet).unwrap();
    let adapt = |c: PpoConfig| c.env_runners(|e| e.output(&output));
    let refused = Algorithm::from_checkpoint_with::<PpoTraining>(&quiet, &device(), adapt);
    assert!(refused.unwrap_err().to_string().contains("has recordings already"));
    assert!(read(&ParquetData::open(&output).unwrap()) == straight);
    // Nor does a run that recorded elsewhere.
    let elsewhere = folder.path().join("elsewhere");
    let adapt = |c: PpoConfig| c.env_runners(|e| e.output(&elsewhere));
    let moved = Algorithm::from_checkpoint_with::<PpoTraining>(&saved, &device(), adapt).unwrap();
    let copy = folder.path().join("moved");
    { moved }.save_to_path(&copy).unwrap();
    let adapt = |c: PpoConfig| c.env_runners(|e| e.output(&output));
    let refused = Algorithm::from_checkpoint_with::<PpoTraining>(&copy, &device(), adapt);
    assert!(refused.unwrap_err().to_string().contains("has recordings already"));
    assert!(read(&ParquetData::open(&output).unwrap()) == straight);
}

#[test]
fn two_runs_do_not_record_into_one_directory() {
    let folder = tempfile::tempdir().unwrap();
    for format in [OutputFormat::Parquet, OutputFormat::Minari] {
        let output = folder.path().join(format!("{format:?}"));
        let config = ppo().env_runners(|e| e.output(&output).output_format(format));
        let mut first = config.build(&device()).unwrap();
        let refused = || config.build(&device()).unwrap_err().to_string();
        let message = refused();
        assert!(message.contains("another run records into"), "{message}");
        first.train().unwrap();
        drop(first);
        let message = refused();
        assert!(message.contains("has recordings already"), "{message}");
    }
}

#[test]
fn a_restored_run_goes_on_only_in_its_own_recording() {
    for (format, file) in [
        (OutputFormat::Parquet, "default_policy/0000-000000.parquet"),
        (OutputFormat::Minari, "data/0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (output, saved) = (folder.path().join("data"), folder.path().join("saved"));
        let config = ppo().env_runners(|e| e.output(&output).output_format(format));
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        algo.save_to_path(&saved).unwrap();
        drop(algo);
        let refused = |expected: &str| {
            let restored = Algorithm::from_checkpoint::<PpoTraining>(&saved, &device());
            let message = restored.unwrap().train().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        std::fs::rename(output.join(file), folder.path().join("moved")).unwrap();
        refused("the run recorded are missing in");
        std::fs::remove_dir_all(&output).unwrap();
        refused("does not have what the run recorded before");
        assert!(!output.exists());
        // The recording of another run stays as it is.
        config.build(&device()).unwrap().train().unwrap();
        assert!(output.join(file).exists());
        refused("does not have what the run recorded before");
        assert!(output.join(file).exists());
    }
}

#[test]
fn a_checkpoint_acts_without_the_data_that_it_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let (recorded, saved) = (folder.path().join("data"), folder.path().join("saved"));
    ppo().env_runners(|e| e.output(&recorded)).build(&device()).unwrap().train().unwrap();
    let config = BcConfig::new()
        .offline_data(|o| o.input_(&recorded).dataset_num_iters_per_learner(1))
        .evaluation(|e| e.evaluation_duration(1).evaluation_config(|c| c.env("CartPole-v1")))
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(32));
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let expected = algo.evaluate().unwrap();
    algo.save_to_path(&saved).unwrap();
    std::fs::remove_dir_all(&recorded).unwrap();

    let mut algo = Algorithm::from_checkpoint::<BcTraining>(&saved, &device()).unwrap();
    assert_eq!(algo.evaluate().unwrap().lengths.len(), expected.lengths.len());
    algo.policy_bundle().unwrap();
    let message = algo.train().unwrap_err().to_string();
    assert!(message.contains("needs its recorded data"), "{message}");
    assert!(message.contains("data` does not exist"), "{message}");
}

/// Episodes of a policy that is right with probability 0.75: the action is 1 where the observation is positive.
fn data() -> OfflineData {
    let mut rng = Generator::from_seed(0);
    let spaces = (Space::boxed(-1.0, 1.0, &[2]).unwrap(), Space::discrete(2).unwrap());
    let mut data = OfflineData::new(spaces.0, spaces.1);
    for _ in 0..200 {
        let steps = rng.integers(3, 9) as usize;
        let numbers: Vec<f32> =
            (0..2 * (steps + 1)).map(|_| rng.uniform(-1.0, 1.0) as f32).collect();
        let actions =
            numbers.chunks(2).take(steps).map(|x| i64::from((x[0] > 0.0) == (rng.random() < 0.75)));
        let actions: Vec<i64> = actions.collect();
        let rewards =
            numbers.chunks(2).zip(&actions).map(|(x, a)| f32::from((x[0] > 0.0) == (*a == 1)));
        let episode = Episode {
            rewards: rewards.collect(),
            observations: Buffer::from_f32(numbers.clone(), &[2]).unwrap(),
            actions: Buffer::from_i64(actions, &[]).unwrap(),
            end: rekindle::env_runner::SegmentEnd::Terminated,
        };
        data.push_episode(episode).unwrap();
    }
    data
}

/// The share of observations on which the greedy action is right.
fn accuracy(algo: &Algorithm) -> f64 {
    let mut rng = Generator::from_seed(9);
    let numbers: Vec<f32> = (0..400).map(|_| rng.uniform(-1.0, 1.0) as f32).collect();
    let observations = Buffer::from_f32(numbers.clone(), &[2]).unwrap();
    let mut policy = algo.policy_bundle().unwrap();
    let actions = policy.compute_actions(&observations, false).unwrap();
    let actions = actions.as_i64().unwrap().iter();
    let right = numbers.chunks(2).zip(actions).filter(|(x, a)| (x[0] > 0.0) == (**a == 1));
    right.count() as f64 / 200.0
}

fn trained<T: TrainingConfig>(config: AlgorithmConfig<T>, data: OfflineData) -> Algorithm {
    let config = config.model("fcnet_hiddens", vec![16]).offline_source(data).seed(0);
    let mut algo = config.build(&device()).unwrap();
    (0..2).for_each(|_| drop(algo.train().unwrap()));
    algo
}

#[test]
fn algorithms_learn_from_a_table_without_an_environment() {
    let bc = trained(BcConfig::new().training(|t| t.lr(1e-2).train_batch_size(64)), data());
    assert!(accuracy(&bc) > 0.9, "BC: {}", accuracy(&bc));
    let cql =
        CqlConfig::new().training(|t| t.actor_lr(1e-2).critic_lr(1e-2).bc_iters(0).gamma(0.0));
    let cql = trained(cql, data());
    assert!(accuracy(&cql) > 0.9, "CQL: {}", accuracy(&cql));
    let iql = IqlConfig::new().training(|t| t.actor_lr(1e-2).critic_lr(1e-2).beta(3.0).gamma(0.0));
    let iql = trained(iql, data());
    assert!(accuracy(&iql) > 0.9, "IQL: {}", accuracy(&iql));
    // DQN takes the plan, too.
    let dqn = DqnConfig::new().training(|t| t.lr(1e-2).gamma(0.0).train_batch_size(64));
    let dqn = trained(dqn.with_execution_plan(Offline::new(64)), data());
    assert!(accuracy(&dqn) > 0.9, "DQN: {}", accuracy(&dqn));
    assert_eq!(dqn.env_steps(), 2 * 100 * 64);
}

/// Data that are read ahead on another thread if they say that they are not in memory.
#[derive(Debug)]
struct Ahead {
    data: OfflineData,
    is_in_memory: bool,
}

impl OfflineSource for Ahead {
    fn module_spaces(&self) -> &BTreeMap<String, (Space, Space)> {
        self.data.module_spaces()
    }

    fn num_parts(&self) -> usize {
        self.data.num_parts()
    }

    fn steps_of(&self, part: usize) -> usize {
        self.data.steps_of(part)
    }

    fn read(&self, part: usize) -> rekindle::offline::Result<Recorded> {
        self.data.read(part)
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint()
    }

    fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }
}

#[test]
fn reading_ahead_changes_nothing_that_is_learned() {
    // The data do not fit into the shuffle buffer, so that parts are read in every pass.
    let weights = |is_in_memory| {
        let config = BcConfig::new()
            .offline_data(|o| o.buffer_steps(100).dataset_num_iters_per_learner(40))
            .offline_source(Ahead { data: data(), is_in_memory })
            .training(|t| t.train_batch_size(64))
            .model("fcnet_hiddens", vec![16])
            .seed(0);
        let mut algo = config.build(&device()).unwrap();
        (0..3).for_each(|_| drop(algo.train().unwrap()));
        algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()
    };
    assert!(weights(true) == weights(false));
}

#[test]
fn a_loss_of_recorded_data_learns_on_in_an_environment() {
    let plan = Replay::new(ReplayConfig::default().capacity(500), 16).learning_starts(32);
    let config = IqlConfig::new()
        .environment("Pendulum-v1")
        .with_execution_plan(plan)
        .training(|t| t.train_batch_size(16))
        .model("fcnet_hiddens", vec![8]);
    let mut algo = config.build(&device()).unwrap();
    let mut result = algo.train().unwrap();
    while algo.env_steps() < 64 {
        result = algo.train().unwrap();
    }
    assert!(result.get("learners/default_policy/critic_loss").unwrap().is_finite());
}

/// Steps with the spaces of CartPole, and with reward 7.
fn cartpole_data() -> OfflineData {
    let env = make("CartPole-v1").unwrap();
    let spaces = (env.observation_space().clone(), env.action_space().clone());
    let mut data = OfflineData::new(spaces.0, spaces.1);
    data.push_transitions(Transitions {
        observations: Buffer::from_f32(vec![0.0; 40], &[4]).unwrap(),
        actions: Buffer::from_i64(vec![1; 10], &[]).unwrap(),
        rewards: vec![7.0; 10],
        next_observations: Buffer::from_f32(vec![0.0; 40], &[4]).unwrap(),
        terminateds: vec![false; 10],
        truncateds: vec![true; 10],
    })
    .unwrap();
    data
}

#[test]
fn a_share_of_each_minibatch_comes_from_the_data() {
    let config = |plan: Replay| {
        IqlConfig::new()
            .environment("CartPole-v1")
            .offline_source(cartpole_data())
            .with_execution_plan(plan)
            .training(|t| t.train_batch_size(16).gamma(0.0))
            .model("fcnet_hiddens", vec![8])
    };
    let plan = |share: f64| {
        Replay::new(ReplayConfig::default().capacity(500), 16).learning_starts(32).data_share(share)
    };
    // Nothing follows a step, so that targets are rewards: 1 in the environment.
    for (share, expected) in [(0.25, 2.5), (0.5, 4.0), (1.0, 7.0)] {
        let mut algo = config(plan(share)).build(&device()).unwrap();
        let mut result = algo.train().unwrap();
        while algo.env_steps() < 40 {
            result = algo.train().unwrap();
        }
        let mean = result.get("learners/default_policy/qf_target_mean").unwrap();
        assert!((mean - expected).abs() < 1e-5, "{share}: {mean}");
    }
    let message = refused(&config(plan(1.5)));
    assert!(message.contains("`data_share` is 1.5"), "{message}");
    let prioritized = ReplayConfig::default().prioritized(PrioritizedConfig::default());
    let message = refused(&config(Replay::new(prioritized, 16).data_share(0.5)));
    assert!(message.contains("recorded data have no priorities"), "{message}");
    let dqn = DqnConfig::new()
        .environment("CartPole-v1")
        .offline_source(cartpole_data())
        .with_execution_plan(plan(0.5))
        .training(|t| t.train_batch_size(16));
    let message = refused(&dqn.model("use_lstm", true));
    assert!(message.contains("and module `default_policy` has memory"), "{message}");
    let message = refused(&config(plan(0.0)));
    assert!(message.contains("`offline_data.input_` is set by `.offline_source`"), "{message}");
}

#[test]
fn calibrated_cql_is_refused_where_episodes_go_on() {
    let plan = Replay::new(ReplayConfig::default().capacity(500), 16);
    let config = CqlConfig::new()
        .environment("Pendulum-v1")
        .with_execution_plan(plan)
        .training(|t| t.train_batch_size(16).num_actions(2));
    config.build(&device()).unwrap();
    let message = refused(&config.training(|t| t.calibrated(true)));
    assert!(message.contains("`execution_plan` is Replay"), "{message}");
    assert!(message.contains("set `calibrated` to false"), "{message}");
}

#[test]
fn estimates_of_the_policy_that_acted_are_the_returns_of_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("data");
    let config = ppo()
        .env_runners(|e| e.output(&output).batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.lr(0.0));
    let mut algo = config.build(&device()).unwrap();
    (0..4).for_each(|_| drop(algo.train().unwrap()));
    let module = algo.module(DEFAULT_MODULE_ID).unwrap().clone();
    drop(algo);
    let data = ParquetData::open(&output).unwrap();
    let parts = (0..data.num_parts()).flat_map(|part| data.read(part).unwrap().into_values());
    let returns = parts.flatten().map(|rollout| {
        rollout.rewards.iter().rev().fold(0.0, |after, reward| f64::from(*reward) + 0.9 * after)
    });
    let returns: Vec<f64> = returns.collect();
    let mean = returns.iter().sum::<f64>() / returns.len() as f64;
    let estimation = OffPolicyEstimation::default().gamma(0.9).methods([
        Estimator::ImportanceSampling,
        Estimator::WeightedImportanceSampling,
        Estimator::PerDecisionImportanceSampling,
        Estimator::PerDecisionWeightedImportanceSampling,
    ]);
    let found = estimation.estimate(&module, &data, DEFAULT_MODULE_ID).unwrap();
    assert_eq!(found.len(), 4);
    for (estimator, estimate) in found {
        assert!((estimate.value - mean).abs() < 1e-3 * mean, "{estimator:?}: {estimate:?} {mean}");
        assert!(estimate.low <= estimate.value && estimate.value <= estimate.high);
    }
    let refused = OffPolicyEstimation::default().methods([Estimator::DirectMethod]);
    let message = refused.estimate(&module, &data, DEFAULT_MODULE_ID).unwrap_err().to_string();
    assert!(message.contains("`dm` cannot estimate: it needs the values of actions"), "{message}");
    let message = OffPolicyEstimation::default()
        .estimate(&module, &self::data(), DEFAULT_MODULE_ID)
        .unwrap_err()
        .to_string();
    assert!(message.contains("the data have no column `action_logp`"), "{message}");
}

#[test]
fn values_of_critics_estimate_a_policy_of_data() {
    let algo = trained(
        CqlConfig::new().training(|t| {
            t.actor_lr(1e-2)
                .critic_lr(1e-2)
                .bc_iters(0)
                .gamma(0.0)
                .min_q_weight(0.0)
                .initial_alpha(0.1)
                .target_entropy(0.05)
        }),
        data(),
    );
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    let estimation = OffPolicyEstimation::default().gamma(0.0).methods([Estimator::DirectMethod]);
    let found = estimation.estimate(module, &data(), DEFAULT_MODULE_ID).unwrap();
    // The reward of a right action is 1, and the policy is more often right than that of the data.
    let value = found[&Estimator::DirectMethod].value;
    assert!((0.8..=1.1).contains(&value), "{value}");
}

fn refused<T: TrainingConfig>(config: &AlgorithmConfig<T>) -> String {
    config.build(&device()).unwrap_err().to_string()
}

#[test]
fn settings_that_do_not_fit_data_are_refused_by_name() {
    let message = refused(&BcConfig::new());
    assert!(message.contains("`offline_data.input_` is []"), "{message}");
    let message = refused(&BcConfig::new().offline_data(|o| o.input_("no/such/folder")));
    assert!(message.contains("no/such/folder` does not exist"), "{message}");
    let message = refused(&BcConfig::new().offline_source(data()).environment("CartPole-v1"));
    assert!(
        message.contains("the data of module `default_policy` have the observation space"),
        "{message}"
    );
    let with_interval =
        BcConfig::new().offline_source(data()).evaluation(|e| e.evaluation_interval(1));
    let message = refused(&with_interval);
    assert!(
        message.contains("`evaluation_interval` is 1")
            && message.contains("`evaluation_config.env`"),
        "{message}"
    );
    let mut algo = BcConfig::new().offline_source(data()).build(&device()).unwrap();
    let message = algo.evaluate().unwrap_err().to_string();
    assert!(message.contains("`evaluation_config.env` is not set"), "{message}");
    let spaces = || (Space::boxed(-1.0, 1.0, &[2]).unwrap(), Space::discrete(2).unwrap());
    let other = OfflineData::of_modules([("pilot", spaces())]);
    let message = refused(&BcConfig::new().offline_source(other).environment("CartPole-v1"));
    assert!(message.contains("module `pilot`"), "{message}");
    let mut empty = BcConfig::new().offline_source(OfflineData::of_modules([("a", spaces())]));
    empty = empty.seed(0);
    let message = empty.build(&device()).unwrap().train().unwrap_err().to_string();
    assert!(message.contains("the data have no episodes"), "{message}");
    let message =
        refused(&CqlConfig::new().offline_source(data()).training(|t| t.calibrated(true)));
    assert!(message.contains("`calibrated` bounds the values of sampled actions"), "{message}");
    let message = refused(&Td3BcConfig::new().offline_source(data()));
    assert!(message.contains("Discrete"), "{message}");
    let on_device = ppo().env_runners(|e| e.num_env_runners(1).on_device(true).output("data"));
    let message = refused(&on_device);
    assert!(message.contains("`env_runners.output` is data"), "{message}");
}

#[test]
fn a_settings_file_learns_from_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    data().save_parquet(&path).unwrap();
    let text = format!(
        "algorithm = \"BC\"\n[offline_data]\ninput_ = [{:?}]\ndataset_num_iters_per_learner = 5\n[model_config]\nfcnet_hiddens = [8]\n[training]\ntrain_batch_size = 32\n",
        path.display().to_string()
    );
    let experiment = Experiment::from_toml(&text).unwrap();
    let mut algo = experiment.build(&device()).unwrap();
    algo.train().unwrap();
    assert!(algo.env_steps() >= 5 * 32);
    // Checkpoints name the recordings.
    let saved = folder.path().join("saved");
    algo.save_to_path(&saved).unwrap();
    let mut restored = Algorithm::restore(&saved, &device()).unwrap();
    restored.train().unwrap();
    algo.train().unwrap();
    let weights = |algo: &Algorithm| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert!(weights(&algo) == weights(&restored));
    // Other recordings in their place are noticed.
    std::fs::remove_dir_all(&path).unwrap();
    let mut fewer = data();
    fewer
        .push_transitions(Transitions {
            observations: Buffer::from_f32(vec![0.0; 2], &[2]).unwrap(),
            actions: Buffer::from_i64(vec![0], &[]).unwrap(),
            rewards: vec![0.0],
            next_observations: Buffer::from_f32(vec![0.0; 2], &[2]).unwrap(),
            terminateds: vec![true],
            truncateds: vec![false],
        })
        .unwrap();
    fewer.save_parquet(&path).unwrap();
    let mut restored = Algorithm::restore(&saved, &device()).unwrap();
    let message = restored.train().unwrap_err().to_string();
    assert!(message.contains("the run began with other data"), "{message}");
}
