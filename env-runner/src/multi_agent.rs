//! The runner of multi-agent environments.

mod act;
mod config;
mod fragment;
mod hooks;
mod lane;
mod mapping;
mod runner;
mod state;
mod step;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, MultiAgentActions, MultiAgentVectorEnv, MultiAgentVectorStep};
use rekindle_kernels::eager;
use rekindle_rl_module::MultiRLModule;

use crate::callbacks::{EpisodeHook, VectorEnvRef, counts};
use crate::env_runner::acting::ActingModule;
use crate::env_runner::base::RunnerBase;
use crate::env_runner::checks::check_module;
use crate::env_runner::environments::make_multi_agent_vec;
use crate::env_runner::tracking::{Deadline, Timers, Watch};
use crate::env_runner::{Amount, EnvRunnerConfig, PublishedAt, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use fragment::Fragment;
use hooks::Player;
use lane::Lane;
use stream::Stream;

pub use config::MultiAgentConfig;
pub use mapping::{EpisodeInfo, MappingFunction, PolicyMapping};

/// Steps a vector of multi-agent environments with several modules and records what happens; RLlib's
/// `MultiAgentEnvRunner`.
///
/// Agents that act in the same step with the same module share one forward pass across
/// environments. A step of an agent lasts from one of its actions to its next observation; its
/// reward is the sum of the rewards in between. The steps of each module form a [`Rollout`], whose
/// segments are the agents' parts of episodes.
///
/// Deterministic: results depend only on the configuration, the index and the weights (and on the
/// clock, if a call has a [time limit](SampleOptions::time_limit)).
///
/// [`Rollout`]: crate::Rollout
#[derive(Debug)]
pub struct MultiAgentEnvRunner {
    base: RunnerBase,
    multi_agent: MultiAgentConfig,
    env: Box<dyn MultiAgentVectorEnv>,
    agents: Vec<AgentSpec>,
    step: MultiAgentVectorStep,
    /// The next actions of the agents of each environment.
    actions: Vec<MultiAgentActions>,
    lanes: BTreeMap<ModuleId, Lane>,
    weights_seq_no: u64,
    /// The agents that act, by number: environment times the number of agents, plus agent.
    streams: Vec<Option<Stream>>,
    /// The agents that acted in the running episodes, by number.
    players: Vec<Option<Player>>,
}

/// The counts of the current call.
#[derive(Debug, Default)]
struct Counters {
    /// Steps of the vector.
    vector_steps: usize,
    /// Steps of agents whose outcome is known.
    agent_steps: usize,
    /// Environment steps of episodes that were lost to a failure.
    lost_env_steps: usize,
    /// Steps of the vector since the last step of an agent.
    idle_steps: usize,
    /// Whether an episode ended since then in which nobody acted.
    idle_episode: bool,
}

impl Counters {
    /// Whether `wanted` steps of agents are collected in `n` environments. Where episodes end in which
    /// nobody acts, steps of the environments count, so that there is an end.
    fn have_agent_steps(&self, wanted: usize, n: usize) -> bool {
        let idle = if self.idle_episode { self.idle_steps * n } else { 0 };
        self.agent_steps + idle >= wanted
    }
}

impl MultiAgentEnvRunner {
    /// Creates a runner with fresh environments. `index` keys its random streams; forward passes run
    /// on `device`.
    ///
    /// # Errors
    /// If the environment is unknown or has a single agent ([`RunnerError::SingleAgent`]), a setting
    /// is invalid, agents are mapped to modules that do not fit, the mapping names an agent that the
    /// environment lacks ([`RunnerError::UnknownAgent`], not in evaluation), or a connector does not
    /// work on a space.
    pub fn new(config: EnvRunnerConfig, index: usize, device: &Device) -> Result<Self> {
        config.validate()?;
        let multi_agent = config.multi_agent.clone().unwrap_or_default();
        let env = make_multi_agent_vec(
            &config.env,
            config.num_envs,
            &config.env_config,
            config.video.as_ref(),
        )?;
        let agents = env.possible_agents().to_vec();
        check_agents(&multi_agent, &agents, &config)?;
        let slots = config.num_envs * agents.len();
        let mut runner = Self {
            lanes: lanes(&multi_agent, &agents, &config)?,
            multi_agent,
            step: MultiAgentVectorStep::new(&agents, config.num_envs),
            actions: vec![MultiAgentActions::new(&agents); config.num_envs],
            weights_seq_no: 0,
            streams: vec![None; slots],
            players: vec![None; slots],
            base: RunnerBase::new(config, index, device, agents.len()),
            env,
            agents,
        };
        runner.tell_environment_created()?;
        Ok(runner)
    }

    /// Returns the agents of an environment.
    #[must_use]
    pub fn agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    /// Changes which modules act and which agents they act for. Agents keep their module until the
    /// end of their running episode.
    ///
    /// # Errors
    /// As [`MultiAgentEnvRunner::new`], or [`RunnerError::OtherAgentSpaces`] if a module would act in
    /// other spaces than before. The runner is then unchanged.
    pub fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        let mut lanes = self.new_lanes(&multi_agent)?;
        // Modules that stay keep their connectors, as do those that agents still act with.
        for (id, mut lane) in std::mem::take(&mut self.lanes) {
            lane.retired = !lanes.contains_key(&id);
            let stays = match lanes.get(&id) {
                Some(new) => new.spaces() == lane.spaces(),
                None => self.acts(&id),
            };
            if stays {
                lanes.insert(id, lane);
            }
        }
        self.lanes = lanes;
        self.multi_agent = multi_agent.clone();
        self.base.config.multi_agent = Some(multi_agent);
        Ok(())
    }

    /// Creates the lanes of other policies, for a change to them.
    ///
    /// # Errors
    /// As [`set_multi_agent`](Self::set_multi_agent).
    fn new_lanes(&self, multi_agent: &MultiAgentConfig) -> Result<BTreeMap<ModuleId, Lane>> {
        check_agents(multi_agent, &self.agents, &self.base.config)?;
        let lanes = lanes(multi_agent, &self.agents, &self.base.config)?;
        for (id, lane) in &lanes {
            let Some(old) = self.lanes.get(id) else { continue };
            let is_used = old.module.is_some() || self.acts(id);
            if is_used && old.spaces() != lane.spaces() {
                let players = multi_agent.players(&self.agents)?;
                let of_module = players.into_iter().find(|(module, _)| module == id);
                let agents = of_module.map(|(_, agents)| agents).unwrap_or_default();
                return Err(other_spaces(id, &agents, old));
            }
        }
        Ok(lanes)
    }

    /// Whether agents act with a module in the running episodes.
    fn acts(&self, module: &str) -> bool {
        self.streams.iter().flatten().any(|stream| stream.module == module)
    }

    /// Drops the modules without a policy that no agent acts with any more.
    fn drop_retired(&mut self) {
        if self.lanes.values().any(|lane| lane.retired) {
            let streams = &self.streams;
            let acts = |id: &str| streams.iter().flatten().any(|stream| stream.module == id);
            self.lanes.retain(|id, lane| !lane.retired || acts(id));
        }
    }

    fn set_lane_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()> {
        // A module without a policy may have been removed elsewhere: its agents finish with the last one.
        let keeps = |id: &str, lane: &Lane| {
            lane.retired && lane.module.is_some() && modules.module(id).is_err()
        };
        for (id, lane) in self.lanes.iter().filter(|(id, lane)| !keeps(id, lane)) {
            let module = modules.module(id)?;
            let known = lane.module.as_ref().map(|acting| acting.module.spec());
            if !known.is_some_and(|spec| std::ptr::eq(spec, module.spec())) {
                let spaces = [lane.env_to_module.output_space(), &lane.action_space];
                check_module(&self.base.config.env, id, module, spaces)?;
            }
        }
        for (id, lane) in self.lanes.iter_mut().filter(|(id, lane)| !keeps(id, lane)) {
            let replaced =
                lane.set_module(ActingModule::new(modules.module(id)?, &self.base.device)?)?;
            let initial = lane.initial_state.as_ref();
            for stream in self.streams.iter_mut().flatten().filter(|s| s.module == *id) {
                if replaced || !stream.remembers(initial) {
                    stream.replace_module(initial);
                }
            }
        }
        self.weights_seq_no = at.weights_seq_no;
        self.base.exploration.set_env_steps(at.env_steps);
        Ok(())
    }

    fn try_collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let started = Instant::now();
        let _eager = eager::scope(self.base.config.eager);
        self.base.timers = Timers::default();
        let deadline = Deadline::of(options);
        let n = self.base.num_envs();
        let resets = self.base.begins_with_reset(amount, options);
        if resets {
            self.reset()?;
        }
        if self.agents.is_empty() && matches!(amount, Amount::AgentSteps(1..)) {
            return Err(RunnerError::NoAgents(self.base.config.env.clone()));
        }
        let mut quota = amount.quota(n);
        let mut began = vec![resets; n];
        self.tell_starts(&quota, &mut began)?;
        let mut fragment = Fragment::default();
        let mut experience = Experience::default();
        let mut wanted = BTreeSet::new();
        let mut counters = Counters::default();
        let mut watch = Watch::new();
        while match amount {
            Amount::Timesteps(steps) => counters.vector_steps < steps.div_ceil(n),
            Amount::AgentSteps(steps) => !counters.have_agent_steps(steps, n),
            Amount::Episodes(_) => quota.iter().any(|&q| q > 0),
        } {
            if deadline.has_passed() {
                experience.timed_out = true;
                break;
            }
            self.act(options, &quota, &mut fragment)?;
            counters.idle_steps += 1;
            let failures = self.step_envs(&quota, &mut fragment, &mut counters)?;
            self.tell_steps(&quota, &failures)?;
            for (env, begins) in began.iter_mut().enumerate() {
                if !self.step.is_done(env) {
                    continue;
                }
                if counts(&quota, env) {
                    wanted.insert(self.base.episodes[env].id);
                    experience.episodes.push(self.log_episode(env)?);
                    if let Some(left) = quota.get_mut(env) {
                        *left -= 1;
                    }
                    self.tell(EpisodeHook::End, env)?;
                }
                self.base.restarts.delivered(env);
                counters.idle_episode |= !self.has_players(env);
                self.start_episode(env);
                *begins = true;
            }
            failures.iter().for_each(|(env, _)| began[env] = true);
            self.restart_envs(&failures, &mut fragment, &mut counters)?;
            self.drop_retired();
            self.tell_starts(&quota, &mut began)?;
            counters.vector_steps += 1;
            if amount.is_episodes() {
                watch.step(&self.base.config.env, experience.episodes.len());
            }
        }
        if amount.is_episodes() {
            fragment.retain(|segment| wanted.contains(&segment.episode));
            experience.env_steps = experience.episodes.iter().map(|episode| episode.len).sum();
        } else {
            self.cut(&mut fragment)?;
            experience.env_steps = counters.vector_steps * n - counters.lost_env_steps;
        }
        fragment.envs().for_each(|env| self.base.restarts.delivered(env));
        self.log(experience.env_steps, &fragment)?;
        experience.rollouts = fragment.finish(&self.agents, self.weights_seq_no)?;
        let rollouts = experience.rollouts.values_mut().flatten();
        rollouts.for_each(|rollout| rollout.runner = self.base.index);
        self.base.metrics.log_time("sample", started.elapsed())?;
        self.base.tell_sample_end(&experience)?;
        Ok(experience)
    }

    /// Begins a new episode in every environment.
    fn reset(&mut self) -> Result<()> {
        let started = Instant::now();
        let seeds = self.base.reset_seeds();
        let failures = self.base.failures(self.env.reset(&seeds, &mut self.step))?;
        self.base.seeded = true;
        for (env, failure) in failures.iter() {
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.base.restarts.restart(&self.base.config.env, env, failure, reset)?;
        }
        self.base.timers.reset += started.elapsed();
        (0..self.base.num_envs()).for_each(|env| self.start_episode(env));
        self.drop_retired();
        self.base.began_all();
        Ok(())
    }

    fn start_episode(&mut self, env: usize) {
        self.base.start_episode(env);
        let slots = env * self.agents.len()..(env + 1) * self.agents.len();
        self.streams[slots.clone()].fill_with(|| None);
        self.players[slots].fill_with(|| None);
    }

    /// Whether an agent acted in the running episode of an environment.
    fn has_players(&self, env: usize) -> bool {
        let slots = env * self.agents.len()..(env + 1) * self.agents.len();
        self.players[slots].iter().any(Option::is_some)
    }

    fn tell_environment_created(&mut self) -> Result<()> {
        self.base.tell_environment_created(VectorEnvRef::MultiAgent(&*self.env))
    }

    fn unknown_policy(&self, agent: usize, module: &str) -> RunnerError {
        let agent = self.agents.get(agent).map(|agent| agent.id.clone()).unwrap_or_default();
        let module = module.to_string();
        if self.multi_agent.policies.contains(&module) {
            return RunnerError::ReservePolicy { agent, module };
        }
        let policies = self.lanes.iter().filter(|(_, lane)| !lane.retired);
        let known = policies.map(|(id, _)| id.clone()).collect::<Vec<_>>().join(", ");
        RunnerError::UnknownPolicy { agent, module, known }
    }
}

/// Creates a lane for every module that acts.
fn lanes(
    multi_agent: &MultiAgentConfig,
    agents: &[AgentSpec],
    config: &EnvRunnerConfig,
) -> Result<BTreeMap<ModuleId, Lane>> {
    let spaces = multi_agent.spaces(agents)?.into_iter();
    spaces
        .map(|(id, observations, actions)| {
            let lane = Lane::new(&id, &observations, &actions, agents, config)?;
            Ok((id, lane))
        })
        .collect()
}

/// Checks that a mapping names only agents of the environment. Evaluation may have fewer agents than
/// training, whose mapping it uses.
///
/// # Errors
/// [`RunnerError::UnknownAgent`].
fn check_agents(
    multi_agent: &MultiAgentConfig,
    agents: &[AgentSpec],
    config: &EnvRunnerConfig,
) -> Result<()> {
    let PolicyMapping::Table(table) = &multi_agent.policy_mapping else { return Ok(()) };
    let unknown = table.keys().find(|id| !agents.iter().any(|agent| agent.id == **id));
    match unknown.filter(|_| !config.in_evaluation) {
        None => Ok(()),
        Some(agent) => Err(RunnerError::UnknownAgent {
            env: config.env.clone(),
            agent: agent.clone(),
            known: names(agents),
        }),
    }
}

/// The error about agents that are mapped to the module of a lane for other spaces.
fn other_spaces(id: &str, agents: &[&AgentSpec], lane: &Lane) -> RunnerError {
    let [observations, actions] = lane.spaces();
    let found = agents.first().map(|agent| (&agent.observation_space, &agent.action_space));
    let (field, expected, found) = match found {
        Some((seen, _)) if seen != observations => ("observation space", observations, Some(seen)),
        found => ("action space", actions, found.map(|(_, done)| done)),
    };
    RunnerError::OtherAgentSpaces {
        module: id.into(),
        agents: names(agents.iter().copied()),
        field,
        expected: expected.to_string(),
        found: found.map_or_else(String::new, ToString::to_string),
    }
}

fn names<'a>(agents: impl IntoIterator<Item = &'a AgentSpec>) -> String {
    agents.into_iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>().join(", ")
}
