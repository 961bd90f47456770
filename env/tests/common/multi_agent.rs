//! A multi-agent environment with its slots.

use rekindle_env::{
    MultiAgentActions, MultiAgentEnv, MultiAgentStep, ResetOptions, Result, Space, SpaceSampler,
};

pub(crate) struct Table<E> {
    pub(crate) env: E,
    pub(crate) out: MultiAgentStep,
    pub(crate) actions: MultiAgentActions,
}

impl<E: MultiAgentEnv> Table<E> {
    pub(crate) fn new(env: E) -> Self {
        let agents = env.possible_agents();
        let (out, actions) = (MultiAgentStep::new(agents), MultiAgentActions::new(agents));
        Self { env, out, actions }
    }

    pub(crate) fn reset(&mut self, options: &ResetOptions) -> Result<()> {
        self.env.reset(options, &mut self.out)
    }

    /// Steps with discrete actions of some agents.
    pub(crate) fn step(&mut self, actions: &[(usize, i64)]) -> Result<()> {
        self.actions.clear();
        for &(agent, action) in actions {
            self.actions.act(agent)?.write_discrete(action)?;
        }
        self.env.step(&self.actions, &mut self.out)
    }

    /// Steps with a random action of every agent that must act.
    pub(crate) fn step_at_random(&mut self, samplers: &mut [SpaceSampler]) -> Result<()> {
        self.actions.clear();
        for agent in self.out.agents_to_act() {
            samplers[agent].sample_into(self.actions.act(agent)?)?;
        }
        self.env.step(&self.actions, &mut self.out)
    }

    pub(crate) fn samplers(&self, seed: u64) -> Vec<SpaceSampler> {
        let spaces = self.env.possible_agents().iter().map(|agent| &agent.action_space);
        let seeds = (0..).map(|agent| seed.wrapping_add(agent));
        spaces.zip(seeds).map(|(space, seed): (&Space, u64)| space.sampler(seed)).collect()
    }

    pub(crate) fn to_act(&self) -> Vec<usize> {
        self.out.agents_to_act().collect()
    }

    pub(crate) fn rewards(&self) -> Vec<f64> {
        (0..self.out.num_agents()).map(|agent| self.out.reward(agent)).collect()
    }

    pub(crate) fn terminated(&self) -> Vec<bool> {
        (0..self.out.num_agents()).map(|agent| self.out.terminated(agent)).collect()
    }

    pub(crate) fn truncated(&self) -> Vec<bool> {
        (0..self.out.num_agents()).map(|agent| self.out.truncated(agent)).collect()
    }
}
