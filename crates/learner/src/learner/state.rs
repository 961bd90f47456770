//! The state of a learner.

use std::collections::BTreeMap;

use rekindle_core::{Checkpointable, Generator, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Learner;
use crate::{LearnerError, Optimizer, Result};

/// The plain part; modules and optimizers are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnerState {
    weights_seq_no: u64,
    shuffle_rng: Generator,
    objective: Value,
}

impl Checkpointable for Learner {
    type Error = LearnerError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::from_data(&LearnerState {
            weights_seq_no: self.weights_seq_no,
            shuffle_rng: self.shuffle_rng.clone(),
            objective: self.objective.get_state(),
        })?;
        let mut optimizers = State::new();
        for (id, optimizer) in &self.optimizers {
            optimizers.insert_component(id.clone(), optimizer.get_state()?);
        }
        state.insert_component("rl_module", self.module.get_state()?);
        state.insert_component("optimizer", optimizers);
        Ok(state)
    }

    /// All parts are read and checked before the first is replaced.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let data: LearnerState = state.data_as()?;
        let mut module = self.module.clone();
        module.set_state(state.component("rl_module")?)?;
        let saved = state.component("optimizer")?;
        let mut optimizers = BTreeMap::new();
        for (id, module) in module.iter() {
            let mut optimizer = Optimizer::new(self.objective.optimizer(id, &self.config));
            optimizer.load_state(saved.component(id)?, module)?;
            optimizers.insert(id.clone(), optimizer);
        }
        self.objective.set_state(&data.objective)?;
        self.module = module;
        self.optimizers = optimizers;
        self.weights_seq_no = data.weights_seq_no;
        self.shuffle_rng = data.shuffle_rng;
        Ok(())
    }
}
