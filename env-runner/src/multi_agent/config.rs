//! The policies of a multi-agent environment.

use rekindle_core::{ModuleId, settings};
use rekindle_env::{AgentSpec, Space};

use super::{EpisodeInfo, PolicyMapping};
use crate::error::{Result, RunnerError};

settings! {
    /// The modules that act, and the mapping from agents to modules.
    pub struct MultiAgentConfig {
        /// Ids of the modules. If empty, the modules are those that the mapping names.
        into policies: Vec<ModuleId> = Vec::new();
        /// Mapping from agents to modules.
        set policy_mapping: PolicyMapping = PolicyMapping::default();
    }
}

/// Number of episodes for which the mapping is evaluated to find the agents of each module.
const PROBES: u64 = 64;

impl MultiAgentConfig {
    /// Returns the modules with the spaces of the agents that they act for.
    ///
    /// A module without agents gets the spaces that all agents share. If the agents' spaces differ,
    /// it is left out and cannot act.
    ///
    /// # Errors
    /// [`RunnerError::AmbiguousSpaces`] if the agents of a module have different spaces,
    /// [`RunnerError::UnknownPolicy`] if an agent is mapped to a module that is not listed.
    pub fn spaces(&self, agents: &[AgentSpec]) -> Result<Vec<(ModuleId, Space, Space)>> {
        let mut all = Vec::new();
        for (id, players) in self.players(agents)? {
            let in_reserve = players.is_empty();
            let players = if in_reserve { agents.iter().collect() } else { players };
            match shared_spaces(&players) {
                Some((observations, actions)) => all.push((id, observations, actions)),
                None if in_reserve => {}
                None => {
                    let agents = players.iter().map(|agent| agent.id.clone());
                    let agents = agents.collect::<Vec<_>>().join(", ");
                    return Err(RunnerError::AmbiguousSpaces { module: id, agents });
                }
            }
        }
        Ok(all)
    }

    /// Returns the modules with the agents that they act for in the first episodes.
    ///
    /// # Errors
    /// [`RunnerError::UnknownPolicy`] if an agent is mapped to a module that is not listed.
    pub(super) fn players<'a>(
        &self,
        agents: &'a [AgentSpec],
    ) -> Result<Vec<(ModuleId, Vec<&'a AgentSpec>)>> {
        let mut ids = self.policies.clone();
        let mut players: Vec<Vec<&'a AgentSpec>> = vec![Vec::new(); ids.len()];
        for episode in 0..PROBES {
            for agent in agents {
                let info = EpisodeInfo { runner: 0, env: 0, episode };
                let id = self.policy_mapping.module(&agent.id, &info)?;
                let index = match ids.iter().position(|known| *known == id) {
                    Some(index) => index,
                    None if self.policies.is_empty() => {
                        ids.push(id);
                        players.push(Vec::new());
                        ids.len() - 1
                    }
                    None => return Err(self.unknown(&agent.id, &id)),
                };
                if !players[index].iter().any(|player| player.id == agent.id) {
                    players[index].push(agent);
                }
            }
        }
        Ok(ids.into_iter().zip(players).collect())
    }

    fn unknown(&self, agent: &str, module: &str) -> RunnerError {
        RunnerError::UnknownPolicy {
            agent: agent.into(),
            module: module.into(),
            known: self.policies.join(", "),
        }
    }
}

/// Returns the observation and action space of all these agents, if they are the same.
fn shared_spaces(agents: &[&AgentSpec]) -> Option<(Space, Space)> {
    let spaces = |agent: &AgentSpec| (agent.observation_space.clone(), agent.action_space.clone());
    let mut all = agents.iter().map(|agent| spaces(agent));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Vec<AgentSpec> {
        let (one, two) = (Space::unbounded(&[1]).unwrap(), Space::unbounded(&[2]).unwrap());
        let actions = Space::discrete(2).unwrap();
        [("a", &one), ("b", &one), ("c", &two)]
            .map(|(id, space)| AgentSpec::new(id, space.clone(), actions.clone()))
            .to_vec()
    }

    #[test]
    fn spaces_are_those_of_the_agents_that_play() {
        let table = [("a", "ab"), ("b", "ab"), ("c", "c")].map(|(a, m)| (a.into(), m.into()));
        let config = MultiAgentConfig::default().policy_mapping(PolicyMapping::Table(table.into()));
        let found = config.spaces(&agents()).unwrap();
        let ids: Vec<_> =
            found.iter().map(|(id, space, _)| (id.as_str(), space.flat_dim())).collect();
        assert_eq!(ids, [("ab", 1), ("c", 2)]);
    }

    #[test]
    fn a_module_in_reserve_is_left_out_where_agents_differ_in_spaces() {
        let policies = ["a", "b", "c", "later"].map(Into::into).to_vec();
        let config = MultiAgentConfig { policies, policy_mapping: PolicyMapping::ByAgent };
        let ids = |agents: &[AgentSpec]| -> Vec<_> {
            config.spaces(agents).unwrap().into_iter().map(|(id, ..)| id).collect()
        };
        assert_eq!(ids(&agents()), ["a", "b", "c"]);
        assert_eq!(ids(&agents()[..2]), ["a", "b", "c", "later"]);
    }

    #[test]
    fn one_module_for_agents_of_different_spaces_is_refused() {
        let message = MultiAgentConfig::default().spaces(&agents()).unwrap_err().to_string();
        assert!(message.contains("`default_policy`") && message.contains("[a, b, c]"), "{message}");
    }

    #[test]
    fn a_module_that_is_not_listed_is_named() {
        let config = MultiAgentConfig {
            policies: vec!["a".into(), "b".into()],
            policy_mapping: PolicyMapping::ByAgent,
        };
        let message = config.spaces(&agents()).unwrap_err().to_string();
        assert!(message.contains("agent `c`") && message.contains("[a, b]"), "{message}");
    }

    #[test]
    fn a_module_in_reserve_is_left_out_where_agents_differ() {
        let config = MultiAgentConfig {
            policies: ["a", "b", "c", "spare"].map(Into::into).to_vec(),
            policy_mapping: PolicyMapping::ByAgent,
        };
        let ids = |agents: &[AgentSpec]| -> Vec<_> {
            config.spaces(agents).unwrap().into_iter().map(|(id, ..)| id).collect()
        };
        assert_eq!(ids(&agents()), ["a", "b", "c"]);
        assert_eq!(ids(&agents()[..2]), ["a", "b", "c", "spare"]);
        assert!(ids(&[]).is_empty());
    }
}
