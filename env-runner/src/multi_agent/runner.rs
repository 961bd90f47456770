//! What the multi-agent runner has in common with others.

use std::collections::BTreeMap;
use std::time::Instant;

use rekindle_core::ModuleId;
use rekindle_env::{AgentSpec, EnvConfig, Space, make_multi_agent_vec_with};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use super::MultiAgentEnvRunner;
use crate::{
    Amount, BundleConfig, ConnectorDeltas, EnvRunner, Experience, MultiAgentConfig, PolicyBundle,
    Result, RunnerError, SampleOptions,
};

impl EnvRunner for MultiAgentEnvRunner {
    fn index(&self) -> usize {
        self.index
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
        let env = make_multi_agent_vec_with(&self.config.env, self.config.num_envs, env_config)?;
        if env.possible_agents() != self.agents {
            let text = |agents: &[AgentSpec]| {
                let agent = |a: &AgentSpec| {
                    format!("{} ({} to {})", a.id, a.observation_space, a.action_space)
                };
                agents.iter().map(agent).collect::<Vec<_>>().join(", ")
            };
            return Err(RunnerError::OtherSpaces {
                env: self.config.env.clone(),
                field: "agents",
                expected: text(&self.agents),
                found: text(env.possible_agents()),
            });
        }
        self.env = env;
        self.config.env_config = env_config.clone();
        self.reset_episodes();
        // Environments that were never seeded: the next reset does it, on the stream of seeds.
        self.seeded = false;
        self.tell_environment_created()
    }

    fn reset_episodes(&mut self) {
        self.needs_reset = true;
        // No agent plays on with a module that may be gone.
        self.streams.fill_with(|| None);
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let started = Instant::now();
        let result = self.try_collect(amount, options);
        if result.is_err() || matches!(amount, Amount::Episodes(_)) {
            self.needs_reset = true;
        }
        let experience = result?;
        self.metrics.log_time("sample", started.elapsed())?;
        self.tell_sample_end(&experience)?;
        Ok(experience)
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        let lane = self.lanes.get(module_id).ok_or(RunnerError::NoModule)?;
        let module = lane.module.as_ref().ok_or(RunnerError::NoModule)?;
        let spaces = [lane.env_to_module.input_space(), lane.module_to_env.output_space()];
        let config = BundleConfig::of_runner(&self.config, module_id, spaces[0], spaces[1]);
        let mut bundle = PolicyBundle::new(module.clone(), config, &self.device)?;
        bundle.set_connector_states([
            &lane.env_to_module.get_state()?,
            &lane.module_to_env.get_state()?,
        ])?;
        Ok(bundle)
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
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
