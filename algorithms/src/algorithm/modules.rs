//! Changing the module of an algorithm at work.

use std::collections::BTreeSet;

use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_env_runner::{MultiAgentConfig, PolicyMapping, RunnerError};
use rekindle_rl_module::AnyRLModule;
use serde_json::{Map, Value};

use super::Algorithm;
use crate::{AlgorithmError, Result};

impl Algorithm {
    /// Goes on with another module, of any type and size, in the place of `id`.
    ///
    /// It begins with a fresh optimizer, the runners act with it at once, and checkpoints describe
    /// it from now on.
    ///
    /// # Errors
    /// If there is no such module, the new one is for other spaces
    /// ([`AlgorithmError::OtherSpace`]), or it lacks a role that the algorithm needs. Nothing
    /// changes then.
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
        let spec = serde_json::to_value(new).map_err(AlgorithmError::ConfigFormat)?;
        self.learner.add_module(id, module, true)?;
        if self.settings.runner.multi_agent.is_some() {
            self.record_spec(id, Some(spec));
        } else if let Some(config) = self.config.as_object_mut() {
            config.insert("rl_module_spec".into(), spec);
            config.insert("model_config".into(), Value::Object(Map::new()));
        }
        self.publish_weights()
    }

    /// Adds a module to a multi-agent algorithm while it trains; RLlib's `add_module`.
    ///
    /// Agents play with it from the episodes on that begin after this, if `policy_mapping` (or the
    /// mapping as it is) says so. The module learns, unless `policies_to_train` says which do.
    ///
    /// # Errors
    /// If the id is taken, the algorithm has one agent, the module lacks a role, or the mapping does
    /// not fit the modules. Nothing changes then.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        policy_mapping: Option<PolicyMapping>,
        policies_to_train: Option<BTreeSet<ModuleId>>,
    ) -> Result<()> {
        let spec = serde_json::to_value(module.spec().built());
        let spec = spec.map_err(AlgorithmError::ConfigFormat)?;
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
            // Of a module that does not learn, no role is asked.
            self.learner.set_policies_to_train(policies_to_train.clone())?;
        }
        let mut changed = self.learner.add_module(id, module, false).map_err(Into::into);
        if changed.is_ok() {
            changed = self.set_multi_agent(multi_agent).and_then(|()| {
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
        self.publish_weights()
    }

    /// Takes a module out of a multi-agent algorithm; RLlib's `remove_module`.
    ///
    /// All environments begin new episodes: agents that played with it play with another module
    /// then, which `policy_mapping` (or the mapping as it is) must say.
    ///
    /// # Errors
    /// If there is no such module, or agents are still mapped to it. Nothing changes then.
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
        self.env_runners.reset_episodes()?;
        self.set_multi_agent(multi_agent)?;
        let module = self.learner.remove_module(id)?;
        self.record_spec(id, None);
        self.forget_connectors_of(id)?;
        self.publish_weights()?;
        Ok(module)
    }

    /// Changes which module each agent plays with, from the next episodes on, and which modules
    /// learn.
    ///
    /// # Errors
    /// If the algorithm has one agent, or the mapping does not fit the modules.
    pub fn set_policy_mapping(&mut self, policy_mapping: PolicyMapping) -> Result<()> {
        let multi_agent = MultiAgentConfig { policy_mapping, ..self.multi_agent()? };
        self.set_multi_agent(multi_agent)?;
        self.publish_weights()
    }

    /// Chooses the modules that learn, `None` for all.
    ///
    /// # Errors
    /// If there is no module of an id.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        Ok(self.learner.set_policies_to_train(ids)?)
    }

    /// The policies as they are, all of them by name.
    fn multi_agent(&self) -> Result<MultiAgentConfig> {
        let Some(multi_agent) = &self.settings.runner.multi_agent else {
            return Err(RunnerError::SingleAgent(self.settings.runner.env.clone()).into());
        };
        let policies = self.env_runners.module_spaces().into_keys().collect();
        Ok(MultiAgentConfig { policies, ..multi_agent.clone() })
    }

    fn set_multi_agent(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        // Evaluation has a mapping of its own, perhaps, and refuses what does not go with it.
        let evaluates = self.eval_env_runners.is_some();
        let eval_env_runners =
            evaluates.then(|| self.eval_env_runners_of(Some(&multi_agent))).transpose()?;
        self.env_runners.set_multi_agent(&multi_agent)?;
        self.eval_env_runners = eval_env_runners;
        if let Some(section) = self.config.get_mut("multi_agent").and_then(Value::as_object_mut) {
            for (field, value) in [
                ("policies", serde_json::to_value(&multi_agent.policies)),
                ("policy_mapping", serde_json::to_value(&multi_agent.policy_mapping)),
            ] {
                section.insert(field.into(), value.map_err(AlgorithmError::ConfigFormat)?);
            }
        }
        self.settings.runner.multi_agent = Some(multi_agent);
        Ok(())
    }

    /// Takes down how a module is built, or that it is gone, for checkpoints.
    fn record_spec(&mut self, id: &str, spec: Option<Value>) {
        let Some(section) = self.config.get_mut("multi_agent") else { return };
        let specs = &mut section["rl_module_specs"];
        if specs.is_null() {
            *specs = serde_json::json!({ "rl_module_specs": {} });
        }
        let Some(specs) = specs["rl_module_specs"].as_object_mut() else { return };
        match spec {
            Some(spec) => specs.insert(id.into(), spec),
            None => specs.remove(id),
        };
    }

    /// Replaces the parameters of a module that `weights` has a fitting value for, and reports the
    /// others. The runners act with the result at once.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        let report = self.learner.load_module_matching(id, weights)?;
        self.publish_weights()?;
        Ok(report)
    }
}
