//! Environments by id.

use std::sync::Arc;

use rekindle_env::{EnvSpec, MultiAgentEnvSpec, register_multi_agent_scheme, register_scheme};
use serde::Serialize;

use crate::env::GymnasiumEnv;
use crate::error::{GymnasiumError, Result};
use crate::pettingzoo::PettingZooEnv;
use crate::vector::GymnasiumVectorEnv;

/// The forms of the ids.
const GYMNASIUM: &str = "gymnasium:<id>";
const PYTHON: &str = "python:<module>:<callable>";
const PETTING_ZOO: &str = "pettingzoo:<module>";

/// Where a worker finds its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Source {
    /// An id for `gymnasium.make`.
    Gymnasium { id: String },
    /// A callable, as `module:name`.
    Python { path: String },
    /// A module of PettingZoo.
    PettingZoo { module: String },
}

impl Source {
    /// Reads an id of one of the three forms.
    ///
    /// # Errors
    /// [`GymnasiumError::InvalidId`] for any other text.
    pub(crate) fn parse(id: &str) -> Result<Self> {
        let invalid = |expected| GymnasiumError::InvalidId { id: id.to_owned(), expected };
        match id.split_once(':') {
            Some(("gymnasium", "")) => Err(invalid("`gymnasium:<id>`")),
            Some(("gymnasium", rest)) => Ok(Self::Gymnasium { id: rest.to_owned() }),
            Some(("python", path)) => match path.split_once(':') {
                Some((module, callable)) if is_dotted(module) && is_dotted(callable) => {
                    Ok(Self::Python { path: path.to_owned() })
                }
                _ => Err(invalid("`python:<module>:<callable>`")),
            },
            Some(("pettingzoo", module)) if is_dotted(module) => {
                Ok(Self::PettingZoo { module: module.to_owned() })
            }
            Some(("pettingzoo", _)) => Err(invalid("`pettingzoo:<module>`")),
            _ => Err(invalid(
                "`gymnasium:<id>`, `python:<module>:<callable>` or `pettingzoo:<module>`",
            )),
        }
    }
}

/// Whether text is names joined by dots.
fn is_dotted(text: &str) -> bool {
    let is_name = |name: &str| {
        let starts = |c: char| c.is_alphabetic() || c == '_';
        name.starts_with(starts) && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(is_name)
}

/// Makes the ids `gymnasium:<id>`, `python:<module>:<callable>` and `pettingzoo:<module>` available in the
/// whole program.
///
/// Further calls do nothing. No interpreter is started until an environment is made.
pub fn register() {
    for (scheme, form) in [("gymnasium", GYMNASIUM), ("python", PYTHON)] {
        register_scheme(scheme, form, |id| {
            Source::parse(id)?;
            let id: Arc<str> = id.into();
            let vector_id = Arc::clone(&id);
            Ok(EnvSpec::new(Arc::clone(&id), move |config| GymnasiumEnv::new(&id, config))
                .with_vector_entry_point(move |num_envs, config, _| {
                    GymnasiumVectorEnv::new(&vector_id, num_envs, config)
                }))
        });
    }
    register_multi_agent_scheme("pettingzoo", PETTING_ZOO, |id| {
        Source::parse(id)?;
        let id: Arc<str> = id.into();
        Ok(MultiAgentEnvSpec::new(Arc::clone(&id), move |config| PettingZooEnv::new(&id, config)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_an_environment_or_a_callable() {
        let gymnasium = |id: &str| Source::Gymnasium { id: id.to_owned() };
        assert_eq!(Source::parse("gymnasium:ALE/Pong-v5").unwrap(), gymnasium("ALE/Pong-v5"));
        assert_eq!(Source::parse("gymnasium:lab:A-v0").unwrap(), gymnasium("lab:A-v0"));
        let path = "lab.envs:Grid.make";
        let python = Source::Python { path: path.to_owned() };
        assert_eq!(Source::parse(&format!("python:{path}")).unwrap(), python);
    }

    #[test]
    fn malformed_ids_are_refused_with_their_form() {
        for (id, form) in [
            ("gymnasium:", "gymnasium:<id>"),
            ("python:lab", "python:<module>:<callable>"),
            ("python::make", "python:<module>:<callable>"),
            ("python:lab:", "python:<module>:<callable>"),
            ("python:lab:make()", "python:<module>:<callable>"),
            ("python:../lab:make", "python:<module>:<callable>"),
            ("CartPole-v1", "gymnasium:<id>"),
            ("pettingzoo:", "pettingzoo:<module>"),
            ("pettingzoo:a:b", "pettingzoo:<module>"),
        ] {
            let message = Source::parse(id).unwrap_err().to_string();
            assert!(message.contains(form), "{message}");
        }
    }

    #[test]
    fn registered_ids_are_external_and_suggested() {
        register();
        register();
        assert!(rekindle_env::is_external("gymnasium:CartPole-v1"));
        assert!(rekindle_env::is_external("python:lab:Grid"));
        assert!(!rekindle_env::is_external("CartPole-v1"));
        assert_eq!(rekindle_env::spec("gymnasium:A-v0").unwrap().id(), "gymnasium:A-v0");
        let message = rekindle_env::spec("HalfCheetah-v5").unwrap_err().to_string();
        assert!(message.contains("`gymnasium:<id>`"), "{message}");
    }
}
