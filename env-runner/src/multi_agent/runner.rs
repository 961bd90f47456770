//! The multi-agent runner as an [`EnvRunner`].

use std::collections::BTreeMap;
use std::mem;

use rekindle_checkpoint::State;
use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use super::{Lane, MultiAgentConfig, MultiAgentEnvRunner};
use crate::connectors::{merge_deltas, set_states, states, take_deltas};
use crate::env_runner::checks::check_module;
use crate::env_runner::environments::make_multi_agent_vec;
use crate::env_runner::{
    Amount, ConnectorDeltas, EnvRunner, NewEpisodes, PublishedAt, SampleOptions,
};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::policy_bundle::{BundleConfig, PolicyBundle};

impl EnvRunner for MultiAgentEnvRunner {
    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        let spaces = self.lanes.iter().filter(|(_, lane)| !lane.retired).map(|(id, lane)| {
            let observations = lane.env_to_module.output_space().clone();
            (id.clone(), (observations, lane.action_space.clone()))
        });
        spaces.collect()
    }

    fn set_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()> {
        self.set_lane_modules(modules, at)
    }

    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        Self::set_multi_agent(self, multi_agent)
    }

    fn check_multi_agent(
        &self,
        multi_agent: &MultiAgentConfig,
        modules: &MultiRLModule,
    ) -> Result<()> {
        for (id, lane) in &self.new_lanes(multi_agent)? {
            let module = modules.module(id)?;
            let spaces = [lane.env_to_module.output_space(), &lane.action_space];
            check_module(&self.base.config.env, id, module, spaces)?;
            module.initial_state()?;
        }
        Ok(())
    }

    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        let id = &self.base.config.env;
        let env = make_multi_agent_vec(
            id,
            self.base.num_envs(),
            env_config,
            self.base.config.video.as_ref(),
        )?;
        if env.possible_agents() != self.agents {
            let text = |agents: &[AgentSpec]| {
                let agent = |a: &AgentSpec| {
                    format!("{} ({} to {})", a.id, a.observation_space, a.action_space)
                };
                agents.iter().map(agent).collect::<Vec<_>>().join(", ")
            };
            return Err(RunnerError::OtherSpaces {
                env: id.clone(),
                field: "agents",
                expected: text(&self.agents),
                found: text(env.possible_agents()),
            });
        }
        let old_env = mem::replace(&mut self.env, env);
        let old_config = mem::replace(&mut self.base.config.env_config, env_config.clone());
        if let Err(error) = self.tell_environment_created() {
            (self.env, self.base.config.env_config) = (old_env, old_config);
            return Err(error);
        }
        self.reset_episodes();
        self.base.envs_replaced();
        Ok(())
    }

    fn reset_episodes(&mut self) {
        self.base.needs_reset = true;
        // No agent continues with a module that may be removed next.
        self.streams.fill_with(|| None);
        self.drop_retired();
    }

    fn has_begun(&self) -> bool {
        self.base.has_begun
    }

    fn restore(&mut self, state: &State) -> Result<Option<NewEpisodes>> {
        self.restore_state(state)
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        self.base.begin_call(true);
        let experience = self.try_collect(amount, options);
        self.base.end_call(amount, experience)
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        let lane = self.lanes.get(module_id).ok_or_else(|| RunnerError::UnknownModule {
            module: module_id.into(),
            known: self.lanes.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let acting = lane.module.as_ref().ok_or(RunnerError::NoModule)?;
        let [observations, actions] = lane.spaces();
        let config = BundleConfig::of_runner(&self.base.config, module_id, observations, actions);
        let env_steps = self.base.exploration.env_steps();
        let bundle = PolicyBundle::new(acting.module.clone(), config, &self.base.device)?;
        let mut bundle = bundle.with_env_steps(env_steps);
        bundle.set_connector_states(&states(&lane.env_to_module, &lane.module_to_env)?)?;
        Ok(bundle)
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.base.take_metrics()
    }

    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas> {
        let lanes = self.lanes.iter_mut();
        let deltas = lanes.map(|(id, lane)| {
            let deltas = take_deltas(&mut lane.env_to_module, &mut lane.module_to_env)?;
            Ok((id.clone(), deltas))
        });
        deltas.collect()
    }

    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()> {
        self.lanes.iter_mut().try_for_each(|(id, lane)| {
            let of_module: Vec<_> =
                deltas.iter().filter_map(|runner| runner.get(id)).cloned().collect();
            merge_deltas(&mut lane.env_to_module, &mut lane.module_to_env, &of_module)
        })
    }

    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        let lanes = self.lanes.iter();
        let states = |lane: &Lane| states(&lane.env_to_module, &lane.module_to_env);
        lanes.map(|(id, lane)| Ok((id.clone(), states(lane)?))).collect()
    }

    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        self.lanes.iter_mut().try_for_each(|(id, lane)| match states.get(id) {
            Some(state) => set_states(&mut lane.env_to_module, &mut lane.module_to_env, state),
            None => Ok(()),
        })
    }
}
