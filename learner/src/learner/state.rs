//! Saving and restoring a learner.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::weights::{load_state_dict, state_dict};
use rekindle_core::{Generator, ModuleId};
use rekindle_rl_module::MultiRLModule;
use serde::{Deserialize, Serialize};

use super::Learner;
use super::module_loss::ModuleLoss;
use crate::connector::Pipeline;
use crate::error::{LearnerError, Result};

/// The plain data of the state. Modules, optimizers and scalars are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnerState {
    weights_seq_no: u64,
    shuffle_rng: Generator,
    /// The states of the losses, by module.
    #[serde(default)]
    losses: BTreeMap<ModuleId, SavedLoss>,
    /// The state of PPO for all modules together, in checkpoints without `losses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objective: Option<SavedObjective>,
    #[serde(default)]
    policies_to_train: Option<BTreeSet<ModuleId>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLoss {
    name: String,
    rng: Generator,
}

#[derive(Serialize, Deserialize)]
struct SavedObjective {
    #[serde(default)]
    kl_coeffs: BTreeMap<ModuleId, f64>,
}

const MODULE: &str = "rl_module";
const OPTIMIZER: &str = "optimizer";
/// What losses have learned, by module; absent if they have learned nothing.
const LOSSES: &str = "losses";
/// What learner connectors have learned, by module; absent if there are none.
const CONNECTORS: &str = "connectors";
/// Scalars that optimizers step, by module; absent if there are none.
const SCALARS: &str = "scalars";

impl Checkpointable for Learner {
    type Error = LearnerError;

    fn get_state(&self) -> Result<State> {
        let mut state = self.state_of_losses()?;
        state.insert_component(MODULE, self.module.get_state()?);
        state.insert_component(OPTIMIZER, self.optimizer_state()?);
        Ok(state)
    }

    /// Replaces the state. All parts are read and checked before any is replaced. A loss without a saved
    /// state starts anew.
    fn set_state(&mut self, state: &State) -> Result<()> {
        state.component(MODULE)?;
        state.component(OPTIMIZER)?;
        self.set_parts(state)
    }
}

impl Learner {
    /// Returns the state without modules and optimizers.
    pub(super) fn state_of_losses(&self) -> Result<State> {
        let losses = self.losses.iter().map(|(id, ModuleLoss { loss, rng, .. })| {
            (id.clone(), SavedLoss { name: loss.name().to_owned(), rng: rng.clone() })
        });
        let mut state = State::from_data(&LearnerState {
            weights_seq_no: self.weights_seq_no,
            shuffle_rng: self.shuffle_rng.clone(),
            losses: losses.collect(),
            objective: None,
            policies_to_train: self.config.policies_to_train.clone(),
        })?;
        let mut of_losses = State::new();
        for (id, of_module) in &self.losses {
            let of_loss = of_module.loss.get_state()?;
            if !of_loss.is_empty() {
                of_losses.insert_component(id.clone(), of_loss);
            }
        }
        if !of_losses.components.is_empty() {
            state.insert_component(LOSSES, of_losses);
        }
        let mut connectors = State::new();
        for (id, of_module) in self.losses.iter().filter(|(_, of)| !of.connectors.is_empty()) {
            connectors.insert_component(id.clone(), of_module.connectors.get_state()?);
        }
        if !connectors.components.is_empty() {
            state.insert_component(CONNECTORS, connectors);
        }
        let with_scalars = self.losses.iter().filter(|(_, of)| !of.scalars.is_empty());
        let mut scalars = State::new();
        for (id, of_module) in with_scalars {
            let mut of_id = State::new();
            for (name, value) in state_dict(&of_module.scalars)? {
                of_id.insert_tensor(name, value);
            }
            scalars.insert_component(id.clone(), of_id);
        }
        if !scalars.components.is_empty() {
            state.insert_component(SCALARS, scalars);
        }
        Ok(state)
    }

    /// Replaces the state. Modules and optimizers that it does not have stay.
    pub(super) fn set_parts(&mut self, state: &State) -> Result<()> {
        let data: LearnerState = state.data_as()?;
        let module = match state.components.get(MODULE) {
            Some(state) => {
                let mut module = MultiRLModule::clone(&self.module);
                module.set_state(state)?;
                Some(module)
            }
            None => None,
        };
        let optimizers = state.components.get(OPTIMIZER);
        let optimizers = optimizers.map(|state| self.read_optimizers(state)).transpose()?;
        let losses = self.read_losses(&data, state)?;
        self.losses = losses;
        if let Some(module) = module {
            *self.module = module;
        }
        if let Some(optimizers) = optimizers {
            *self.optimizers = optimizers;
        }
        self.weights_seq_no = data.weights_seq_no;
        self.shuffle_rng = data.shuffle_rng;
        self.config.policies_to_train = data.policies_to_train;
        // Runners that were late are recreated when they are restored.
        self.replaced.clear();
        Ok(())
    }

    /// Returns the ids of the modules that learn in a saved state; `None` for all.
    ///
    /// # Errors
    /// If it is not the state of a learner.
    pub fn saved_policies_to_train(state: &State) -> Result<Option<BTreeSet<ModuleId>>> {
        Ok(state.data_as::<LearnerState>()?.policies_to_train)
    }

    /// Returns new losses of all modules with their saved states, connectors and scalars.
    fn read_losses(
        &self,
        data: &LearnerState,
        state: &State,
    ) -> Result<BTreeMap<ModuleId, ModuleLoss>> {
        let mut all = BTreeMap::new();
        for (id, here) in &self.losses {
            let mut of_module = self.new_module_loss(id, self.module.module(id)?)?;
            let saved = |component| state.components.get(component)?.components.get(id);
            of_module.connectors =
                Pipeline::restored(id, &self.config.connectors, saved(CONNECTORS))?;
            if !here.scalars.is_empty() {
                let saved = state.component(SCALARS)?.component(id)?;
                of_module.scalars = load_state_dict(&here.scalars, &saved.tensors)?;
            }
            if let Some(SavedObjective { kl_coeffs }) = &data.objective {
                if let Some(kl_coeff) = kl_coeffs.get(id) {
                    let state = State::from_data(&BTreeMap::from([("kl_coeff", kl_coeff)]))?;
                    of_module.loss.set_state(&state)?;
                }
            } else if let Some(SavedLoss { name, rng }) = data.losses.get(id) {
                check_name(id, name, of_module.loss.name())?;
                if let Some(state) = saved(LOSSES) {
                    of_module.loss.set_state(state)?;
                }
                of_module.rng = rng.clone();
            }
            all.insert(id.clone(), of_module);
        }
        Ok(all)
    }
}

/// Checks that a saved state is one of the loss that the learner has.
fn check_name(id: &str, saved: &str, here: &str) -> Result<()> {
    if saved == here {
        return Ok(());
    }
    let reason = format!(
        "it belongs to the {saved} loss, and the learner has the {here} loss; give the learner the same loss"
    );
    Err(LearnerError::InvalidState { component: format!("loss of module `{id}`"), reason })
}
