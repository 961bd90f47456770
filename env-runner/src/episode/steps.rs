//! Appending what happens in the environment.

use rekindle_env::{Buffer, Row};

use super::columns::EpisodeColumns;
use super::{EpisodeError, SingleAgentEpisode};

impl SingleAgentEpisode {
    /// Adds the first observation, as returned by the environment's reset.
    ///
    /// # Errors
    /// If there is one already, or it does not fit the observation space.
    pub fn add_env_reset(&mut self, observation: Row<'_>) -> Result<(), EpisodeError> {
        if self.is_reset() {
            return Err(EpisodeError::AlreadyReset { id: self.id().to_owned() });
        }
        Ok(self.columns.observations.push(observation)?)
    }

    /// Adds one step: `action` was chosen on the last observation and led to `reward` and
    /// `observation`.
    ///
    /// `extra_model_outputs` is what else the module computed for the action, such as
    /// `action_logp`. The first step decides on the names and sizes: one number becomes a row of
    /// shape `[]`, `n` numbers one of shape `[n]`.
    ///
    /// # Errors
    /// If the episode is not reset or over, or the data does not fit the spaces or the steps
    /// before. The episode is then unchanged.
    pub fn add_env_step(
        &mut self,
        observation: Row<'_>,
        action: Row<'_>,
        reward: f64,
        terminated: bool,
        truncated: bool,
        extra_model_outputs: &[(&str, &[f32])],
    ) -> Result<(), EpisodeError> {
        self.check_ongoing()?;
        self.columns.append(|columns| {
            columns.push_extras(extra_model_outputs)?;
            columns.observations.push(observation)?;
            columns.actions.push(action)?;
            columns.rewards.push(reward);
            Ok(())
        })?;
        self.columns.is_terminated = terminated;
        self.columns.is_truncated = truncated;
        Ok(())
    }

    /// Fails unless another step may follow.
    pub(super) fn check_ongoing(&self) -> Result<(), EpisodeError> {
        self.check_reset()?;
        if self.is_done() {
            return Err(EpisodeError::Done {
                id: self.id().to_owned(),
                t: self.t(),
                terminated: self.is_terminated(),
                truncated: self.is_truncated(),
            });
        }
        Ok(())
    }

    pub(super) fn check_reset(&self) -> Result<(), EpisodeError> {
        if self.is_reset() {
            Ok(())
        } else {
            Err(EpisodeError::NotReset { id: self.id().to_owned() })
        }
    }
}

impl EpisodeColumns {
    fn push_extras(&mut self, extras: &[(&str, &[f32])]) -> Result<(), EpisodeError> {
        if self.is_open_to_extras() {
            for (key, numbers) in extras {
                let shape = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
                let column = Buffer::from_f32(Vec::new(), &shape)?;
                self.extra_model_outputs.insert((*key).to_owned(), column);
            }
        }
        self.check_extra_keys(extras.iter().map(|(key, _)| *key))?;
        for (key, numbers) in extras {
            if let Some(column) = self.extra_model_outputs.get_mut(*key) {
                column.extend_zeros(1);
                column.row_mut(column.rows() - 1).write_f32(numbers)?;
            }
        }
        Ok(())
    }
}
