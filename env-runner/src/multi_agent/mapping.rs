//! The mapping from agents to modules.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::AgentId;
use serde::{Deserialize, Serialize};

use crate::error::{Result, RunnerError};

/// The episode in which an agent is mapped to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpisodeInfo {
    /// Index of the runner.
    pub runner: usize,
    /// Index of the environment within the runner.
    pub env: usize,
    /// Number of the episode, counted over all environments of the runner.
    pub episode: u64,
}

impl EpisodeInfo {
    /// Creates the description of an episode, for programs that map agents themselves.
    #[must_use]
    pub fn new(runner: usize, env: usize, episode: u64) -> Self {
        Self { runner, env, episode }
    }
}

/// Returns the module that an agent acts with in an episode.
type Mapping = dyn Fn(&AgentId, &EpisodeInfo) -> ModuleId + Send + Sync;

/// A mapping from agents to modules; RLlib's `policy_mapping_fn`.
///
/// An agent is mapped when it first acts in an episode, and keeps its module until the episode ends.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Data", into = "Data")]
pub enum PolicyMapping {
    /// All agents act with one module.
    All(ModuleId),
    /// Each agent acts with the module of the same name.
    ByAgent,
    /// A table gives the module of each agent.
    Table(BTreeMap<AgentId, ModuleId>),
    /// A registered function decides.
    Function(MappingFunction),
}

/// A mapping function with the name that configurations record.
#[derive(Clone)]
pub struct MappingFunction {
    name: String,
    function: Arc<Mapping>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Data {
    All(ModuleId),
    ByAgent,
    Table(BTreeMap<AgentId, ModuleId>),
    Function(String),
}

static FUNCTIONS: LazyLock<RwLock<BTreeMap<String, Arc<Mapping>>>> =
    LazyLock::new(Default::default);

impl PolicyMapping {
    /// Creates a mapping by a function of the agent and the episode, and registers the function in
    /// this program under `name`. Configurations and checkpoints record the name.
    ///
    /// A function that is already registered under `name` is replaced: a configuration or checkpoint
    /// that is read later gets the new one, and mappings that exist keep theirs. Give different
    /// functions different names.
    pub fn from_fn<F>(name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&AgentId, &EpisodeInfo) -> ModuleId + Send + Sync + 'static,
    {
        let (name, function): (String, Arc<Mapping>) = (name.into(), Arc::new(function));
        let mut table = FUNCTIONS.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(name.clone(), function.clone());
        Self::Function(MappingFunction { name, function })
    }

    /// Returns the module of an agent in an episode.
    ///
    /// # Errors
    /// [`RunnerError::UnmappedAgent`] for an agent that the table lacks.
    pub fn module(&self, agent: &AgentId, episode: &EpisodeInfo) -> Result<ModuleId> {
        match self {
            Self::All(module) => Ok(module.clone()),
            Self::ByAgent => Ok(agent.clone()),
            Self::Table(table) => {
                table.get(agent).cloned().ok_or_else(|| RunnerError::UnmappedAgent(agent.clone()))
            }
            Self::Function(MappingFunction { function, .. }) => Ok(function(agent, episode)),
        }
    }
}

impl Default for PolicyMapping {
    /// Maps all agents to the default module.
    fn default() -> Self {
        Self::All(DEFAULT_MODULE_ID.into())
    }
}

impl From<PolicyMapping> for Data {
    fn from(mapping: PolicyMapping) -> Self {
        match mapping {
            PolicyMapping::All(module) => Self::All(module),
            PolicyMapping::ByAgent => Self::ByAgent,
            PolicyMapping::Table(table) => Self::Table(table),
            PolicyMapping::Function(function) => Self::Function(function.name),
        }
    }
}

impl TryFrom<Data> for PolicyMapping {
    type Error = RunnerError;

    fn try_from(data: Data) -> Result<Self> {
        Ok(match data {
            Data::All(module) => Self::All(module),
            Data::ByAgent => Self::ByAgent,
            Data::Table(table) => Self::Table(table),
            Data::Function(name) => {
                let table = FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner);
                let function = table.get(&name).cloned();
                let known = || table.keys().cloned().collect::<Vec<_>>().join(", ");
                match function {
                    Some(function) => Self::Function(MappingFunction { name, function }),
                    None => {
                        let known = known();
                        return Err(RunnerError::UnregisteredMapping { name, known });
                    }
                }
            }
        })
    }
}

impl PartialEq for PolicyMapping {
    fn eq(&self, other: &Self) -> bool {
        Data::from(self.clone()) == Data::from(other.clone())
    }
}

impl fmt::Debug for MappingFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.name)
    }
}

impl fmt::Debug for PolicyMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(module) => write!(f, "all agents to {module}"),
            Self::ByAgent => f.write_str("each agent to the module of its name"),
            Self::Table(table) => table.fmt(f),
            Self::Function(function) => function.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_data_and_functions_are_found_by_name() {
        let info = EpisodeInfo { runner: 0, env: 1, episode: 4 };
        let function = PolicyMapping::from_fn("test/by_episode", |agent, episode| {
            if episode.episode % 2 == 0 { "even".into() } else { agent.clone() }
        });
        for (mapping, expected) in [
            (PolicyMapping::default(), "default_policy"),
            (PolicyMapping::ByAgent, "a"),
            (PolicyMapping::Table([("a".into(), "p".into())].into()), "p"),
            (function, "even"),
        ] {
            let json = serde_json::to_string(&mapping).unwrap();
            let back: PolicyMapping = serde_json::from_str(&json).unwrap();
            assert_eq!(back, mapping);
            assert_eq!(back.module(&"a".into(), &info).unwrap(), expected);
        }
        let table = PolicyMapping::Table(BTreeMap::new());
        let message = table.module(&"a".into(), &info).unwrap_err().to_string();
        assert!(message.contains("agent `a`"), "{message}");
        let unknown = serde_json::from_str::<PolicyMapping>(r#"{"function": "nobody"}"#);
        assert!(unknown.unwrap_err().to_string().contains("PolicyMapping::from_fn"));
    }
}
