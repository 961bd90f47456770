//! A curriculum by a callback: a task that is too hard at first is learned step by step.

use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle::env::Result as EnvResult;
use rekindle::prelude::*;

/// A lock: in each of `length` places one of two actions leads on, the other one back to the start.
/// Only the end pays, and there are 20 steps.
struct Lock {
    spaces: [Space; 2],
    length: i64,
    place: i64,
}

const LONGEST: i64 = 18;
const KEY: [i64; LONGEST as usize] = [1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];

impl Lock {
    fn new(config: &EnvConfig) -> EnvResult<Self> {
        config.deny_unknown("Lock", &["length"])?;
        let spaces = [Space::discrete(KEY.len() + 1)?, Space::discrete(2)?];
        Ok(Self { spaces, length: config.get_i64("length")?.unwrap_or(LONGEST), place: 0 })
    }

    fn show(&self, mut observation: RowMut<'_>) -> EnvResult<()> {
        observation.write_discrete(self.place)
    }
}

impl Env for Lock {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }

    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> EnvResult<()> {
        self.place = 0;
        self.show(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> EnvResult<Step> {
        let fits = KEY.get(self.place as usize) == Some(&action.as_discrete()?);
        self.place = if fits { self.place + 1 } else { 0 };
        self.show(observation)?;
        let terminated = self.place == self.length;
        Ok(Step { reward: f64::from(u8::from(terminated)), terminated, truncated: false })
    }
}

/// Lengthens the lock whenever it is opened most of the time.
struct Curriculum;

impl Callbacks for Curriculum {
    fn on_train_result(&self, algorithm: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        let length = algorithm.env_config().get_i64("length")?.unwrap_or(LONGEST);
        result.insert("task", length as f64);
        let mastered = result.get("env_runners/episode_return_mean").is_some_and(|m| m > 0.8);
        if mastered && length < LONGEST {
            algorithm.set_env_config(&EnvConfig::new().with("length", length + 2))?;
            // Later results are about the new task.
            algorithm.metrics_logger().delete("env_runners/episode_return_mean")?;
        }
        Ok(())
    }
}

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("test/Lock-v0")
        .env_runners(|e| e.num_envs_per_env_runner(8).batch_mode(BatchMode::CompleteEpisodes))
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.lr(1e-2)
                .train_batch_size(320)
                .minibatch_size(80)
                .num_epochs(4)
                // An untrained critic draws the policy to states that it has not visited.
                .use_critic(false)
                .use_kl_loss(false)
        })
        .reporting(|r| r.metrics_num_episodes_for_smoothing(20))
        .seed(0)
}

/// Trains; the mean return on the hardest task.
fn train(config: &PpoConfig) -> (f64, Vec<f64>) {
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let mut tasks = Vec::new();
    while algo.env_steps() < 25_000 {
        tasks.extend(algo.train().unwrap().get("task"));
    }
    algo.set_env_config(&EnvConfig::new().with("length", LONGEST)).unwrap();
    tasks.dedup();
    (algo.evaluate().unwrap().mean_return(), tasks)
}

#[test]
fn a_curriculum_leads_where_training_alone_does_not_get() {
    register(EnvSpec::new("test/Lock-v0", Lock::new).with_max_episode_steps(20)).unwrap();
    let (alone, _) = train(&config());
    assert_eq!(alone, 0.0, "the task must be out of reach");
    let easy = EnvConfig::new().with("length", 2);
    let (led, tasks) = train(&config().env_config(easy).callbacks(Curriculum));
    assert_eq!(tasks, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]);
    assert_eq!(led, 1.0);
}

/// Environments of training and of evaluation are recreated together or not at all.
#[test]
fn settings_that_training_or_evaluation_refuses_change_nothing() {
    // The environments with the setting `x` that are made before one fails.
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    let make = |config: &EnvConfig| {
        let takes = |left: usize| left.checked_sub(1);
        let is_out = || LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_err();
        match config.get("x").is_some() && is_out() {
            true => Err(rekindle::env::EnvError::custom("no more")),
            false => Lock::new(&EnvConfig::new().with("length", 2)),
        }
    };
    register(EnvSpec::new("test/Few-v0", make).with_max_episode_steps(20)).unwrap();
    let config = config()
        .environment("test/Few-v0")
        .env_runners(|e| e.num_envs_per_env_runner(1))
        .evaluation(|e| e.evaluation_interval(1).evaluation_duration(2));
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    algo.train().unwrap();
    let settings = EnvConfig::new().with("x", 1);
    for made in [0, 1] {
        LEFT.store(made, Ordering::Relaxed);
        let before = algo.config().clone();
        let error = algo.set_env_config(&settings).unwrap_err().to_string();
        assert!(error.contains("no more"), "{error}");
        assert_eq!((algo.env_config(), algo.config()), (&EnvConfig::new(), &before));
        algo.train().unwrap();
        algo.evaluate().unwrap();
    }
    LEFT.store(100, Ordering::Relaxed);
    algo.set_env_config(&settings).unwrap();
    algo.train().unwrap();
}
