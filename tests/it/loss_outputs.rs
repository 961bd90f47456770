//! Outputs of exploration that a loss and a postprocessing function read, of several agents and environments. Every
//! number is a function of agent, environment, episode and time, so that rows of another step do not pass.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, AsyncGradients, Asynchronous, CustomTraining};
use rekindle::core::any_tensor::to_f32;
use rekindle::env::EnvError;
use rekindle::learner::LearnerError;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde_json::json;

use crate::support::device;

const AGENTS: [&str; 3] = ["a", "b", "c"];
const EPISODE: usize = 7;

/// Environments that were created so far.
static CREATED: AtomicUsize = AtomicUsize::new(0);

/// Shows each agent the number of its step. The second agent acts at every second time, and the third at every third.
/// The reward is the number that the agent saw before.
struct Numbered {
    agents: Vec<AgentSpec>,
    env: usize,
    episode: usize,
    t: usize,
    shown: [f32; 3],
}

impl Numbered {
    fn new() -> Self {
        let space = || Space::unbounded(&[1]).unwrap();
        let agent = |id| AgentSpec::new(id, space(), Space::discrete(2).unwrap());
        let env = CREATED.fetch_add(1, SeqCst);
        assert!(env < 100, "numbers are unique up to 100 environments with 40 episodes");
        Self { agents: AGENTS.map(agent).to_vec(), env, episode: 0, t: 0, shown: [0.0; 3] }
    }

    fn show(&mut self, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        let ends = self.t == EPISODE;
        for agent in 0..AGENTS.len() {
            if !ends && !self.t.is_multiple_of(agent + 1) {
                continue;
            }
            if self.t > 0 {
                out.add_reward(agent, f64::from(self.shown[agent]))?;
            }
            let number = ((agent * 100 + self.env) * 40 + self.episode) * 10 + self.t;
            self.shown[agent] = number as f32;
            out.observe(agent)?.write_f32(&[self.shown[agent]])?;
        }
        if ends {
            out.terminate_all();
        }
        Ok(())
    }
}

impl MultiAgentEnv for Numbered {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        (self.episode, self.t) = (self.episode + 1, 0);
        self.show(out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.t += 1;
        self.show(out)
    }
}

/// The agent and the time of a number.
fn agent_and_time(number: f32) -> (usize, usize) {
    (number as usize / 40_000, number as usize % 10)
}

/// The environment and the episode of a number.
fn episode_of(number: f32) -> usize {
    number as usize / 10 % 4000
}

/// Returns functions of the observation of several kinds and ranks, and the state that counts its steps.
#[derive(Module, Debug)]
struct Talks {
    policy: Mlp,
    #[module(skip)]
    remembers: bool,
}

impl RLModule for Talks {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let config: serde_json::Value = cx.model_config()?;
        let remembers = config["remembers"] == true;
        Ok(Self { policy: cx.mlp(1, &[4], 2), remembers })
    }

    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        let state = self.remembers.then(|| Buffer::from_f32(vec![0.0], &[1]));
        Ok(state.transpose()?)
    }

    fn max_seq_len(&self) -> usize {
        3
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let seen = batch.float::<2>(Columns::OBS)?;
        let (rows, device) = (seen.dims()[0], seen.device());
        let number = seen.clone().reshape([rows]);
        let factors = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0], &device).reshape([1, 2, 2]);
        let cube = seen.clone().reshape([rows, 1, 1]) * factors;
        let is_odd = |tensor: Tensor<1>| tensor.remainder_scalar(2.0).greater_elem(0.5);
        let flags = cube.clone() / 2.0;
        let inner = Batch::new()
            .with("flag", is_odd(number.clone()).bool_not())
            .with("cube", cube.clone().neg());
        let mut out = Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, self.policy.forward(seen * 1e-5))
            .with("flag", is_odd(number.clone()))
            .with("flags", flags.floor().remainder_scalar(2.0).greater_elem(0.5))
            .with("cube", cube)
            .with("deep", Batch::new().with("number", number.int()).with("inner", inner));
        if self.remembers {
            let state = batch.float::<2>(Columns::STATE_IN)?;
            let steps = rows / state.dims()[0];
            out.insert("steps", state.clone().repeat_dim(1, steps).reshape([rows]));
            out.insert(Columns::STATE_OUT, state + steps as f32);
        }
        Ok(out)
    }
}

/// A row as the loss reads it: the numbers of its columns.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    number: f32,
    reward: f32,
    flag: i64,
    flags: [i64; 4],
    cube: [f32; 4],
    deep_number: i64,
    deep_flag: i64,
    deep_cube: [f32; 4],
    /// What the postprocessing function made of the columns.
    copied: f32,
    /// Recorded by a module with memory.
    steps: Option<f32>,
}

impl Row {
    /// The row that belongs to an observation.
    fn of(number: f32, remembers: bool) -> Self {
        let [flag, deep_number] = [number as i64 % 2, number as i64];
        let cube = [1.0, 2.0, 3.0, 4.0].map(|factor| factor * number);
        let (agent, t) = agent_and_time(number);
        Self {
            number,
            reward: number,
            flag,
            flags: cube.map(|number| number as i64 / 2 % 2),
            cube,
            deep_number,
            deep_flag: 1 - flag,
            deep_cube: cube.map(|number| -number),
            copied: cube[1] + number - cube[3] + (1 - flag) as f32,
            steps: remembers.then_some((t / (agent + 1)) as f32),
        }
    }

    fn all(cx: &LossContext<'_>, batch: &Batch) -> Result<Vec<Self>, LearnerError> {
        let ints = |column: Tensor<1, Int>| rekindle::core::AnyTensor::from(column).to_i64();
        let floats =
            |name: &str| -> Result<_, LearnerError> { Ok(to_f32(batch.float::<1>(name)?)?) };
        let number = to_f32(batch.float::<2>(Columns::OBS)?)?;
        let rows = number.len();
        let deep = batch.nested("deep")?;
        let inner = deep.nested("inner")?;
        let (flag, reward, copied) =
            (ints(batch.int("flag")?)?, floats(Columns::REWARDS)?, floats("copied")?);
        let flags = ints(batch.int::<3>("flags")?.reshape([4 * rows]))?;
        let cube = to_f32(batch.float::<3>("cube")?)?;
        let (deep_number, deep_flag) = (ints(deep.int("number")?)?, ints(inner.int("flag")?)?);
        let deep_cube = to_f32(inner.float::<3>("cube")?)?;
        let steps = batch.contains("steps").then(|| floats("steps")).transpose()?;
        let mask = cx.mask()?.map(to_f32).transpose()?.unwrap_or_else(|| vec![1.0; rows]);
        let row = |row: usize| Self {
            number: number[row],
            reward: reward[row],
            flag: flag[row],
            flags: std::array::from_fn(|i| flags[4 * row + i]),
            cube: std::array::from_fn(|i| cube[4 * row + i]),
            deep_number: deep_number[row],
            deep_flag: deep_flag[row],
            deep_cube: std::array::from_fn(|i| deep_cube[4 * row + i]),
            copied: copied[row],
            steps: steps.as_ref().map(|steps| steps[row]),
        };
        Ok((0..rows).filter(|&row| mask[row] > 0.0).map(row).collect())
    }
}

/// Reads the same columns of a trajectory, and those of the other agents of the episode.
fn postprocess(trajectory: &mut rekindle::algorithms::Trajectory<'_>) -> Result<(), LearnerError> {
    let (cube, deep) = (trajectory.column("cube")?, trajectory.column("deep")?);
    let (cube, number) = (cube.as_f32()?, deep.get("number")?.as_i64()?);
    let (inner_cube, inner_flag) =
        (deep.get("inner")?.get("cube")?.as_f32()?, deep.get("inner")?.get("flag")?.as_i64()?);
    let copied = (0..trajectory.len())
        .map(|t| cube[4 * t + 1] + number[t] as f32 + inner_cube[4 * t + 3] + inner_flag[t] as f32);
    let copied = copied.collect();
    if let Some(agent) = trajectory.agent() {
        let own = AGENTS.iter().position(|id| *id == &**agent);
        assert!(number.iter().all(|number| Some(agent_and_time(*number as f32).0) == own));
        for other in trajectory.other_agents() {
            let cube = other.column("cube")?;
            let [of_other, of_own] = [cube.as_f32()?[0], number[0] as f32];
            assert_eq!(episode_of(of_other), episode_of(of_own));
            assert_ne!(agent_and_time(of_other).0, agent_and_time(of_own).0);
        }
    }
    trajectory.insert("copied", copied)
}

type All = Arc<Mutex<Vec<(String, Row)>>>;

/// An algorithm whose loss reads all columns, and what it has read, with the id of the module. The first two agents
/// have one module, and the third another one.
fn reading(remembers: bool) -> (AlgorithmConfig<CustomTraining>, All) {
    let all = All::default();
    let of_loss = all.clone();
    let config = AlgorithmConfig::from_loss("Reads", move |cx, batch| {
        let rows = Row::all(cx, batch)?.into_iter();
        of_loss.lock().unwrap().extend(rows.map(|row| (cx.module_id.to_owned(), row)));
        cx.mean(cx.logp()?)
    })
    .with_postprocess(postprocess)
    .environment("NumberedSteps-v0")
    .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
    .multi_agent(|m| {
        let mapping = [("a", "ab"), ("b", "ab"), ("c", "c")];
        let mapping = mapping.map(|(agent, module)| (agent.into(), module.into()));
        m.policies(["ab", "c"]).policy_mapping(PolicyMapping::Table(mapping.into()))
    })
    .rl_module(RLModuleSpec::of::<Talks>().model_config(json!({ "remembers": remembers })))
    .training(|t| t.train_batch_size(40).num_epochs(2))
    .seed(0);
    (config, all)
}

#[test]
fn a_loss_reads_the_nested_boolean_and_rank_3_outputs_of_several_agents_row_by_row() {
    register_multi_agent(MultiAgentEnvSpec::new("NumberedSteps-v0", |_: &EnvConfig| {
        Ok(Numbered::new())
    }))
    .unwrap();
    for remembers in [false, true] {
        let (config, all) = reading(remembers);
        let asynchronous = Asynchronous::new(40, 5).batches_per_step(2).deterministic(true);
        let gradients = AsyncGradients::new(5).updates_per_step(6).deterministic(true);
        let plans = [
            (config.clone(), 2),
            (config.clone().with_execution_plan(asynchronous), 2),
            (config.with_execution_plan(gradients), 1),
        ];
        for (config, epochs) in plans {
            let mut algo = config.build(&device()).unwrap();
            // The dry run of the loss read drawn steps.
            all.lock().unwrap().clear();
            for _ in 0..3 {
                algo.train().unwrap();
            }
            let mut times: BTreeMap<usize, usize> = BTreeMap::new();
            for (id, row) in std::mem::take(&mut *all.lock().unwrap()) {
                assert_eq!(row, Row::of(row.number, remembers));
                let agent = agent_and_time(row.number).0;
                assert_eq!(id, ["ab", "ab", "c"][agent]);
                *times.entry(row.number as usize).or_default() += 1;
            }
            assert!(times.values().all(|times| *times == epochs), "each step, in each epoch once");
            let of = |agent| times.keys().filter(|n| agent_and_time(**n as f32).0 == agent).count();
            let counts = [0, 1, 2].map(of);
            assert!(counts[0] >= 100 && counts[1] >= 50 && counts[2] >= 30, "{counts:?}");
        }
    }
}
