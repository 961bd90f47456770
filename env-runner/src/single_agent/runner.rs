//! The single-agent runner as an [`EnvRunner`]: its module has the default id.

use std::collections::BTreeMap;
use std::mem;

use rekindle_checkpoint::State;
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use super::{Collected, SingleAgentEnvRunner};
use crate::connectors::{merge_deltas, set_states, states, take_deltas};
use crate::env_runner::checks::check_same_spaces;
use crate::env_runner::environments::make_vec;
use crate::env_runner::{
    Amount, ConnectorDeltas, EnvRunner, NewEpisodes, PublishedAt, SampleOptions, of_default_module,
};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::multi_agent::MultiAgentConfig;
use crate::policy_bundle::PolicyBundle;

impl EnvRunner for SingleAgentEnvRunner {
    fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        of_default_module((self.observation_space().clone(), self.action_space().clone()))
    }

    fn set_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()> {
        self.set_module(modules.module(DEFAULT_MODULE_ID)?, at)
    }

    fn set_multi_agent(&mut self, _multi_agent: MultiAgentConfig) -> Result<()> {
        Err(RunnerError::SingleAgent(self.base.config.env.clone()))
    }

    fn check_multi_agent(&self, _: &MultiAgentConfig, _: &MultiRLModule) -> Result<()> {
        Err(RunnerError::SingleAgent(self.base.config.env.clone()))
    }

    fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        let id = &self.base.config.env;
        let env = make_vec(id, self.base.num_envs(), env_config, self.base.config.video.as_ref())?;
        let before = [self.env.observation_space(), self.env.action_space()];
        check_same_spaces(id, before, [env.observation_space(), env.action_space()])?;
        let old_env = mem::replace(&mut self.env, env);
        let old_config = mem::replace(&mut self.base.config.env_config, env_config.clone());
        if let Err(error) = self.tell_environment_created() {
            (self.env, self.base.config.env_config) = (old_env, old_config);
            return Err(error);
        }
        self.base.envs_replaced();
        Ok(())
    }

    fn reset_episodes(&mut self) {
        self.base.needs_reset = true;
    }

    fn has_begun(&self) -> bool {
        self.base.has_begun
    }

    fn restore(&mut self, state: &State) -> Result<Option<NewEpisodes>> {
        self.restore_state(state)
    }

    fn collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        self.base.begin_call(false);
        let experience = self.try_collect(amount, options);
        self.base.end_call(amount, experience)
    }

    fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        if module_id != DEFAULT_MODULE_ID {
            let (module, known) = (module_id.into(), DEFAULT_MODULE_ID.into());
            return Err(RunnerError::UnknownModule { module, known });
        }
        self.policy_bundle()
    }

    fn take_metrics(&mut self) -> MetricsState {
        self.base.take_metrics()
    }

    fn take_connector_deltas(&mut self) -> Result<ConnectorDeltas> {
        Ok(of_default_module(take_deltas(&mut self.env_to_module, &mut self.module_to_env)?))
    }

    fn merge_connector_deltas(&mut self, deltas: &[ConnectorDeltas]) -> Result<()> {
        let all: Vec<_> = deltas.iter().flat_map(BTreeMap::values).cloned().collect();
        merge_deltas(&mut self.env_to_module, &mut self.module_to_env, &all)
    }

    fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        Ok(of_default_module(states(&self.env_to_module, &self.module_to_env)?))
    }

    fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        match states.get(DEFAULT_MODULE_ID) {
            Some(state) => set_states(&mut self.env_to_module, &mut self.module_to_env, state),
            None => Ok(()),
        }
    }
}

impl SingleAgentEnvRunner {
    fn try_collect(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let collected = self.try_call(amount, options)?;
        let Collected { mut rollout, env_steps, episodes, timed_out } = collected;
        rollout.runner = self.base.index;
        // Nothing was requested or recorded, or failures left no steps.
        let rollouts = match rollout.segments.is_empty() {
            true => Vec::new(),
            false => vec![rollout],
        };
        let rollouts = of_default_module(rollouts);
        let experience =
            Experience { rollouts, env_steps, episodes, timed_out, ..Experience::default() };
        self.base.tell_sample_end(&experience)?;
        Ok(experience)
    }
}
