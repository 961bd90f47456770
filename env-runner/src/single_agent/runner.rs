//! What the single-agent runner has in common with others: its module has the default id.

use std::collections::BTreeMap;

use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{EnvConfig, Space, make_vec_with};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use super::{EnvBox, SingleAgentEnvRunner};
use crate::{
    Amount, ConnectorDeltas, EnvRunner, Experience, MultiAgentConfig, PolicyBundle, Result,
    RunnerError, SampleOptions,
};

fn of_module<T>(value: T) -> BTreeMap<ModuleId, T> {
    BTreeMap::from([(DEFAULT_MODULE_ID.into(), value)])
}

impl EnvRunner for SingleAgentEnvRunner {
    fn index(&self) -> usize {
        self.index
    }

    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        of_module((self.observation_space().clone(), self.action_space().clone()))
    }

    fn set_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()> {
        self.set_module(modules.module(DEFAULT_MODULE_ID)?, weights_seq_no)
    }

    fn set_multi_agent(&mut self, _multi_agent: MultiAgentConfig) -> Result<()> {
        Err(RunnerError::SingleAgent(self.config.env.clone()))
    }

    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        let env = make_vec_with(&self.config.env, self.config.num_envs, env_config)?;
        for (field, expected, found) in [
            ("observation space", self.env.0.observation_space(), env.observation_space()),
            ("action space", self.env.0.action_space(), env.action_space()),
        ] {
            if expected != found {
                let (expected, found) = (expected.to_string(), found.to_string());
                let env = self.config.env.clone();
                return Err(RunnerError::OtherSpaces { env, field, expected, found });
            }
        }
        self.env = EnvBox(env);
        self.config.env_config = env_config.clone();
        // Environments that were never seeded: the next reset does it, on the stream of seeds.
        (self.needs_reset, self.seeded) = (true, false);
        self.tell_environment_created()
    }

    fn reset_episodes(&mut self) {
        self.needs_reset = true;
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let rollout = self.sample(amount, options)?;
        let env_steps = rollout.env_steps();
        let episodes = std::mem::take(&mut self.finished);
        // Nothing was asked for, or nothing is left of it after failures: there is no experience.
        let rollouts = if env_steps > 0 { vec![rollout] } else { Vec::new() };
        let experience = Experience { rollouts: of_module(rollouts), env_steps, episodes };
        self.tell_sample_end(&experience)?;
        Ok(experience)
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        if module_id != DEFAULT_MODULE_ID {
            return Err(RunnerError::NoModule);
        }
        self.policy_bundle()
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }

    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas> {
        Ok(of_module(self.env_to_module.take_deltas()?))
    }

    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()> {
        let all: Vec<_> = deltas.iter().flat_map(BTreeMap::values).cloned().collect();
        self.env_to_module.merge(&all)
    }

    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        Ok(of_module(self.env_to_module.get_state()?))
    }

    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        match states.get(DEFAULT_MODULE_ID) {
            Some(state) => self.env_to_module.set_state(state),
            None => Ok(()),
        }
    }
}
