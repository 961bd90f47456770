//! One module with its connectors while it acts for several agents at once.

use rekindle_core::Generator;
use rekindle_env::{AgentSpec, Buffer, Row, Space};
use rekindle_rl_module::ExplorationContext;

use super::stream::Stream;
use crate::connectors::{
    ActionSampler, ConnectorContext, ConnectorPipeline, LastStep, RewardContext, Slots,
    connect_actions, pipelines,
};
use crate::env_runner::acting::ActingModule;
use crate::env_runner::checks::InvalidAction;
use crate::env_runner::memory::same_layout;
use crate::env_runner::{EnvRunnerConfig, SampleOptions};
use crate::error::{Result, RunnerError};

/// Connectors, module and buffers of one module id.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) env_to_module: ConnectorPipeline,
    pub(super) module_to_env: ConnectorPipeline,
    /// The space of the actions as the module samples them.
    pub(super) action_space: Space,
    pub(super) module: Option<ActingModule>,
    /// The state of a stateful module before the first step.
    pub(super) initial_state: Option<Buffer>,
    /// Whether no policy has this id any more: agents act with it until their running episodes end.
    pub(super) retired: bool,
    /// Which agents have the spaces that the lane acts in.
    pub(super) fits: Vec<bool>,
    sampler: ActionSampler,
    /// The numbers of the agents that act now, one row each.
    pub(super) rows: Vec<usize>,
    /// Their observations as the environment reports them.
    observations: Buffer,
    /// Their observations after the connectors; unused if there are none.
    seen: Buffer,
    last_actions: Buffer,
    last_rewards: Vec<f64>,
    starts: Vec<bool>,
}

impl Lane {
    pub(super) fn new(
        id: &str,
        observation_space: &Space,
        action_space: &Space,
        agents: &[AgentSpec],
        config: &EnvRunnerConfig,
    ) -> Result<Self> {
        let (normalize, clip) = (config.normalize_actions, config.clip_actions);
        let (env_to_module, module_to_env) = pipelines(
            id,
            observation_space,
            action_space,
            [&config.env_to_module, &config.module_to_env],
            normalize,
            clip,
        )?;
        let module_actions = module_to_env.input_space();
        Ok(Self {
            sampler: ActionSampler::new(&module_to_env, 0),
            action_space: module_actions.clone(),
            module: None,
            initial_state: None,
            retired: false,
            fits: agents
                .iter()
                .map(|agent| {
                    agent.observation_space == *observation_space
                        && agent.action_space == *action_space
                })
                .collect(),
            rows: Vec::new(),
            observations: Buffer::zeros(observation_space, 0),
            seen: Buffer::zeros(env_to_module.output_space(), 0),
            last_actions: Buffer::zeros(module_actions, 0),
            last_rewards: Vec::new(),
            starts: Vec::new(),
            env_to_module,
            module_to_env,
        })
    }

    /// The spaces of its agents: their observations and their actions.
    pub(super) fn spaces(&self) -> [&Space; 2] {
        [self.env_to_module.input_space(), self.module_to_env.output_space()]
    }

    /// Sets the module. Returns whether it differs from the previous one in more than its weights.
    pub(super) fn set_module(&mut self, acting: ActingModule) -> Result<bool> {
        let module = &acting.module;
        let initial = module.initial_state()?;
        let same_states = match (&self.initial_state, &initial) {
            (Some(before), Some(now)) => same_layout(before, now),
            (None, None) => true,
            _ => false,
        };
        let replaced = self.module.as_ref().is_some_and(|before| {
            let specs = (before.module.spec(), module.spec());
            !same_states || !(std::ptr::eq(specs.0, specs.1) || specs.0 == specs.1)
        });
        self.initial_state = initial;
        self.module = Some(acting);
        Ok(replaced)
    }

    /// Forgets which agents act.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.observations.clear();
        self.last_actions.clear();
        self.last_rewards.clear();
        self.starts.clear();
    }

    /// Adds an agent that acts now.
    pub(super) fn push(
        &mut self,
        slot: usize,
        observation: Row<'_>,
        stream: &Stream,
    ) -> Result<()> {
        self.rows.push(slot);
        self.observations.push(observation)?;
        self.last_actions.push(stream.last_action.row(0))?;
        self.last_rewards.push(stream.last_reward);
        self.starts.push(stream.starts);
        Ok(())
    }

    /// Passes the agents' observations through the connectors.
    pub(super) fn observe(&mut self, update: bool, slots: usize) -> Result<()> {
        let step = LastStep {
            actions: &self.last_actions,
            rewards: &self.last_rewards,
            starts: &self.starts,
            is_final: false,
            slots: Some(Slots { of_rows: &self.rows, count: slots }),
        };
        let cx = ConnectorContext { update, step: Some(step) };
        self.env_to_module.transform_into(&self.observations, &mut self.seen, cx)
    }

    /// Returns the agents' observations as the module sees them.
    pub(super) fn seen(&self) -> &Buffer {
        self.env_to_module.outputs_of(&self.observations, &self.seen)
    }

    /// Transforms the reward of one step of an agent. `starts`: whether the step is its first.
    pub(super) fn transform_reward(
        &mut self,
        reward: f64,
        starts: bool,
        update: bool,
        [slot, slots]: [usize; 2],
    ) -> Result<f64> {
        if !self.env_to_module.transforms_rewards() {
            return Ok(reward);
        }
        let mut rewards = [reward];
        let slots = Slots { of_rows: &[slot], count: slots };
        let cx = RewardContext { update, starts: &[starts], slots: Some(slots) };
        self.env_to_module.transform_rewards(&mut rewards, cx)?;
        let [reward] = rewards;
        Ok(reward)
    }

    /// Transforms an observation that its agent does not act on, as the module would see it.
    pub(super) fn peek(
        &mut self,
        slot: usize,
        slots: usize,
        observation: Row<'_>,
        stream: &Stream,
    ) -> Result<Buffer> {
        let mut row = self.observations.slice(0..0)?;
        row.push(observation)?;
        let (rewards, of_rows) = ([stream.last_reward], [slot]);
        let step = LastStep {
            actions: &stream.last_action,
            rewards: &rewards,
            starts: &[stream.starts],
            is_final: true,
            slots: Some(Slots { of_rows: &of_rows, count: slots }),
        };
        let cx = ConnectorContext { update: false, step: Some(step) };
        Ok(self.env_to_module.transform(&row, cx)?.clone())
    }

    /// Chooses an action for every agent that acts. `states` are the states that a stateful
    /// module acts from, and those that it returns. There is one stream per row for the
    /// sampling of actions, and the context of an exploration pass. Returns the first invalid action.
    pub(super) fn act(
        &mut self,
        states: Option<(&Buffer, &mut Buffer)>,
        (rngs, exploration): (&mut [Generator], &mut ExplorationContext),
        options: SampleOptions,
    ) -> Result<Option<InvalidAction>> {
        let rows = self.seen().rows();
        self.sampler.actions.clear();
        self.sampler.actions.extend_zeros(rows);
        let random = options.random_actions;
        if random && states.is_none() {
            return self.act_at_random(rngs);
        }
        let Some(acting) = &mut self.module else { return Err(RunnerError::NoModule) };
        let seen = self.env_to_module.outputs_of(&self.observations, &self.seen);
        let exploration = (options.explore || random).then_some(exploration);
        let outputs = acting.forward(seen, states, exploration, &mut self.sampler)?;
        if random {
            return self.act_at_random(rngs);
        }
        let (rngs, space) = (options.explore.then_some(rngs), &self.action_space);
        let module = &acting.module;
        let invalid = self.sampler.sample_checked(module, outputs.as_ref(), rngs, space)?;
        if let Some(outputs) = outputs.filter(|_| options.explore && options.record) {
            self.sampler.keep_outputs(module, &outputs)?;
        }
        Ok(invalid)
    }

    fn act_at_random(&mut self, rngs: &mut [Generator]) -> Result<Option<InvalidAction>> {
        let seen = self.env_to_module.outputs_of(&self.observations, &self.seen);
        self.sampler.sample_uniform(&mut self.module_to_env, seen, rngs)?;
        Ok(InvalidAction::find(&self.action_space, &self.sampler.actions))
    }

    /// Returns the actions as they were sampled, with the outputs that losses need.
    pub(super) fn sampled(&self) -> &ActionSampler {
        &self.sampler
    }

    /// Returns the actions as the environment receives them, or the row of one that a connector made
    /// not finite, with its value. `update`: whether connectors learn from the actions.
    pub(super) fn actions_for_env(
        &mut self,
        options: SampleOptions,
        update: bool,
    ) -> Result<Result<&Buffer, (usize, f32)>> {
        if options.random_actions {
            return Ok(Ok(self.sampler.uniform()));
        }
        let invalid = connect_actions(&mut self.module_to_env, &self.sampler.actions, update)?;
        Ok(match invalid {
            Some(invalid) => Err(invalid),
            None => Ok(self.module_to_env.last_output(&self.sampler.actions)),
        })
    }
}
