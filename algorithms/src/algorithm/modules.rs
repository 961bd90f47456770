//! Changing the modules of a running algorithm.

use std::collections::BTreeSet;

use rekindle_core::ModuleId;
use rekindle_core::weights::{LoadReport, Weights};
use rekindle_env_runner::{EnvRunner, MultiAgentConfig, PolicyMapping, RunnerError};
use rekindle_learner::AddedModule;
use rekindle_rl_module::{AnyRLModule, MultiRLModuleSpec};
use serde_json::Map;

use super::Algorithm;
use super::module_settings::check_overrides;
use crate::{AlgorithmError, MultiAgentSection, Result};

impl Algorithm {
    /// Replaces module `id` with one of any type or size.
    ///
    /// The new module starts with a fresh optimizer. The runners immediately act with it, and
    /// checkpoints record its spec. A module of the algorithm's default type has the settings of the algorithm
    /// that its model config leaves out, such as `epsilon`.
    ///
    /// # Errors
    /// If the id is unknown, the new one has other spaces ([`AlgorithmError::OtherSpace`]), or
    /// it does not fit the algorithm. The algorithm is then unchanged.
    pub fn replace_module(&mut self, id: &str, module: AnyRLModule) -> Result<()> {
        let module = self.with_module_settings(id, module)?;
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
        let section = self.config.multi_agent.as_ref();
        if section.is_some_and(|m| m.algorithm_config_overrides_per_module.contains_key(id)) {
            check_overrides(id, Some(&module))?;
        }
        let spec = new.clone();
        // Check the initial state before anything changes, because the runners need it.
        module.initial_state()?;
        let replaced = self.learner.try_add_module(id, module, true)?;
        let fits = self.check_plan().and_then(|()| self.dry_run(id));
        if let Err(error) = fits {
            self.learner.undo_add_module(replaced);
            return Err(error);
        }
        if let Err(error) = self.publish_weights() {
            self.learner.undo_add_module(replaced);
            // Some runners may have received the new module.
            self.publish_weights()?;
            return Err(error);
        }
        if self.config.multi_agent.is_some() {
            self.record_modules();
        } else {
            self.config.rl_module_spec = Some(spec);
            self.config.model_config = Map::new();
        }
        Ok(())
    }

    /// Adds a module to a multi-agent algorithm during training; RLlib's `add_module`.
    ///
    /// `policy_mapping` applies to episodes that begin afterwards; `None` keeps the current
    /// mapping. `policies_to_train` are the modules that learn from now on; `None` keeps the current
    /// ones: the module learns if all modules do.
    ///
    /// # Errors
    /// If the id is taken, the algorithm has one agent, the module does not fit the algorithm or the
    /// spaces of its agents, the mapping does not fit the modules, or a module that is to learn is unknown
    /// or cannot learn. The algorithm is then unchanged.
    pub fn add_module(
        &mut self,
        id: &str,
        module: AnyRLModule,
        policy_mapping: Option<PolicyMapping>,
        policies_to_train: Option<BTreeSet<ModuleId>>,
    ) -> Result<()> {
        let known = self.learner.module().get(id);
        if self.is_restoring && known.is_some_and(|known| has_spaces_of(known, &module)) {
            // The module, the mapping and the modules that learn are those of the checkpoint.
            return Ok(());
        }
        let mut multi_agent = self.multi_agent()?;
        let module = self.with_module_settings(id, module)?;
        if !module.spec().is_learner_only() {
            multi_agent.policies.push(id.into());
        }
        if let Some(mapping) = policy_mapping {
            multi_agent.policy_mapping = mapping;
        }
        let before = self.learner.policies_to_train().cloned();
        let added = self.add_to_learner(id, module, policies_to_train)?;
        let fits = self.check_plan().and_then(|()| self.dry_run(id));
        if let Err(error) = fits.and_then(|()| self.change_policies(multi_agent)) {
            self.learner.undo_add_module(added);
            self.learner.set_policies_to_train(before)?;
            return Err(error);
        }
        self.record_modules();
        Ok(())
    }

    /// Adds a module to the learner, and sets the modules that learn. On an error, nothing changes.
    fn add_to_learner(
        &mut self,
        id: &str,
        module: AnyRLModule,
        policies_to_train: Option<BTreeSet<ModuleId>>,
    ) -> Result<AddedModule> {
        let before = self.learner.policies_to_train().cloned();
        let learns =
            policies_to_train.as_ref().or(before.as_ref()).is_none_or(|ids| ids.contains(id));
        if learns {
            self.settings.check_sampling(id, &self.config.env_runners)?;
        } else if policies_to_train.is_some() {
            // A module that does not learn needs no roles.
            self.learner.set_policies_to_train(policies_to_train.clone())?;
        }
        let added = match self.learner.try_add_module(id, module, false) {
            Ok(added) => added,
            Err(error) => {
                self.learner.set_policies_to_train(before)?;
                return Err(error.into());
            }
        };
        if learns
            && let Some(ids) = policies_to_train
            && let Err(error) = self.learner.set_policies_to_train(Some(ids))
        {
            self.learner.undo_add_module(added);
            return Err(error.into());
        }
        Ok(added)
    }

    /// Removes a module from a multi-agent algorithm and returns it; RLlib's `remove_module`. Training
    /// settings that it overrides are removed, too.
    ///
    /// All environments begin new episodes. In these, `policy_mapping` assigns other modules to the
    /// agents of the removed one; `None` keeps the current mapping.
    ///
    /// # Errors
    /// If the id is unknown, or agents are still mapped to it. The algorithm is then unchanged,
    /// and episodes continue.
    pub fn remove_module(
        &mut self,
        id: &str,
        policy_mapping: Option<PolicyMapping>,
    ) -> Result<AnyRLModule> {
        self.module(id)?;
        let before = self.multi_agent()?;
        let mut multi_agent = before.clone();
        multi_agent.policies.retain(|policy| policy != id);
        if let Some(mapping) = policy_mapping {
            multi_agent.policy_mapping = mapping;
        }
        // The first call checks the mapping before episodes are dropped. Agents in mid-episode keep
        // the module until the second call.
        self.change_policies(multi_agent.clone())?;
        if let Err(error) = self.env_runners.reset_episodes() {
            self.change_policies(before)?;
            return Err(error.into());
        }
        self.env_runners.set_multi_agent(&multi_agent)?;
        let module = self.learner.remove_module(id)?;
        self.settings.forget(id);
        self.plan.forget_module(id);
        if let Some(section) = &mut self.config.multi_agent {
            section.algorithm_config_overrides_per_module.remove(id);
        }
        self.record_modules();
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
        let multi_agent = self.multi_agent()?.policy_mapping(policy_mapping);
        self.change_policies(multi_agent)
    }

    /// Sets the modules that learn; `None` for all.
    ///
    /// # Errors
    /// If an id names no module, or a module that is to learn does not fit the algorithm. The modules that
    /// learn are then the same as before.
    pub fn set_policies_to_train(&mut self, ids: Option<BTreeSet<ModuleId>>) -> Result<()> {
        let learns = |id: &&ModuleId| ids.as_ref().is_none_or(|ids| ids.contains(*id));
        for id in self.learner.module().keys().filter(learns) {
            self.settings.check_sampling(id, &self.config.env_runners)?;
        }
        self.learner.set_policies_to_train(ids)?;
        self.record_modules();
        Ok(())
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
        let acting = self.learner.module().iter().filter(|(_, m)| !m.spec().is_learner_only());
        policies.extend(acting.map(|(id, _)| id.clone()));
        let policies: Vec<_> = policies.into_iter().collect();
        Ok(multi_agent.policies(policies))
    }

    /// Changes the policies and gives the runners their modules. On an error, nothing changes.
    fn change_policies(&mut self, multi_agent: MultiAgentConfig) -> Result<()> {
        // Runners reject a module for other spaces only when it is set, which would be too late.
        let modules = self.learner.module().without_learner_only();
        self.env_runners.check_multi_agent(&multi_agent, &modules)?;
        let before = self.multi_agent_config().unwrap_or_default();
        // Evaluation may have its own mapping, which must fit these policies.
        let evaluates = self.eval_env_runners.is_some();
        let eval_env_runners =
            evaluates.then(|| self.eval_env_runners_of(Some(&multi_agent))).transpose()?;
        let connectors = self.env_runners.runners().next().map(EnvRunner::connector_states);
        let connectors = connectors.transpose()?;
        self.env_runners.set_multi_agent(&multi_agent)?;
        // Runners reject a module whose spaces differ from its agents' spaces.
        if let Err(error) = self.publish_weights() {
            self.env_runners.set_multi_agent(&before)?;
            self.publish_weights()?;
            // Modules that had no agent in the meantime have lost their connectors.
            if let Some(states) = connectors {
                self.env_runners.set_connector_states(&states)?;
            }
            return Err(error);
        }
        if evaluates {
            self.eval_env_runners = eval_env_runners;
        }
        self.record_policies(multi_agent);
        Ok(())
    }

    /// Records the policies in the configuration.
    pub(super) fn record_policies(&mut self, multi_agent: MultiAgentConfig) {
        let MultiAgentConfig { policies, policy_mapping, .. } = multi_agent;
        if let Some(section) = &mut self.config.multi_agent {
            (section.policies, section.policy_mapping) = (policies, policy_mapping);
        }
    }

    /// Records in the configuration how the modules of several agents are built, and which of them learn.
    /// Checkpoints then restore them, whichever modules have joined, left or been replaced.
    pub(super) fn record_modules(&mut self) {
        let Some(section) = &mut self.config.multi_agent else { return };
        let trained = self.learner.policies_to_train();
        section.policies_to_train = trained.map(|ids| ids.iter().cloned().collect());
        section.rl_module_specs = Some(MultiRLModuleSpec::from_module(self.learner.module()));
        // Every spec has its own settings now.
        self.config.model_config = Map::new();
    }

    /// Loads those parameters of a module for which `weights` has a value of the same name and
    /// shape, and reports the others. The runners immediately act with the result.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn load_module_matching(&mut self, id: &str, weights: &Weights) -> Result<LoadReport> {
        let report = self.learner.load_module_matching(id, weights)?;
        self.publish_weights()?;
        Ok(report)
    }
}

/// Whether two modules have the same type and spaces.
fn has_spaces_of(one: &AnyRLModule, other: &AnyRLModule) -> bool {
    let of = |module: &AnyRLModule| {
        let spec = module.spec();
        let spaces = (spec.get_observation_space().cloned(), spec.get_action_space().cloned());
        (spec.module().to_owned(), spaces)
    };
    of(one) == of(other)
}
