//! Learners in several processes learn what one learner does.

use std::path::Path;
use std::time::Duration;

use burn::prelude::Device;
use rekindle::algorithms::{AlgorithmConfig, Replay, Synchronous, TrainingConfig};
use rekindle::checkpoint::State;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::learner::{Collective, Fault};
use rekindle::prelude::*;
use rekindle_mpi::engine::{Communicator, Followers, MpiCollective, World, follow};

use crate::job::{folder, in_processes};

/// A plan whose runners never see what is learned, so that the experience does not depend on rounding.
#[derive(Debug, Clone)]
struct Unseen<P> {
    plan: P,
    modules: Option<MultiRLModule>,
}

impl<P: ExecutionPlan> ExecutionPlan for Unseen<P> {
    fn name(&self) -> &str {
        "Unseen"
    }
    fn collects_batches(&self) -> bool {
        self.plan.collects_batches()
    }
    fn replays(&self) -> bool {
        self.plan.replays()
    }
    fn required_row_values(&self) -> &'static [&'static str] {
        self.plan.required_row_values()
    }
    fn training_step(
        &mut self,
        cx: &mut TrainingContext<'_>,
    ) -> rekindle::algorithms::Result<StepReport> {
        let modules =
            self.modules.get_or_insert_with(|| cx.learner.module().without_learner_only()).clone();
        let report = self.plan.training_step(cx)?;
        cx.env_runners.set_modules(&modules, PublishedAt::new(0, cx.env_steps()))?;
        Ok(report)
    }
    fn get_state(&self) -> rekindle::algorithms::Result<State> {
        self.plan.get_state()
    }
}

/// A collective that adds nothing up.
#[derive(Debug)]
struct Deaf(MpiCollective);

impl Collective for Deaf {
    fn rank(&self) -> usize {
        self.0.rank()
    }
    fn size(&self) -> usize {
        self.0.size()
    }
    fn all_reduce_sum(&mut self, _: &mut [f32]) -> Result<(), Fault> {
        Ok(())
    }
    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault> {
        self.0.broadcast(buffer, root)
    }
    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        self.0.agree_max(flag)
    }
    fn abort(&mut self, reason: &str) {
        self.0.abort(reason);
    }
    fn rebuild(&mut self) -> Result<(), Fault> {
        self.0.rebuild()
    }
}

/// Something that learns, and after how many iterations it is compared.
struct Case {
    name: &'static str,
    build: Box<dyn Fn() -> Algorithm>,
    compared_after: Vec<usize>,
    is_deaf: bool,
}

/// The iteration in which a plan of [`replay`] learns first.
const FIRST_REPLAY: usize = 10;

fn replay(prioritized: bool) -> Replay {
    let mut buffer = ReplayConfig::default().capacity(1000);
    if prioritized {
        buffer = buffer.prioritized(PrioritizedConfig::default());
    }
    Replay::new(buffer, 30).learning_starts(36).sample_timesteps(4).updates_per_env_step(0.25)
}

fn ppo() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| {
            t.train_batch_size(100).minibatch_size(100).num_epochs(1).lr(1e-3).entropy_coeff(0.01)
        })
        .seed(3)
}

fn case<T: TrainingConfig>(
    name: &'static str,
    config: AlgorithmConfig<T>,
    compared_after: &[usize],
) -> Case {
    let build = Box::new(move || config.build(&Device::flex()).unwrap());
    Case { name, build, compared_after: compared_after.to_vec(), is_deaf: false }
}

fn unseen<P>(plan: P) -> Unseen<P> {
    Unseen { plan, modules: None }
}

fn cases() -> Vec<Case> {
    let synchronous = || unseen(Synchronous::new(100));
    let dqn = DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| t.train_batch_size(30).lr(1e-3).target_network_update_freq(40))
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(4)
        .with_execution_plan(unseen(replay(true)));
    let sac = SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| t.train_batch_size(30))
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .seed(5)
        .with_execution_plan(unseen(replay(false)));
    // 2 rows, so that some of 4 learners have none, and gradients of a learner miss all parameters.
    let few_rows = ppo()
        .training(|t| t.train_batch_size(20).minibatch_size(2).num_epochs(2))
        .with_execution_plan(unseen(Synchronous::new(20)));
    // Sequences of one module, rows of the other: parameters of a module may get no gradient on a learner.
    let two_modules = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![8])
        .model("use_lstm", true)
        .model("lstm_cell_size", 4)
        .model("max_seq_len", 10)
        .training(|t| t.train_batch_size(60).minibatch_size(20).num_epochs(2))
        .seed(2)
        .with_execution_plan(unseen(Synchronous::new(60)));
    let mut deaf = case("deaf PPO", ppo().with_execution_plan(synchronous()), &[1]);
    deaf.is_deaf = true;
    let updates = |first: usize| [first, first + 99];
    vec![
        case("PPO", ppo().with_execution_plan(synchronous()), &updates(1)),
        case("DQN", dqn, &updates(FIRST_REPLAY)),
        case("SAC", sac, &updates(FIRST_REPLAY)),
        case("few rows", few_rows, &[1]),
        case("two modules with memory", two_modules, &[1]),
        deaf,
    ]
}

/// The floats of a state and its parts.
fn numbers(state: &State) -> Vec<f32> {
    let mut all = Vec::new();
    for array in state.tensors.values() {
        if let Ok(values) = array.as_slice::<f32>() {
            all.extend_from_slice(values);
        }
    }
    let parts = state.components.keys().chain(state.shards.keys());
    parts.for_each(|name| all.extend(numbers(&state.part(name).unwrap())));
    all
}

fn weights(algorithm: &Algorithm) -> Vec<f32> {
    numbers(algorithm.learner().get_state().unwrap().component("rl_module").unwrap())
}

/// A checksum of everything that a learner knows: weights, moments, losses and random streams.
fn checksum(learner: &Learner) -> u32 {
    let state = learner.get_state().unwrap();
    let numbers = numbers(&state);
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(plain(&state));
    bytes.fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The plain parts of a state and its parts.
fn plain(state: &State) -> Vec<u8> {
    let mut all = state.data.to_string().into_bytes();
    let parts = state.components.keys().chain(state.shards.keys());
    parts.for_each(|name| all.extend(plain(&state.part(name).unwrap())));
    all
}

/// Whether all processes have the same number.
fn all_have(agreement: &mut MpiCollective, number: u32) -> bool {
    let largest = agreement.agree_max(number).unwrap();
    let smallest = !agreement.agree_max(!number).unwrap();
    largest == smallest
}

fn write(folder: &Path, case: &Case, step: usize, processes: usize, weights: &[f32]) {
    let bytes: Vec<u8> = weights.iter().flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(folder.join(format!("{}-{step}-{processes}", case.name)), bytes).unwrap();
}

fn read(folder: &Path, case: &Case, step: usize, processes: usize) -> Vec<f32> {
    let bytes = std::fs::read(folder.join(format!("{}-{step}-{processes}", case.name))).unwrap();
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Not a test by itself: a process of the tests below.
#[test]
fn learn_in_a_process() {
    let Some(folder) = folder() else { return };
    let world = World::initialize(Duration::from_secs(60)).unwrap();
    let communicator = world.communicator();
    for case in cases() {
        learn(communicator, &case, &folder);
    }
    world.finalize().unwrap();
}

fn learn(communicator: &Communicator, case: &Case, folder: &Path) {
    let [control, sums, agreement] = [(); 3].map(|()| communicator.duplicate().unwrap());
    let (rank, processes) = (control.rank(), control.size());
    let mut agreement = MpiCollective::new(agreement);
    let sums = MpiCollective::new(sums);
    let sums: Box<dyn Collective> =
        if case.is_deaf { Box::new(Deaf(sums)) } else { Box::new(sums) };
    let steps = case.compared_after.iter().enumerate();
    let mut algorithm = (case.build)();
    if rank > 0 {
        // The message of the first learner replaces everything that differs.
        algorithm.join(sums).unwrap();
        for _ in steps {
            follow(&mut algorithm, &control, &mut agreement, || 0).unwrap();
            let same = all_have(&mut agreement, checksum(algorithm.learner()));
            assert_eq!(same, !case.is_deaf);
        }
        return;
    }
    let followers = Followers::new(control.clone());
    if processes > 1 {
        algorithm.lead(sums, Box::new(Followers::new(control))).unwrap();
        assert_eq!(algorithm.learner().num_learners(), processes);
    }
    let mut done = 0;
    for (index, &step) in steps {
        (done..step).for_each(|_| drop(algorithm.train().unwrap()));
        done = step;
        followers.end().unwrap();
        let same = all_have(&mut agreement, checksum(algorithm.learner()));
        assert_eq!(same, !case.is_deaf || processes == 1, "{} on {processes}", case.name);
        write(folder, case, index, processes, &weights(&algorithm));
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(!a.is_empty());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Weights after the first update differ by at most 1e-6 from those of one learner, and all learners have the same state,
/// bit for bit. Without adding gradients up, both fail.
#[test]
#[ignore = "needs MPI"]
fn ppo_dqn_and_sac_learn_in_1_2_3_and_4_processes_what_one_learner_does() {
    let folder = tempfile::tempdir().unwrap();
    for processes in [1, 2, 3, 4] {
        in_processes(processes, "equality::learn_in_a_process", folder.path()).end().ok();
    }
    for case in cases() {
        for step in 0..case.compared_after.len() {
            let of = |processes| read(folder.path(), &case, step, processes);
            let one = of(1);
            let largest = [2, 3, 4]
                .map(|processes| difference(&one, &of(processes)))
                .into_iter()
                .fold(0.0, f32::max);
            println!("{} after {} iterations: {largest:.1e}", case.name, case.compared_after[step]);
            match (case.is_deaf, step) {
                (true, _) => assert!(largest > 1e-4, "{largest}"),
                (false, 0) if case.compared_after.len() > 1 => assert!(largest <= 1e-6),
                (false, _) => assert!(largest <= 1e-2),
            }
        }
    }
}
