//! Changing the module of an algorithm at work.

use rekindle_core::weights::{LoadReport, Weights};
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
        if let Some(config) = self.config.as_object_mut() {
            config.insert("rl_module_spec".into(), spec);
            config.insert("model_config".into(), Value::Object(Map::new()));
        }
        self.publish_weights()
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
