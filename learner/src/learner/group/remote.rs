//! Learners in other processes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rekindle_checkpoint::{Array, Checkpointable, State};
use serde::{Deserialize, Serialize};

use super::{LearnerGroup, Others};
use crate::collective::{Collective, Fault};
use crate::error::{LearnerError, Result};
use crate::learner::Learner;
use crate::learner::member::Member;
use crate::learner::update::ModuleData;
use crate::learner::update::readings::RowHistory;
use crate::train_data::TrainData;

/// How the first learner of a group reaches those in other processes.
///
/// The learners add up gradients by a [`Collective`]. Beside it, the first learner sends the others what an update
/// begins with, and they answer with the values of their rows. Engines implement this trait.
pub trait RemoteLearners: Debug + Send {
    /// Returns the number of the other learners.
    fn len(&self) -> usize;

    /// Whether there are no other learners.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to each of the others, which pass it to [`Learner::serve`].
    ///
    /// # Errors
    /// If one of them cannot be reached.
    fn send(&mut self, message: &State) -> Result<(), Fault>;

    /// Waits for what [`Learner::serve`] returns on each of the others, in the order of the ranks.
    ///
    /// # Errors
    /// If one of them has failed.
    fn receive(&mut self) -> Result<Vec<State>, Fault>;
}

/// The plain part of the message that an update begins with.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    env_steps: u64,
}

/// The experience, by module.
const DATA: &str = "data";
/// The state of the first learner; modules and optimizers only if they have changed.
const LEARNER: &str = "learner";
/// Rows of the data, −1 for padding; their values; and the number of both for each minibatch and value.
const ROWS: &str = "rows";
const VALUES: &str = "values";
const COUNTS: &str = "counts";

/// Takes the steps of an update with learners in other processes. Returns the values of rows.
pub(super) fn learn(
    remote: &mut dyn RemoteLearners,
    first: &mut Learner,
    data: &ModuleData,
    env_steps: u64,
    renew: bool,
) -> Result<RowHistory> {
    let mut message = State::from_data(&Begin { env_steps })?;
    let mut of_modules = State::new();
    for (id, data) in data {
        of_modules.insert_component(id.clone(), data.get_state()?);
    }
    message.insert_component(DATA, of_modules);
    let learner = if renew { first.get_state()? } else { first.state_of_losses()? };
    message.insert_component(LEARNER, learner);
    remote.send(&message)?;
    let mut history = match first.learn_as_member(data, env_steps, false) {
        Ok(history) => history,
        Err(error) => {
            if let Some(member) = &mut first.member {
                member.collective.abort(&error.to_string());
            }
            return Err(error);
        }
    };
    for (index, answer) in remote.receive()?.iter().enumerate() {
        add_rows(&mut history, answer).map_err(|error| super::other(index + 1, error))?;
    }
    Ok(history)
}

/// Returns the values of rows as a message.
fn rows_of(history: &RowHistory) -> Result<State> {
    let (mut rows, mut values, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for of_rows in history.iter().flatten() {
        rows.extend(of_rows.rows.iter().map(|row| row.map_or(-1, |row| row as i64)));
        values.extend_from_slice(&of_rows.values);
        counts.push(of_rows.values.len() as i64);
    }
    let mut message = State::new();
    message.insert_tensor(ROWS, Array::from(rows));
    message.insert_tensor(VALUES, Array::from(values));
    message.insert_tensor(COUNTS, Array::from(counts));
    Ok(message)
}

/// Adds the values of rows in a message to those of another learner, which has the same ones in the same order.
fn add_rows(history: &mut RowHistory, message: &State) -> Result<()> {
    let mut rows = message.tensor(ROWS)?.as_slice::<i64>()?.iter();
    let mut values = message.tensor(VALUES)?.as_slice::<f32>()?.iter();
    let counts = message.tensor(COUNTS)?.as_slice::<i64>()?;
    for (of_rows, count) in history.iter_mut().flatten().zip(counts) {
        let count = usize::try_from(*count).unwrap_or(0);
        of_rows.rows.extend(rows.by_ref().take(count).map(|row| usize::try_from(*row).ok()));
        of_rows.values.extend(values.by_ref().take(count));
        if of_rows.rows.len() != of_rows.values.len() {
            let reason = "an answer has other rows than values".into();
            return Err(LearnerError::InvalidState { component: "learner".into(), reason });
        }
    }
    Ok(())
}

impl Learner {
    /// Makes this learner the first of a group whose other learners are in other processes. `collective` connects it
    /// with them, and has rank 0.
    ///
    /// # Errors
    /// [`LearnerError::NotShared`] for a loss whose minibatches cannot be divided.
    pub fn lead(
        &mut self,
        collective: Box<dyn Collective>,
        remote: Box<dyn RemoteLearners>,
    ) -> Result<()> {
        self.check_losses_shared()?;
        self.member = Some(Member::new(collective));
        self.group = Some(LearnerGroup::new(Others::Remote(remote)));
        Ok(())
    }

    /// Makes this learner one of the others of a group. It has the same settings, losses and modules as the first one.
    /// It learns by [`serve`](Self::serve) alone.
    ///
    /// # Errors
    /// [`LearnerError::NotShared`] for a loss whose minibatches cannot be divided.
    pub fn join(&mut self, collective: Box<dyn Collective>) -> Result<()> {
        self.check_losses_shared()?;
        self.group = None;
        self.member = Some(Member::new(collective));
        Ok(())
    }

    /// Takes a share in an update of the first learner. Returns the answer for it.
    ///
    /// # Errors
    /// If the message does not fit this learner, or a step fails. The other learners wait for this one, so call
    /// [`Collective::abort`] then.
    pub fn serve(&mut self, message: &State) -> Result<State> {
        let Begin { env_steps } = message.data_as()?;
        self.set_parts(message.component(LEARNER)?)?;
        let mut data = BTreeMap::new();
        for (id, state) in &message.component(DATA)?.components {
            data.insert(id.clone(), TrainData::from_state(state)?);
        }
        rows_of(&self.learn_minibatches(&data, env_steps)?)
    }
}
