//! The open form of an episode.

use std::collections::BTreeMap;

use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use super::EpisodeError;
use super::id::unique_id;
use super::reward;

/// The unchecked parts of an episode.
///
/// [`SingleAgentEpisode::from_columns`](super::SingleAgentEpisode::from_columns) turns it into an
/// episode, [`into_columns`](super::SingleAgentEpisode::into_columns) takes one apart; neither
/// copies data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeColumns {
    /// The id, which all pieces of an episode share.
    pub id: String,
    /// The agent that acted.
    // A plain `Option` would read as `None` where a damaged state lacks the field.
    #[serde(deserialize_with = "Option::deserialize")]
    pub agent_id: Option<String>,
    /// The module that chose the actions.
    #[serde(deserialize_with = "Option::deserialize")]
    pub module_id: Option<String>,
    /// Observations: one more than there are steps, or none before the reset.
    pub observations: Buffer,
    /// Actions, one per step.
    pub actions: Buffer,
    /// Rewards, one per step.
    #[serde(with = "reward")]
    pub rewards: Vec<f64>,
    /// Other outputs of the module by column name, one row per step.
    pub extra_model_outputs: BTreeMap<String, Buffer>,
    /// Number of steps of look-back at the start.
    pub len_lookback: usize,
    /// The time step of the first observation after the look-back.
    pub t_started: usize,
    /// Whether the last step led to a terminal state.
    pub is_terminated: bool,
    /// Whether the episode was truncated after the last step.
    pub is_truncated: bool,
}

impl EpisodeColumns {
    /// Creates an unfinished episode from t = 0, without look-back and extra model outputs, under
    /// an id of its own.
    #[must_use]
    pub fn new(observations: Buffer, actions: Buffer, rewards: Vec<f64>) -> Self {
        Self {
            id: unique_id(),
            agent_id: None,
            module_id: None,
            observations,
            actions,
            rewards,
            extra_model_outputs: BTreeMap::new(),
            len_lookback: 0,
            t_started: 0,
            is_terminated: false,
            is_truncated: false,
        }
    }

    /// Returns the number of steps, including the look-back.
    pub(super) fn steps(&self) -> usize {
        self.rewards.len()
    }

    /// Whether all columns are of one length and the look-back lies within them.
    pub(super) fn check(&self) -> Result<(), EpisodeError> {
        let steps = self.steps();
        let is_reset = !self.observations.is_empty();
        let observations = if is_reset || steps > 0 { steps + 1 } else { 0 };
        check_rows("observations", &self.observations, observations)?;
        check_rows("actions", &self.actions, steps)?;
        self.extra_model_outputs
            .iter()
            .try_for_each(|(key, column)| check_rows(key, column, steps))?;
        if self.len_lookback > steps {
            return Err(EpisodeError::LookbackTooLong { len_lookback: self.len_lookback, steps });
        }
        if !is_reset && (self.is_terminated || self.is_truncated) {
            return Err(EpisodeError::DoneWithoutData);
        }
        Ok(())
    }

    /// Appends steps, all or nothing: where `append` fails, its work is undone.
    pub(super) fn append(
        &mut self,
        append: impl FnOnce(&mut Self) -> Result<(), EpisodeError>,
    ) -> Result<(), EpisodeError> {
        let steps = self.steps();
        let had_extras = !self.extra_model_outputs.is_empty();
        append(self).inspect_err(|_| {
            self.observations.truncate(steps + 1);
            self.actions.truncate(steps);
            self.rewards.truncate(steps);
            self.extra_model_outputs.values_mut().for_each(|column| column.truncate(steps));
            if !had_extras {
                self.extra_model_outputs.clear();
            }
        })
    }

    /// Whether the next step may bring any extra model outputs, because there is none before it.
    pub(super) fn is_open_to_extras(&self) -> bool {
        self.steps() == 0 && self.extra_model_outputs.is_empty()
    }

    /// Fails unless `keys`, which do not repeat or are too many, are the extra model outputs.
    pub(super) fn check_extra_keys<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a str> + Clone,
    ) -> Result<(), EpisodeError> {
        let expected = &self.extra_model_outputs;
        // Equal in number, and ours are all among them: then none is missing or repeated.
        if keys.len() == expected.len()
            && expected.keys().all(|ours| keys.clone().any(|key| key == ours))
        {
            return Ok(());
        }
        Err(EpisodeError::ExtraKeys {
            expected: expected.keys().cloned().collect(),
            found: keys.map(str::to_owned).collect(),
        })
    }

    pub(super) fn extra(&self, key: &str) -> Result<&Buffer, EpisodeError> {
        self.extra_model_outputs.get(key).ok_or_else(|| self.unknown_extra(key))
    }

    pub(super) fn unknown_extra(&self, key: &str) -> EpisodeError {
        let available = self.extra_model_outputs.keys().cloned().collect();
        EpisodeError::UnknownExtra { key: key.to_owned(), available }
    }
}

/// Fails unless `column` has `expected` rows.
pub(super) fn check_rows(name: &str, column: &Buffer, expected: usize) -> Result<(), EpisodeError> {
    match column.rows() {
        found if found == expected => Ok(()),
        found => Err(EpisodeError::RowCount { column: name.to_owned(), expected, found }),
    }
}
