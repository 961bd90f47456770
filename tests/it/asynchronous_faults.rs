//! The free-running mode under faults: environments that crash, panic or hang, losses that fail or are
//! slow, and an algorithm that is dropped.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmError, AppoConfig, ImpalaConfig};
use rekindle::catalog::Mlp;
use rekindle::core::any_tensor::to_f32;
use rekindle::env::EnvError;
use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::device;

fn impala(env: &str) -> ImpalaConfig {
    ImpalaConfig::new()
        .environment(env)
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2).num_threads(2))
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(40).fragment_length(5))
        .seed(2)
}

/// The faults of an environment and its counter, shared by all copies.
#[derive(Debug, Default)]
struct Switches {
    /// The number of steps, counted over all copies, at which one copy hangs until `open`; 0 for never.
    hang_at: u64,
    panic_at: u64,
    open: AtomicBool,
    steps: AtomicU64,
}

struct Switched {
    env: CartPole,
    switches: Arc<Switches>,
}

impl Env for Switched {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, out: RowMut<'_>) -> Result<(), EnvError> {
        self.env.reset(options, out)
    }

    fn step(&mut self, action: Row<'_>, out: RowMut<'_>) -> Result<Step, EnvError> {
        let step = self.switches.steps.fetch_add(1, SeqCst) + 1;
        let started = Instant::now();
        while step == self.switches.hang_at
            && !self.switches.open.load(SeqCst)
            && started.elapsed() < Duration::from_secs(60)
        {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(step != self.switches.panic_at, "told to panic");
        self.env.step(action, out)
    }
}

fn switched(id: &str, switches: &Arc<Switches>) {
    let switches = Arc::clone(switches);
    let make = move |config: &EnvConfig| {
        Ok(Switched { env: CartPole::new(config)?, switches: Arc::clone(&switches) })
    };
    register(EnvSpec::new(id, make).with_max_episode_steps(500)).unwrap();
}

fn get(result: &Metrics, key: &str) -> f64 {
    result.get(key).unwrap_or_else(|| panic!("{key} is missing: {result}"))
}

/// Trains, and asserts that all steps are counted and that the learner works.
fn trains(algo: &mut Algorithm) -> Metrics {
    let before = algo.env_steps();
    let result = algo.train().unwrap();
    assert!(algo.env_steps() >= before + 320, "{} after {before}", algo.env_steps());
    assert!(get(&result, "learners/default_policy/policy_loss").is_finite());
    let sampled = get(&result, "env_runners/num_env_steps_sampled_lifetime");
    assert_eq!(sampled, algo.env_steps() as f64);
    result
}

#[test]
fn crashing_environments_are_replaced_and_training_goes_on() {
    let config = impala("CrashingCartPole-v1")
        .env_config(EnvConfig::new().with("p_crash", 0.005).with("p_crash_reset", 0.05));
    let mut algo = config.build(&device()).unwrap();
    let results: Vec<_> = (0..5).map(|_| trains(&mut algo)).collect();
    let restarts = get(&results[4], "fault_tolerance/num_remote_worker_restarts");
    assert!(restarts > 1.0, "{restarts}");
    // Restarting environments alone keeps the runners.
    let config = config.fault_tolerance(|f| f.restart_failed_sub_environments(true));
    let mut algo = config.build(&device()).unwrap();
    let results: Vec<_> = (0..5).map(|_| trains(&mut algo)).collect();
    assert_eq!(get(&results[4], "fault_tolerance/num_remote_worker_restarts"), 0.0);
    assert!(get(&results[4], "env_runners/num_env_restarts_lifetime") > 1.0);
}

#[test]
fn without_any_tolerance_training_ends_with_the_error_and_can_be_resumed() {
    let config = impala("CrashingCartPole-v1")
        .env_config(EnvConfig::new().with("p_crash", 0.005))
        .fault_tolerance(|f| f.restart_failed_env_runners(false));
    let mut algo = config.build(&device()).unwrap();
    let error = (0..20).find_map(|_| algo.train().err()).unwrap().to_string();
    assert!(error.contains("a simulated crash"), "{error}");
    // Nothing is in flight: the state of all runners can be saved.
    let state = algo.get_state().unwrap();
    let runners = state.component("env_runners").unwrap();
    assert_eq!(runners.components.len(), 2, "{:?}", runners.data);
    assert!((0..20).any(|_| algo.train().is_ok()));
}

#[test]
fn a_panicking_environment_costs_one_restart() {
    let switches = Arc::new(Switches { panic_at: 100, ..Switches::default() });
    switched("Tests/PanicsOnce-v0", &switches);
    let mut algo = impala("Tests/PanicsOnce-v0").build(&device()).unwrap();
    for _ in 0..2 {
        let result = trains(&mut algo);
        assert_eq!(get(&result, "fault_tolerance/num_remote_worker_restarts"), 1.0);
    }
    let result = trains(&mut algo);
    assert_eq!(get(&result, "fault_tolerance/num_healthy_workers"), 2.0);
}

#[test]
fn a_hanging_environment_costs_one_restart_with_any_number_of_threads() {
    for threads in [1, 2] {
        let switches = Arc::new(Switches { hang_at: 100, ..Switches::default() });
        let id = format!("Tests/HangsOnce{threads}-v0");
        switched(&id, &switches);
        let config = impala(&id)
            .env_runners(|e| e.num_env_runners(3).num_threads(threads))
            .fault_tolerance(|f| f.sample_timeout_s(0.5));
        let mut algo = config.build(&device()).unwrap();
        for _ in 0..3 {
            let result = trains(&mut algo);
            let get = |key: &str| get(&result, &format!("fault_tolerance/{key}"));
            assert_eq!(get("num_env_runners_late_lifetime"), 1.0, "{threads} threads");
            assert_eq!(get("num_remote_worker_restarts"), 1.0, "{threads} threads");
        }
        let state = algo.get_state().unwrap();
        switches.open.store(true, SeqCst);
        trains(&mut algo);
        algo.set_state(&state).unwrap();
        trains(&mut algo);
    }
}

/// The switches of [`Moody`].
static FAILS: AtomicBool = AtomicBool::new(false);
static DELAY_MS: AtomicU64 = AtomicU64::new(0);
static TRAINED: AtomicUsize = AtomicUsize::new(0);

/// A policy whose training pass fails or is slow.
#[derive(Module, Debug)]
struct Moody {
    policy: Mlp,
    values: Mlp,
}

impl RLModule for Moody {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(4, &[8], 2), values: cx.mlp(4, &[8], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        if FAILS.load(SeqCst) {
            return Err(ModuleError::custom("told to fail"));
        }
        thread::sleep(Duration::from_millis(DELAY_MS.load(SeqCst)));
        let out = self.forward_exploration(batch, &mut ExplorationContext::default());
        let counts = to_f32(batch.float::<1>(Columns::LOSS_MASK)?)?;
        TRAINED.fetch_add(counts.iter().sum::<f32>() as usize, SeqCst);
        out
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Moody {
    fn compute_values(
        &self,
        batch: &Batch,
        _embeddings: Option<Tensor<2>>,
    ) -> ModuleResult<Tensor<1>> {
        Ok(self.values.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

/// One test, because the switches are shared.
#[test]
fn a_failing_loss_ends_the_step_and_a_slow_one_holds_the_runners_back() {
    let switches = Arc::new(Switches::default());
    switched("Tests/Counted-v0", &switches);
    let mut config = impala("Tests/Counted-v0");
    config.model_config = Default::default();
    let config =
        config.rl_module(RLModuleSpec::of::<Moody>()).training(|t| t.learner_queue_size(1));
    for deterministic in [false, true] {
        let config = config.clone().training(|t| t.deterministic(deterministic));
        let mut algo = config.build(&device()).unwrap();
        trains(&mut algo);
        let before = algo.env_steps();
        FAILS.store(true, SeqCst);
        let error = algo.train().unwrap_err().to_string();
        assert!(error.contains("told to fail"), "{error}");
        FAILS.store(false, SeqCst);
        assert!(algo.env_steps() > before, "the steps that were sampled count");
        let runners = algo.get_state().unwrap().component("env_runners").unwrap().clone();
        assert_eq!(runners.components.len(), 2, "all runners are idle");
        for _ in 0..2 {
            trains(&mut algo);
        }
    }

    let mut algo = config.build(&device()).unwrap();
    DELAY_MS.store(60, SeqCst);
    switches.steps.store(0, SeqCst);
    TRAINED.store(0, SeqCst);
    let mut most = 0;
    thread::scope(|scope| {
        let training = scope.spawn(|| trains(&mut algo));
        while !training.is_finished() {
            let trained = TRAINED.load(SeqCst) as u64;
            most = most.max(switches.steps.load(SeqCst).saturating_sub(trained));
            thread::sleep(Duration::from_millis(1));
        }
    });
    DELAY_MS.store(0, SeqCst);
    // One batch that is learned from, one in the queue and one before it, and a fragment of each runner.
    assert!((100..=3 * 40 + 2 * 10).contains(&most), "{most} steps were in flight");
}

/// The threads of this process that run environments or learn.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("env runner") || name.starts_with("learner")).count()
}

/// Waits until the system has removed the threads that have ended.
fn no_thread_is_left() {
    let started = Instant::now();
    while threads() > 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "a thread stays");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The part of the test below that needs a process of its own; does nothing in a plain test run.
#[test]
fn dropped_in_a_process_of_its_own() {
    if std::env::var_os("REKINDLE_ASYNCHRONOUS_DROP").is_none() {
        return;
    }
    let mut algo = impala("CartPole-v1").build(&device()).unwrap();
    trains(&mut algo);
    assert!(threads() > 0, "the runners have threads");
    let started = Instant::now();
    drop(algo);
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    no_thread_is_left();

    let config = AppoConfig::new().environment("CrashingCartPole-v1").seed(1);
    let config = config
        .env_config(EnvConfig::new().with("p_crash", 0.01))
        .env_runners(|e| e.num_env_runners(4).num_threads(4))
        .fault_tolerance(|f| f.restart_failed_env_runners(false))
        .model("fcnet_hiddens", vec![8]);
    let mut algo = config.build(&device()).unwrap();
    assert!((0..20).any(|_| algo.train().is_err()));
    let started = Instant::now();
    drop(algo);
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    no_thread_is_left();

    let switches = Arc::new(Switches { hang_at: 100, ..Switches::default() });
    switched("Tests/HangsWhileDropped-v0", &switches);
    let config = impala("Tests/HangsWhileDropped-v0").fault_tolerance(|f| f.sample_timeout_s(0.2));
    let mut algo = config.build(&device()).unwrap();
    trains(&mut algo);
    let started = Instant::now();
    drop(algo);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    switches.open.store(true, SeqCst);
    no_thread_is_left();
}

#[test]
fn dropping_an_algorithm_ends_within_a_second_and_leaves_no_thread() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "asynchronous_faults::dropped_in_a_process_of_its_own"])
        .env("REKINDLE_ASYNCHRONOUS_DROP", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The part of the test below that needs a process of its own; does nothing in a plain test run.
#[test]
fn trained_in_a_process_without_a_free_thread() {
    if std::env::var_os("REKINDLE_NO_THREAD").is_none() {
        return;
    }
    let refused = thread::Builder::new().spawn(|| ());
    assert!(refused.is_err(), "this process can start threads");
    for deterministic in [false, true] {
        let config = impala("CartPole-v1").training(|t| t.deterministic(deterministic));
        let mut algo = config.build(&device()).unwrap();
        let error = algo.train().unwrap_err();
        assert!(matches!(error, AlgorithmError::NoLearnerThread(_)), "{error}");
        let message = error.to_string();
        assert!(message.contains("or use a synchronous algorithm"), "{message}");
    }
    // A synchronous one collects, learns and evaluates on the thread that there is, with the same results.
    let mut algo = threaded_ppo().build(&device()).unwrap();
    println!("return {:?}", threaded_return(&mut algo));
}

fn threaded_ppo() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_threads(2))
        .evaluation(|e| e.evaluation_interval(1).evaluation_parallel_to_training(true))
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0)
}

fn threaded_return(algo: &mut Algorithm) -> [f64; 2] {
    algo.train().unwrap();
    let result = algo.train().unwrap();
    ["learners/default_policy/total_loss", "evaluation/env_runners/episode_return_mean"]
        .map(|key| get(&result, key))
}

#[test]
fn without_a_free_thread_asynchronous_algorithms_are_refused_and_synchronous_ones_work() {
    // The stack that every new thread asks for is larger than the address space.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "asynchronous_faults::trained_in_a_process_without_a_free_thread"])
        .args(["--test-threads", "1", "--nocapture"])
        .env("REKINDLE_NO_THREAD", "1")
        .env("RUST_MIN_STACK", (1u64 << 50).to_string())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    let mut algo = threaded_ppo().build(&device()).unwrap();
    let expected = format!("return {:?}", threaded_return(&mut algo));
    assert!(stdout.contains(&expected), "{expected}: {stdout}");
}
