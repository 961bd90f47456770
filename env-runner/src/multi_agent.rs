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

use std::collections::BTreeMap;
use std::time::Instant;

use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Generator, ModuleId};
use rekindle_env::{
    AgentSpec, MultiAgentActions, MultiAgentVectorEnv, MultiAgentVectorStep,
    make_multi_agent_vec_with,
};
use rekindle_metrics::MetricsLogger;
use rekindle_rl_module::MultiRLModule;

use crate::callbacks::{EpisodeHook, counts};
use crate::restarts::{Failures, Restarts, restartable};
use crate::tracking::{EpisodeTracker, Timers, acting};
use crate::{Amount, EnvRunnerConfig, Experience, Result, RunnerError, SampleOptions};
use fragment::Fragment;
use hooks::Player;
use lane::Lane;
use stream::Stream;

pub use config::MultiAgentConfig;
pub use mapping::{EpisodeInfo, MappingFunction, PolicyMapping};

/// Steps a vector of multi-agent environments with several modules and records what happens.
///
/// Agents that act in the same step with the same module share one forward pass, whatever
/// environment they are in. A step of an agent lasts from one of its actions to its next
/// observation; what it is paid in between adds up. What is recorded of each module is a [`Rollout`]
/// whose segments are the agents' parts of episodes.
///
/// Deterministic: what it does depends on the configuration, its index and the weights it is given,
/// on nothing else.
///
/// [`Rollout`]: crate::Rollout
#[derive(Debug)]
pub struct MultiAgentEnvRunner {
    config: EnvRunnerConfig,
    multi_agent: MultiAgentConfig,
    index: usize,
    device: Device,
    env: Box<dyn MultiAgentVectorEnv>,
    agents: Vec<AgentSpec>,
    step: MultiAgentVectorStep,
    /// What the agents of each environment do next.
    actions: Vec<MultiAgentActions>,
    lanes: BTreeMap<ModuleId, Lane>,
    weights_seq_no: u64,
    /// The agents that play, by number: environment times the number of agents, plus agent.
    streams: Vec<Option<Stream>>,
    episodes: Vec<EpisodeTracker>,
    /// When the episodes began, by the clock.
    began: Vec<Instant>,
    /// What callbacks are told about the agents of the running episodes, by number.
    players: Vec<Option<Player>>,
    next_episode: u64,
    /// A stream of random numbers for each agent.
    action_rngs: Vec<Generator>,
    seeds: Generator,
    restarts: Restarts,
    needs_reset: bool,
    seeded: bool,
    metrics: MetricsLogger,
    timers: Timers,
}

impl MultiAgentEnvRunner {
    /// A runner with fresh environments; `index` keys its random streams, and forward passes run on
    /// `device`.
    ///
    /// # Errors
    /// If the environment is unknown, agents are mapped to modules that do not fit, or a connector
    /// cannot work on a space.
    pub fn new(config: EnvRunnerConfig, index: usize, device: &Device) -> Result<Self> {
        config.validate()?;
        let multi_agent = config.multi_agent.clone().unwrap_or_default();
        let env = make_multi_agent_vec_with(&config.env, config.num_envs, &config.env_config)?;
        let agents = env.possible_agents().to_vec();
        let lanes = multi_agent.spaces(&agents)?.into_iter().map(|(id, observations, actions)| {
            let lane = Lane::new(&id, &observations, &actions, &config)?;
            Ok((id, lane))
        });
        let streams = config.num_envs * agents.len();
        let rng = |agent| stream(config.seed, index as u64, agent as u64, Purpose::Action);
        let mut runner = Self {
            lanes: lanes.collect::<Result<_>>()?,
            multi_agent,
            index,
            device: device.clone(),
            step: MultiAgentVectorStep::new(&agents, config.num_envs),
            actions: vec![MultiAgentActions::new(&agents); config.num_envs],
            weights_seq_no: 0,
            streams: vec![None; streams],
            episodes: vec![EpisodeTracker::default(); config.num_envs],
            began: vec![Instant::now(); config.num_envs],
            players: vec![None; streams],
            next_episode: 0,
            action_rngs: (0..streams).map(rng).collect(),
            seeds: stream(config.seed, index as u64, 0, Purpose::EnvSeed),
            restarts: Restarts::new(config.seed, index, config.num_envs),
            needs_reset: true,
            seeded: false,
            metrics: MetricsLogger::new(),
            timers: Timers::default(),
            env,
            agents,
            config,
        };
        runner.tell_environment_created()?;
        Ok(runner)
    }

    /// The agents of an environment.
    pub fn agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    /// Changes which modules play and who plays with them. Agents keep their module until the end
    /// of the episode they are in.
    ///
    /// # Errors
    /// As [`MultiAgentEnvRunner::new`]; nothing changes then.
    pub fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        let mut lanes = BTreeMap::new();
        for (id, observations, actions) in multi_agent.spaces(&self.agents)? {
            let lane = Lane::new(&id, &observations, &actions, &self.config)?;
            lanes.insert(id, lane);
        }
        // What goes on keeps its connectors; what agents still play with stays.
        for (id, lane) in std::mem::take(&mut self.lanes) {
            let plays = self.streams.iter().flatten().any(|stream| stream.module == id);
            if plays || lanes.contains_key(&id) {
                lanes.insert(id, lane);
            }
        }
        self.lanes = lanes;
        self.multi_agent = multi_agent.clone();
        self.config.multi_agent = Some(multi_agent);
        Ok(())
    }

    fn set_lane_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()> {
        for (id, lane) in &mut self.lanes {
            lane.set_module(acting(modules.module(id)?, &self.device))?;
        }
        self.weights_seq_no = weights_seq_no;
        Ok(())
    }

    fn try_collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        self.timers = Timers::default();
        let whole_episodes = matches!(amount, Amount::Episodes(_));
        let resets = self.needs_reset || options.force_reset || whole_episodes;
        if resets {
            self.reset()?;
        }
        let n = self.config.num_envs;
        let (steps, mut quota) = amount.of_vector(n);
        let mut began = vec![resets; n];
        self.tell_starts(&quota, &mut began)?;
        let mut fragment = Fragment::default();
        let mut experience = Experience::default();
        let mut wanted = Vec::new();
        let (mut step, mut lost_steps) = (0, 0);
        while if whole_episodes { quota.iter().any(|&q| q > 0) } else { step < steps } {
            self.act(options)?;
            let failures = self.step_envs(&mut fragment)?;
            if self.config.callbacks.is_some() {
                self.tell_steps(&quota, &failures)?;
            }
            for (env, begins) in began.iter_mut().enumerate() {
                if !self.step.is_done(env) {
                    continue;
                }
                let episode = self.episodes[env];
                if counts(&quota, env) {
                    wanted.push(episode.id);
                    experience.episodes.push(episode.summary());
                    self.log_episode(env)?;
                    if let Some(left) = quota.get_mut(env) {
                        *left -= 1;
                    }
                    self.tell(EpisodeHook::End, env)?;
                }
                self.restarts.delivered(env);
                self.start_episode(env);
                *begins = true;
            }
            failures.iter().for_each(|(env, _)| began[env] = true);
            lost_steps += self.restart_envs(&failures, &mut fragment, step)?;
            self.tell_starts(&quota, &mut began)?;
            step += 1;
        }
        if whole_episodes {
            fragment.retain(|segment| wanted.contains(&segment.episode));
            experience.env_steps = experience.episodes.iter().map(|episode| episode.len).sum();
        } else {
            self.cut(&mut fragment)?;
            experience.env_steps = steps * n - lost_steps;
        }
        fragment.envs().for_each(|env| self.restarts.delivered(env));
        experience.rollouts = fragment.finish(&self.agents, self.weights_seq_no)?;
        self.log(&experience)?;
        Ok(experience)
    }

    fn reset(&mut self) -> Result<()> {
        let started = Instant::now();
        let seeds: Vec<_> = (0..self.config.num_envs)
            .map(|_| (!self.seeded).then(|| u64::from(self.seeds.next_u32())))
            .collect();
        let failures = match self.env.reset(&seeds, &mut self.step) {
            Ok(()) => Failures::default(),
            Err(error) => restartable(self.restarts_envs(), error)?,
        };
        self.seeded = true;
        for (env, failure) in failures.iter() {
            let reset = |seed| self.env.reset_one(env, Some(seed), &mut self.step);
            self.restarts.restart(env, failure, reset)?;
        }
        self.timers.reset += started.elapsed();
        (0..self.config.num_envs).for_each(|env| self.start_episode(env));
        self.needs_reset = false;
        Ok(())
    }

    fn restarts_envs(&self) -> bool {
        self.config.fault_tolerance.restart_failed_sub_environments
    }

    fn start_episode(&mut self, env: usize) {
        self.episodes[env] = EpisodeTracker::new(self.next_episode);
        self.began[env] = Instant::now();
        self.next_episode += 1;
        let agents = self.agents.len();
        self.streams[env * agents..(env + 1) * agents].fill_with(|| None);
        self.players[env * agents..(env + 1) * agents].fill_with(|| None);
    }

    fn unknown_policy(&self, agent: usize, module: &str) -> RunnerError {
        RunnerError::UnknownPolicy {
            agent: self.agents.get(agent).map(|agent| agent.id.clone()).unwrap_or_default(),
            module: module.into(),
            known: self.lanes.keys().cloned().collect::<Vec<_>>().join(", "),
        }
    }
}
