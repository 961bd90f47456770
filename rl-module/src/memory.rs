//! The recurrent states of a policy and of its critics.

use burn::prelude::Tensor;
use rekindle_catalog::{BoxEncoder, Critics, PolicyHead};
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Buffer;

use crate::error::{ModuleError, Result};

/// The key of the state of the policy, where critics have states of their own.
pub(crate) const ACTOR: &str = "actor";
/// The key of the state of the critics.
pub(crate) const CRITIC: &str = "critic";

/// The message for a module in which only one of two encoders is recurrent.
pub(crate) const ONE_IS_RECURRENT: &str = "only one of the encoders of an actor-critic is recurrent; make both recurrent or neither, or let the two share one encoder";

/// The recurrent encoders of a module with critics of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// No encoder is recurrent.
    None,
    /// The policy's encoder is recurrent, and there are no critics.
    Policy,
    /// The encoders of policy and critics are recurrent. The state is a Dict of both states.
    Both,
}

impl Memory {
    /// Returns which encoders are recurrent.
    ///
    /// # Errors
    /// [`ModuleError::Mismatch`] if only one of two encoders is.
    pub(crate) fn of(encoder: &BoxEncoder, critics: Option<&Critics>) -> Result<Self> {
        let policy = encoder.initial_state()?.is_some();
        let critics = critics.map(|critics| Ok::<_, ModuleError>(critics.initial_state()?));
        match (policy, critics.transpose()?) {
            (false, None | Some(None)) => Ok(Self::None),
            (true, None) => Ok(Self::Policy),
            (true, Some(Some(_))) => Ok(Self::Both),
            _ => Err(ModuleError::Mismatch(ONE_IS_RECURRENT.into())),
        }
    }

    /// Returns the state before the first step of an episode.
    ///
    /// # Errors
    /// If a state cannot be created.
    pub(crate) fn initial_state(
        self,
        encoder: &BoxEncoder,
        critics: Option<&Critics>,
    ) -> Result<Option<Buffer>> {
        let policy = encoder.initial_state()?;
        match (self, policy, critics) {
            (Self::Both, Some(policy), Some(critics)) => {
                let critics = critics.initial_state()?.map(|critics| (CRITIC, critics));
                let parts = [(ACTOR, policy)].into_iter().chain(critics);
                Ok(Some(Buffer::from_dict(parts)?))
            }
            (_, policy, _) => Ok(policy),
        }
    }

    /// Returns the state from which the policy runs over a batch; `None` without memory.
    ///
    /// # Errors
    /// If the batch has no such state.
    pub(crate) fn of_policy(self, batch: &Batch) -> Result<Option<&Column>> {
        Ok(match self {
            Self::None => None,
            Self::Policy => Some(batch.column(Columns::STATE_IN)?),
            Self::Both => Some(batch.nested(Columns::STATE_IN)?.column(ACTOR)?),
        })
    }

    /// Returns the state from which critics run over a batch; `None` without memory.
    ///
    /// # Errors
    /// If the batch has no such state.
    pub(crate) fn of_critics(self, batch: &Batch) -> Result<Option<&Column>> {
        Ok(match self {
            Self::None | Self::Policy => None,
            Self::Both => Some(batch.nested(Columns::STATE_IN)?.column(CRITIC)?),
        })
    }

    /// Returns the state of the module after a batch, from those of policy and critics.
    pub(crate) fn joined(policy: Column, critics: Option<Column>) -> Column {
        match critics {
            None => policy,
            Some(critics) => Batch::new().with(ACTOR, policy).with(CRITIC, critics).into(),
        }
    }

    /// Adds the state after a batch to the outputs of a policy, if it has one. With `critics`, these run over the
    /// batch, too; without, their state is the one before it.
    ///
    /// # Errors
    /// If the batch has no state, or the critics' encoder fails.
    pub(crate) fn insert_after(
        self,
        outputs: &mut Batch,
        batch: &Batch,
        policy: Option<Column>,
        critics: Option<(&Critics, &Column)>,
    ) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let after = match (self.of_critics(batch)?, critics) {
            (Some(state), Some((critics, seen))) => Some(critics.next_state(seen, state)?),
            (state, _) => state.cloned(),
        };
        outputs.insert(Columns::STATE_OUT, Self::joined(policy, after));
        Ok(())
    }
}

/// Computes the features of a policy's encoder, and the state after the observations if there was one before.
///
/// # Errors
/// The errors of the encoder.
pub(crate) fn policy_features(
    encoder: &BoxEncoder,
    seen: &Column,
    state: Option<&Column>,
) -> Result<(Tensor<2>, Option<Column>)> {
    Ok(match state {
        None => (encoder.forward(seen)?, None),
        Some(state) => {
            let (features, after) = encoder.forward_recurrent(seen, state)?;
            (features, Some(after))
        }
    })
}

/// Computes the outputs of a policy's head, and the state after the observations if there was one before.
///
/// # Errors
/// The errors of the encoder.
pub(crate) fn policy_outputs(
    encoder: &BoxEncoder,
    pi: &PolicyHead,
    seen: &Column,
    state: Option<&Column>,
) -> Result<(Tensor<2>, Option<Column>)> {
    Ok(match state {
        None => (pi.forward_from(&**encoder, seen)?, None),
        Some(state) => {
            let (features, after) = encoder.forward_recurrent(seen, state)?;
            (pi.forward(features), Some(after))
        }
    })
}
