//! Changing the modules of a running algorithm.

use std::collections::BTreeSet;

use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_env_runner::{MultiAgentConfig, PolicyMapping, RunnerError};
use rekindle_rl_module::{AnyRLModule, RLModuleSpec};
use serde_json::Map;

use super::Algorithm;
use crate::{AlgorithmError, MultiAgentSection, Result};

impl Algorithm {
    /// Replaces module `id` with one of any type or size.
    ///
    /// The new module starts with a fresh optimizer. The runners immediately act with it, and
    /// checkpoints record its spec.
    ///
    /// # Errors
    /// If there is no such module, the new one has other spaces ([`AlgorithmError::OtherSpace`]), or
    /// it does not fit the algorithm. The algorithm is then unchanged.
    pub fn replace_module(&mut self, id: &str, module: AnyRLModule) -> Result<()> {
        let (old, new) = (self.module(id)?.spec(), module.spec());
        for (field, expected, found) in [
            ("observation space", old.get_observation_space(), new.get_observation_space()),
            ("action space", old.get_action_space(), new.get_action_space()),
        ] {
            if expected != found {
                let text = |space| format!("{space:?}");
                let (expected, found) =
                    (expected.map_or_else(String::new, text), found.map_or_else(String::new, text));
                return Err(AlgorithmError::OtherSpace { id: id.into(), field, expected, found });
            }
        }
        let spec = new.clone();
        // Check the initial state before anything changes, because the runners need it.
        module.initial_state()?;
        self.learner.add_module(id, module, true)?;
        if self.config.multi_agent.is_some() {
            self.record_spec(id, Some(spec));
        } else {
            self.config.rl_module_spec = Some(spec);
            self.config.model_config = Map::new();
        }
        self.publish_weights()
    }

    /// Adds a module to a multi-agent algorithm during training; RLlib's `add_module`.
    ///
    /// `policy_mapping` applies to episodes that begin afterwards; `None` keeps the current
    /// mapping. The module learns, unless `policies_to_train` is given and leaves it out.
    ///
    /// # Errors
    /// If the id is taken, the algorithm has one agent, the module does not fit the algorithm or the
    /// spaces of its agents, or the mapping does not fit the modules. The algorithm is then unchanged.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        policy_mapping: Option<PolicyMapping>,
        policies_to_train: Option<BTreeSet<ModuleId>>,
    ) -> Result<()> {
        let spec = module.spec().built();
        let mut multi_agent = self.multi_agent()?;
        if !module.spec().is_learner_only() {
            multi_agent.policies.push(id.into());
        }
        if let Some(mapping) = policy_mapping {
            multi_agent.policy_mapping = mapping;
        }
        let trained_before = self.learner.policies_to_train().cloned();
        let learns = policies_to_train.as_ref().is_none_or(|ids| ids.contains(id));
        if !learns {
            // A module that does not learn needs no roles.
            self.learner.set_policies_to_train(policies_to_train.clone())?;
        }
        let mut changed = self.learner.add_module(id, module, false).map_err(Into::into);
        if changed.is_ok() {
            let before = self.multi_agent()?;
            changed = self.set_multi_agent(multi_agent).and_then(|()| {
                // Runners reject a module whose spaces differ from its agents' spaces.
                if let Err(error) = self.publish_weights() {
                    self.set_multi_agent(before)?;
                    return Err(error);
                }
                let ids = policies_to_train.filter(|_| learns);
                Ok(ids.map_or(Ok(()), |ids| self.learner.set_policies_to_train(Some(ids)))?)
            });
            if changed.is_err() {
                self.learner.remove_module(id)?;
            }
        }
        if let Err(error) = changed {
            self.learner.set_policies_to_train(trained_before)?;
            return Err(error);
        }
        self.record_spec(id, Some(spec));
        Ok(())
    }

    /// Removes a module from a multi-agent algorithm and returns it; RLlib's `remove_module`.
    ///
    /// All environments begin new episodes. In these, `policy_mapping` assigns other modules to the
    /// agents of the removed one; `None` keeps the current mapping.
    ///
    /// # Errors
    /// If there is no such module, or agents are still mapped to it. The algorithm is then unchanged,
    /// and episodes continue.
    pub fn remove_module(
        &mut self,
        id: &str,
        policy_mapping: Option<PolicyMapping>,
    ) -> Result<AnyRLModule> {
        self.module(id)?;
        let mut multi_agent = self.multi_agent()?;
        multi_agent.policies.retain(|policy| policy != id);
        if let Some(mapping) = policy_mapping {
            multi_agent.policy_mapping = mapping;
        }
        // The first call checks the mapping before episodes are dropped. Agents in mid-episode keep
        // the module until the second call.
        self.set_multi_agent(multi_agent.clone())?;
        self.env_runners.reset_episodes()?;
        self.env_runners.set_multi_agent(&multi_agent)?;
        let module = self.learner.remove_module(id)?;
        self.record_spec(id, None);
        self.forget_connectors_of(id);
        self.publish_weights()?;
        Ok(module)
    }

    /// Changes the mapping from agents to modules for episodes that begin afterwards.
    ///
    /// # Errors
    /// If the algorithm has one agent, or the mapping does not fit the modules: it names an agent or a
    /// module that does not exist, or a module would act in other spaces than it was built for. The
    /// algorithm is then unchanged.
    pub fn set_policy_mapping(&mut self, policy_mapping: PolicyMapping) -> Result<()> {
        let multi_agent = MultiAgentConfig { policy_mapping, ..self.multi_agent()? };
        self.set_multi_agent(multi_agent)?;
        self.publish_weights()
    }

    /// Sets the modules that learn; `None` for all.
    ///
    /// # Errors
    /// If an id names no module, or a module that is to learn does not fit the algorithm.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        Ok(self.learner.set_policies_to_train(ids)?)
    }

    /// Returns the current policies; `None` for a single agent.
    pub(super) fn multi_agent_config(&self) -> Option<MultiAgentConfig> {
        self.config.multi_agent.as_ref().map(MultiAgentSection::runner_config)
    }

    /// Returns the current policies with the ids of all modules, including modules without agents.
    fn multi_agent(&self) -> Result<MultiAgentConfig> {
        let Some(multi_agent) = self.multi_agent_config() else {
            let env = self.config.environment.env.clone().unwrap_or_default();
            return Err(RunnerError::SingleAgent(env).into());
        };
        let mut policies: BTreeSet<_> = self.env_runners.module_spaces().into_keys().collect();
        policies.extend(multi_agent.policies.iter().cloned());
        let policies = policies.into_iter().collect();
        Ok(MultiAgentConfig { policies, ..multi_agent })
    }

    /// Changes the policies and their mapping, if the learner's modules fit them.
    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        // Runners reject a module for other spaces only when it is set, which would be too late.
        let modules = self.learner.module().without_learner_only();
        self.env_runners.check_multi_agent(&multi_agent, &modules)?;
        // Evaluation may have its own mapping, which must fit these policies.
        let evaluates = self.eval_env_runners.is_some();
        let eval_env_runners =
            evaluates.then(|| self.eval_env_runners_of(Some(&multi_agent))).transpose()?;
        self.env_runners.set_multi_agent(&multi_agent)?;
        self.eval_env_runners = eval_env_runners;
        self.record_policies(multi_agent);
        Ok(())
    }

    /// Records the policies in the configuration.
    pub(super) fn record_policies(&mut self, multi_agent: MultiAgentConfig) {
        let MultiAgentConfig { policies, policy_mapping } = multi_agent;
        if let Some(section) = &mut self.config.multi_agent {
            (section.policies, section.policy_mapping) = (policies, policy_mapping);
        }
    }

    /// Records a module's spec, or its removal, in the configuration.
    fn record_spec(&mut self, id: &str, spec: Option<RLModuleSpec>) {
        let Some(section) = &mut self.config.multi_agent else { return };
        let specs = &mut section.rl_module_specs.get_or_insert_default().rl_module_specs;
        match spec {
            Some(spec) => specs.insert(id.into(), spec),
            None => specs.remove(id),
        };
    }

    /// Loads those parameters of a module for which `weights` has a value of the same name and
    /// shape, and reports the others. The runners immediately act with the result.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        let report = self.learner.load_module_matching(id, weights)?;
        self.publish_weights()?;
        Ok(report)
    }
}
