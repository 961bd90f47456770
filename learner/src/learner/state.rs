//! Saving and restoring a learner.

use std::collections::BTreeSet;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{Generator, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Learner;
use crate::{LearnerError, Result};

/// The plain data of the state. Modules and optimizers are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnerState {
    weights_seq_no: u64,
    shuffle_rng: Generator,
    objective: Value,
    #[serde(default)]
    policies_to_train: Option<BTreeSet<ModuleId>>,
}

impl Checkpointable for Learner {
    type Error = LearnerError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::from_data(&LearnerState {
            weights_seq_no: self.weights_seq_no,
            shuffle_rng: self.shuffle_rng.clone(),
            objective: self.objective.get_state(),
            policies_to_train: self.policies_to_train.clone(),
        })?;
        let mut optimizers = State::new();
        for (group, optimizer) in &self.optimizers {
            optimizers.insert_component(group.clone(), optimizer.get_state()?);
        }
        state.insert_component("rl_module", self.module.get_state()?);
        state.insert_component("optimizer", optimizers);
        Ok(state)
    }

    /// Replaces the state. All parts are read and checked before any is replaced.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let data: LearnerState = state.data_as()?;
        let mut module = self.module.clone();
        module.set_state(state.component("rl_module")?)?;
        let optimizers = self.read_optimizers(state.component("optimizer")?)?;
        self.objective.set_state(&data.objective)?;
        self.module = module;
        self.optimizers = optimizers;
        self.weights_seq_no = data.weights_seq_no;
        self.shuffle_rng = data.shuffle_rng;
        self.policies_to_train = data.policies_to_train;
        Ok(())
    }
}
