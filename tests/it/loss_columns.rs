//! Columns that a loss may read besides the recorded ones: what follows each step, how the step ends, its
//! time, its info and its states.

use std::sync::{Arc, Mutex};

use burn::module::Module;
use rekindle::algorithms::{AlgorithmConfig, CustomTraining};
use rekindle::catalog::Mlp;
use rekindle::core::AnyTensor;
use rekindle::core::any_tensor::to_f32;
use rekindle::env::{EnvError, Info};
use rekindle::learner::LearnerError;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::device;

type EnvResult<T> = Result<T, EnvError>;

/// Shows `100 · episode + t`. Even episodes are terminated after 5 steps, odd ones truncated after 7.
/// Reports `t` with every step and `last` with the last one.
struct Clock {
    spaces: [Space; 2],
    episode: usize,
    t: usize,
}

impl Clock {
    fn new(observations: Space) -> Self {
        // The first reset begins episode 0.
        Self { spaces: [observations, Space::discrete(2).unwrap()], episode: usize::MAX, t: 0 }
    }

    fn shown(&self) -> f32 {
        (100 * self.episode + self.t) as f32
    }

    fn show(&self, mut observation: RowMut<'_>) -> EnvResult<()> {
        match &self.spaces[0] {
            Space::Dict(_) => {
                observation.get_mut("pair")?.index_mut(0)?.write_f32(&[self.shown()])?;
                observation.get_mut("pair")?.index_mut(1)?.write_discrete((self.t % 3) as i64)
            }
            _ => observation.write_f32(&[self.shown()]),
        }
    }

    fn ends(&self) -> [bool; 2] {
        let even = self.episode.is_multiple_of(2);
        [even && self.t == 5, !even && self.t == 7]
    }
}

impl Env for Clock {
    fn observation_space(&self) -> &Space {
        &self.spaces[0]
    }

    fn action_space(&self) -> &Space {
        &self.spaces[1]
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> EnvResult<()> {
        (self.episode, self.t) = (self.episode.wrapping_add(1), 0);
        self.show(observation)
    }

    fn step(&mut self, _: Row<'_>, observation: RowMut<'_>) -> EnvResult<Step> {
        self.t += 1;
        self.show(observation)?;
        let [terminated, truncated] = self.ends();
        Ok(Step { reward: 1.0, terminated, truncated })
    }

    fn info(&self) -> Info {
        let mut info = Info::from([("t".to_owned(), self.t as f64)]);
        if self.ends().contains(&true) {
            info.insert("last".into(), 1.0);
        }
        info
    }
}

/// `a` acts in every step and `b` in every other one. The environment reports its time, and for each agent
/// its number.
struct Clocks {
    agents: Vec<AgentSpec>,
    clock: Clock,
}

impl Clocks {
    fn show(&self, out: &mut MultiAgentStep) -> EnvResult<()> {
        let ends = self.clock.ends();
        for agent in 0..2 {
            if agent == 0 || self.clock.t.is_multiple_of(2) || ends.contains(&true) {
                out.observe(agent)?.write_f32(&[self.clock.shown()])?;
            }
            out.add_reward(agent, 1.0)?;
        }
        let [terminated, truncated] = ends;
        if terminated {
            out.terminate_all();
        }
        if truncated {
            out.truncate_all();
        }
        Ok(())
    }
}

impl MultiAgentEnv for Clocks {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> EnvResult<()> {
        (self.clock.episode, self.clock.t) = (self.clock.episode.wrapping_add(1), 0);
        self.show(out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> EnvResult<()> {
        self.clock.t += 1;
        self.show(out)
    }

    fn info(&self) -> Info {
        let mut info = self.clock.info();
        info.extend([("a.number".into(), 1.0), ("b.number".into(), 2.0)]);
        info
    }
}

fn number() -> Space {
    Space::unbounded(&[1]).unwrap()
}

fn nested() -> Space {
    let pair = Space::tuple([number(), Space::discrete(3).unwrap()]).unwrap();
    Space::dict([("pair", pair)]).unwrap()
}

/// A step as the loss reads it.
#[derive(Debug, Clone)]
struct Read {
    obs: Vec<f32>,
    next: Vec<f32>,
    terminated: bool,
    truncated: bool,
    t: i64,
    info_t: f32,
    info_last: f32,
    number: f32,
    /// Before and after the step; empty for a module without recurrent state.
    states: Vec<f32>,
}

impl Read {
    fn all(cx: &LossContext<'_>, batch: &Batch) -> Result<Vec<Self>, LearnerError> {
        let column = |name: &str| -> Result<Vec<f32>, LearnerError> {
            let column = match batch.column(name)? {
                Column::Nested(batch) => batch.nested("pair")?.column("0")?,
                column => column,
            };
            Ok(column.tensor()?.to_f32()?)
        };
        let (obs, next) = (column(Columns::OBS)?, column(Columns::NEXT_OBS)?);
        let (terminated, truncated) = (column(Columns::TERMINATEDS)?, column(Columns::TRUNCATEDS)?);
        let t = AnyTensor::from(batch.int::<1>(Columns::T)?).to_i64()?;
        let info = |name: &str| -> Result<_, LearnerError> { Ok(to_f32(cx.info(name)?)?) };
        let (info_t, info_last, number) = (info("t")?, info("last")?, info("number")?);
        let states = match batch.contains(Columns::STEP_STATE_IN) {
            true => [column(Columns::STEP_STATE_IN)?, column(Columns::STEP_STATE_OUT)?].to_vec(),
            false => Vec::new(),
        };
        let mask = cx.mask()?.map(to_f32).transpose()?.unwrap_or_else(|| vec![1.0; t.len()]);
        let width = obs.len() / t.len();
        let rows = (0..t.len()).filter(|&row| mask[row] > 0.0);
        let read = rows.map(|row| Self {
            obs: obs[row * width..(row + 1) * width].to_vec(),
            next: next[row * width..(row + 1) * width].to_vec(),
            terminated: terminated[row] == 1.0,
            truncated: truncated[row] == 1.0,
            t: t[row],
            info_t: info_t[row],
            info_last: info_last[row],
            number: number[row],
            states: states.iter().map(|column| column[row]).collect(),
        });
        Ok(read.collect())
    }

    /// Checks the step of an agent that acts after every `stride` steps of the environment.
    fn check(&self, stride: usize) {
        let shown = self.obs[self.obs.len() - 1] as usize;
        let (episode, t) = (shown / 100, shown % 100);
        let end = if episode % 2 == 0 { 5 } else { 7 };
        let next = (t + stride).min(end);
        assert_eq!(self.next[self.next.len() - 1], (100 * episode + next) as f32, "{self:?}");
        assert_eq!(self.terminated, episode % 2 == 0 && next == end, "{self:?}");
        assert_eq!(self.truncated, episode % 2 == 1 && next == end, "{self:?}");
        assert_eq!(self.t, (t / stride) as i64, "{self:?}");
        assert_eq!(self.info_t, next as f32, "{self:?}");
        match next == end {
            true => assert_eq!(self.info_last, 1.0, "{self:?}"),
            false => assert!(self.info_last.is_nan(), "{self:?}"),
        }
    }
}

type All = Arc<Mutex<Vec<(String, Read)>>>;

/// An algorithm whose loss reads all columns, and what it has read, with the id of the module.
fn reading(env: &str) -> (AlgorithmConfig<CustomTraining>, All) {
    let all = All::default();
    let of_loss = all.clone();
    let config = AlgorithmConfig::from_loss("Reads", move |cx, batch| {
        let read = Read::all(cx, batch)?.into_iter();
        of_loss.lock().unwrap().extend(read.map(|read| (cx.module_id.to_owned(), read)));
        cx.mean(cx.logp()?)
    });
    let config = config
        .environment(env)
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2).num_threads(1))
        .training(|t| t.train_batch_size(24))
        .seed(0);
    (config, all)
}

/// Trains for some fragments of 6 steps per environment, and returns what the loss read.
fn train(config: &AlgorithmConfig<CustomTraining>, all: &All) -> Vec<(String, Read)> {
    let mut algo = config.build(&device()).unwrap();
    // The dry run of the loss read drawn steps.
    all.lock().unwrap().clear();
    for _ in 0..4 {
        algo.train().unwrap();
    }
    std::mem::take(&mut *all.lock().unwrap())
}

fn ends(all: &[(String, Read)]) -> [usize; 2] {
    let count = |ends: fn(&Read) -> bool| all.iter().filter(|(_, read)| ends(read)).count();
    [count(|read| read.terminated), count(|read| read.truncated)]
}

#[test]
fn a_loss_reads_what_follows_each_step_over_the_ends_of_episodes_and_fragments() {
    register(EnvSpec::new("Clock-v0", |_: &EnvConfig| Ok(Clock::new(number())))).unwrap();
    register(EnvSpec::new("NestedClock-v0", |_: &EnvConfig| Ok(Clock::new(nested())))).unwrap();
    for env in ["Clock-v0", "NestedClock-v0"] {
        let (config, all) = reading(env);
        let read = train(&config, &all);
        assert_eq!(read.len(), 4 * 24);
        // In 24 steps an environment ends 4 episodes.
        assert_eq!(ends(&read), [8, 8]);
        read.iter().for_each(|(_, read)| read.check(1));
        assert!(read.iter().all(|(_, read)| read.number.is_nan() && read.states.is_empty()));
    }
}

#[test]
fn next_observations_are_those_that_the_module_would_have_seen() {
    register(EnvSpec::new("ClockStacked-v0", |_: &EnvConfig| Ok(Clock::new(number())))).unwrap();
    let (config, all) = reading("ClockStacked-v0");
    let config =
        config.env_runners(|e| e.env_to_module_connector(ConnectorConfig::frame_stacking(2)));
    let read = train(&config, &all);
    assert_eq!((read.len(), ends(&read)), (4 * 24, [8, 8]));
    for (_, read) in &read {
        read.check(1);
        // The frame before the last one, also in the final observation.
        assert_eq!(read.next[0], read.obs[1], "{read:?}");
    }
}

#[test]
fn agents_read_their_own_steps_and_infos() {
    let agents = ["a", "b"].map(|id| AgentSpec::new(id, number(), Space::discrete(2).unwrap()));
    let make =
        move |_: &EnvConfig| Ok(Clocks { agents: agents.to_vec(), clock: Clock::new(number()) });
    register_multi_agent(MultiAgentEnvSpec::new("Clocks-v0", make)).unwrap();
    let (config, all) = reading("Clocks-v0");
    let config =
        config.multi_agent(|m| m.policies(["a", "b"]).policy_mapping(PolicyMapping::ByAgent));
    let read = train(&config, &all);
    assert!(ends(&read)[0] >= 8 && ends(&read)[1] >= 8);
    for (id, read) in &read {
        let (stride, number) = if id == "a" { (1, 1.0) } else { (2, 2.0) };
        read.check(stride);
        assert_eq!(read.number, number, "{id}");
    }
    let of = |id: &str| read.iter().filter(|(of, _)| of == id).count();
    assert!(of("a") >= 90 && of("b") >= 40, "{} {}", of("a"), of("b"));
}

/// Counts the steps of an episode in its state.
#[derive(Module, Debug)]
struct Counts {
    policy: Mlp,
}

impl RLModule for Counts {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(1, &[], 2) })
    }

    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        Ok(Some(Buffer::from_f32(vec![0.0], &[1])?))
    }

    fn max_seq_len(&self) -> usize {
        4
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with(Columns::STATE_OUT, batch.float::<2>(Columns::STATE_IN)? + 1.0))
    }
}

#[test]
fn a_loss_reads_the_states_before_and_after_each_step_of_a_sequence() {
    register(EnvSpec::new("ClockCounted-v0", |_: &EnvConfig| Ok(Clock::new(number())))).unwrap();
    let (config, all) = reading("ClockCounted-v0");
    let config = config.rl_module(RLModuleSpec::of::<Counts>());
    let read = train(&config, &all);
    assert_eq!((read.len(), ends(&read)), (4 * 24, [8, 8]));
    for (_, read) in &read {
        read.check(1);
        assert_eq!(read.states, [read.t as f32, read.t as f32 + 1.0], "{read:?}");
    }
}

#[test]
fn a_postprocessing_function_reads_the_same_columns() {
    register(EnvSpec::new("ClockPosted-v0", |_: &EnvConfig| Ok(Clock::new(number())))).unwrap();
    let (config, all) = reading("ClockPosted-v0");
    let config = config.with_postprocess(|trajectory| {
        let next = trajectory.column(Columns::NEXT_OBS)?;
        trajectory.insert("copied", next.as_f32()?.to_vec())
    });
    let config = config.stats(|_, batch| {
        let next = batch.float::<2>(Columns::NEXT_OBS)?.reshape([-1]);
        Ok(vec![("difference", (next - batch.float::<1>("copied")?).abs().max())])
    });
    assert_eq!(train(&config, &all).len(), 4 * 24);
    let result = config.build(&device()).unwrap().train().unwrap();
    assert_eq!(result.get("learners/default_policy/difference"), Some(0.0));
}
