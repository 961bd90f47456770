//! Checks that modules fit the environments they play in.

use rekindle_core::ModuleId;
use rekindle_env::{BoxDType, Space, multi_agent_spec, spec};
use rekindle_env_runner::{EnvRunnerConfig, EnvRunnerGroup, PolicyMapping, RunnerError};
use rekindle_rl_module::MultiRLModule;

use crate::{AlgorithmError, Result};

/// Checks that a configuration has policies if the environment has several agents, and none if it
/// has one.
pub(crate) fn check_kind(config: &EnvRunnerConfig) -> Result<()> {
    match &config.multi_agent {
        None if multi_agent_spec(&config.env).is_ok() => {
            Err(AlgorithmError::NoPolicies(config.env.clone()))
        }
        Some(_) if spec(&config.env).is_ok() => {
            Err(RunnerError::SingleAgent(config.env.clone()).into())
        }
        _ => Ok(()),
    }
}

/// Checks that the modules that play were built for the spaces they play in.
pub(crate) fn check_spaces(
    config: &EnvRunnerConfig,
    runners: &EnvRunnerGroup,
    modules: &MultiRLModule,
) -> Result<()> {
    let mapping = config.multi_agent.as_ref().map(|m| &m.policy_mapping);
    for (id, (observations, actions)) in runners.module_spaces() {
        let Some(module) = modules.get(&id).filter(|_| surely_plays(&id, mapping)) else {
            continue;
        };
        let of_module = module.spec();
        for (field, expected, found, fits) in [
            (
                "observation space",
                &observations,
                of_module.get_observation_space(),
                reads as fn(&Space, &Space) -> bool,
            ),
            ("action space", &actions, of_module.get_action_space(), Space::eq),
        ] {
            if let Some(found) = found.filter(|found| !fits(found, expected)) {
                return Err(AlgorithmError::SpacesDiffer {
                    id,
                    env: config.env.clone(),
                    field,
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// Whether a module for one space reads observations of the other: bounds of float Boxes, which filters
/// change, may differ.
fn reads(built: &Space, seen: &Space) -> bool {
    match (built, seen) {
        (Space::Box(a), Space::Box(b)) if a.dtype() == BoxDType::Float32 => {
            a.dtype() == b.dtype() && a.shape() == b.shape()
        }
        (Space::Dict(a), Space::Dict(b)) => {
            a.iter().count() == b.iter().count()
                && a.iter().zip(b.iter()).all(|((a, x), (b, y))| a == b && reads(x, y))
        }
        (Space::Tuple(a), Space::Tuple(b)) => {
            a.spaces().len() == b.spaces().len()
                && a.spaces().iter().zip(b.spaces()).all(|(x, y)| reads(x, y))
        }
        _ => built == seen,
    }
}

/// Whether some agent plays with a module. A module in reserve, with which none does, may have spaces
/// of its own; what functions decide is not known before they do.
fn surely_plays(id: &ModuleId, mapping: Option<&PolicyMapping>) -> bool {
    match mapping {
        None => true,
        Some(PolicyMapping::All(module)) => module == id,
        Some(PolicyMapping::Table(table)) => table.values().any(|module| module == id),
        Some(PolicyMapping::ByAgent | PolicyMapping::Function(_)) => false,
    }
}
