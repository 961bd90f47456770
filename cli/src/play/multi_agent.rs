//! The policies of several agents in their environment.

use rekindle::env::render::Frame;
use rekindle::env::{Buffer, MultiAgentActions, MultiAgentEnv, MultiAgentStep, ResetOptions};
use rekindle::env_runner::{EpisodeInfo, PolicyBundle, PolicyMapping};

use super::Policies;
use super::game::{Game, Outcome, of_env};
use crate::error::Result;

pub(super) struct MultiAgentGame {
    policies: Policies,
    mapping: PolicyMapping,
    env: Box<dyn MultiAgentEnv>,
    step: MultiAgentStep,
    actions: MultiAgentActions,
    /// The agents by their index.
    players: Vec<Player>,
    /// Number of episodes that have begun.
    episodes: u64,
    seed: u64,
}

/// An agent in an episode.
struct Player {
    /// The policy in this episode; `None` before the agent first acts.
    policy: Option<PolicyBundle>,
    observation: Buffer,
    /// The rewards since the last action.
    reward: f64,
    /// The rewards of the episode.
    total: f64,
}

impl MultiAgentGame {
    pub(super) fn new(
        policies: Policies,
        mapping: PolicyMapping,
        env: Box<dyn MultiAgentEnv>,
        seed: u64,
    ) -> Self {
        let agents = env.possible_agents();
        let players = agents.iter().map(|agent| Player {
            policy: None,
            observation: Buffer::zeros(&agent.observation_space, 1),
            reward: 0.0,
            total: 0.0,
        });
        Self {
            players: players.collect(),
            step: MultiAgentStep::new(agents),
            actions: MultiAgentActions::new(agents),
            policies,
            mapping,
            env,
            episodes: 0,
            seed,
        }
    }

    /// Returns the policy of an agent that acts for the first time in the episode.
    fn policy_of(&self, agent: usize) -> Result<PolicyBundle> {
        let episode = EpisodeInfo::new(0, 0, self.episodes.saturating_sub(1));
        let module = self.mapping.module(&self.env.possible_agents()[agent].id, &episode)?;
        let mut policy = (self.policies)(&module)?;
        // Agents of one module draw different numbers, and so do the episodes of one agent.
        let stream = self.episodes.wrapping_mul(self.players.len() as u64) + agent as u64;
        policy.set_seed(self.seed.wrapping_add(stream));
        Ok(policy)
    }

    fn act(&mut self, agent: usize, explore: bool) -> Result<()> {
        if self.players[agent].policy.is_none() {
            self.players[agent].policy = Some(self.policy_of(agent)?);
        }
        let Player { policy: Some(policy), observation, reward, .. } = &mut self.players[agent]
        else {
            return Ok(());
        };
        if let Some(seen) = self.step.observation(agent) {
            observation.row_mut(0).copy_from(seen).map_err(of_env)?;
        }
        policy.set_rewards(&[std::mem::take(reward)]);
        let actions = policy.compute_actions(observation, explore)?;
        let mut action = self.actions.act(agent).map_err(of_env)?;
        action.copy_from(actions.row(0)).map_err(of_env)
    }
}

impl Game for MultiAgentGame {
    fn reset(&mut self, seed: Option<u64>) -> Result<()> {
        for player in &mut self.players {
            (player.policy, player.reward, player.total) = (None, 0.0, 0.0);
        }
        self.episodes += 1;
        let options = seed.map_or_else(ResetOptions::default, ResetOptions::seed);
        self.step.clear();
        self.env.reset(&options, &mut self.step).map_err(of_env)
    }

    fn step(&mut self, explore: bool) -> Result<Outcome> {
        self.actions.clear();
        let acting: Vec<usize> = self.step.agents_to_act().collect();
        acting.into_iter().try_for_each(|agent| self.act(agent, explore))?;
        self.step.clear();
        self.env.step(&self.actions, &mut self.step).map_err(of_env)?;
        let mut sum = 0.0;
        for (agent, player) in self.players.iter_mut().enumerate() {
            let reward = self.step.reward(agent);
            player.reward += reward;
            player.total += reward;
            sum += reward;
        }
        Ok(Outcome { reward: sum, is_over: self.step.is_done() })
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render().map_err(of_env)
    }

    fn details(&self) -> String {
        let agents = self.env.possible_agents().iter().zip(&self.players);
        let returns: Vec<_> =
            agents.map(|(agent, player)| format!("{} {:.2}", agent.id, player.total)).collect();
        format!(" ({})", returns.join(", "))
    }
}
