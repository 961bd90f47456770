//! The multi-agent runner as an [`EnvRunner`].

use std::collections::BTreeMap;
use std::time::Instant;

use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, EnvConfig, Space, make_multi_agent_vec_with};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use super::{MultiAgentConfig, MultiAgentEnvRunner};
use crate::env_runner::checks::of_env;
use crate::env_runner::{Amount, ConnectorDeltas, EnvRunner, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::policy_bundle::{BundleConfig, PolicyBundle};

impl EnvRunner for MultiAgentEnvRunner {
    fn index(&self) -> usize {
        self.base.index
    }

    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        let spaces = self.lanes.iter().map(|(id, lane)| {
            let observations = lane.env_to_module.output_space().clone();
            (id.clone(), (observations, lane.action_space.clone()))
        });
        spaces.collect()
    }

    fn set_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()> {
        self.set_lane_modules(modules, weights_seq_no)
    }

    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        Self::set_multi_agent(self, multi_agent)
    }

    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        let id = &self.base.config.env;
        let env =
            make_multi_agent_vec_with(id, self.base.num_envs(), env_config).map_err(of_env(id))?;
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
        self.env = env;
        self.base.config.env_config = env_config.clone();
        self.reset_episodes();
        self.base.envs_replaced();
        self.tell_environment_created()
    }

    fn reset_episodes(&mut self) {
        self.base.needs_reset = true;
        // No agent continues with a module that may be removed next.
        self.streams.fill_with(|| None);
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let started = Instant::now();
        let result = self.try_collect(amount, options);
        let experience = self.base.end_call(started, amount, result)?;
        self.base.tell_sample_end(&experience)?;
        Ok(experience)
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        let lane = self.lanes.get(module_id).ok_or_else(|| RunnerError::UnknownModule {
            module: module_id.into(),
            known: self.lanes.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let module = lane.module.as_ref().ok_or(RunnerError::NoModule)?;
        let spaces = [lane.env_to_module.input_space(), lane.module_to_env.output_space()];
        let config = BundleConfig::of_runner(&self.base.config, module_id, spaces[0], spaces[1]);
        let mut bundle = PolicyBundle::new(module.clone(), config, &self.base.device)?;
        bundle.set_connector_states([
            &lane.env_to_module.get_state()?,
            &lane.module_to_env.get_state()?,
        ])?;
        Ok(bundle)
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.base.metrics.take()
    }

    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas> {
        let lanes = self.lanes.iter_mut();
        lanes.map(|(id, lane)| Ok((id.clone(), lane.env_to_module.take_deltas()?))).collect()
    }

    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()> {
        self.lanes.iter_mut().try_for_each(|(id, lane)| {
            let of_module: Vec<_> =
                deltas.iter().filter_map(|runner| runner.get(id)).cloned().collect();
            lane.env_to_module.merge(&of_module)
        })
    }

    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        let lanes = self.lanes.iter();
        lanes.map(|(id, lane)| Ok((id.clone(), lane.env_to_module.get_state()?))).collect()
    }

    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        self.lanes.iter_mut().try_for_each(|(id, lane)| match states.get(id) {
            Some(state) => lane.env_to_module.set_state(state),
            None => Ok(()),
        })
    }
}
