//! Conversion of panics in losses and learner connectors into errors.

use rekindle_core::panics::caught;

use crate::connector::LearnerConnector;
use crate::error::{LearnerError, Result};
use crate::loss::Loss;

/// Runs a method of a loss for module `id`, and converts a panic into an error that names all three. Burn's
/// operations panic if shapes do not match, the most frequent mistake in a loss.
///
/// # Errors
/// The error of the method, or [`LearnerError::Panicked`].
pub(crate) fn guard_loss<T>(
    loss: &mut dyn Loss,
    id: &str,
    method: &'static str,
    run: impl FnOnce(&mut dyn Loss) -> Result<T>,
) -> Result<T> {
    let done = caught(|| run(loss));
    done.unwrap_or_else(|message| {
        let (id, of) = (id.into(), format!("{} loss", loss.name()));
        Err(LearnerError::Panicked { id, method, of, message })
    })
}

/// Runs a method of a learner connector, as [`guard_loss`] does.
///
/// # Errors
/// The error of the method, or [`LearnerError::Panicked`].
pub(crate) fn guard_connector<T>(
    connector: &mut dyn LearnerConnector,
    [id, name]: [&str; 2],
    method: &'static str,
    run: impl FnOnce(&mut dyn LearnerConnector) -> Result<T>,
) -> Result<T> {
    let done = caught(|| run(connector));
    done.unwrap_or_else(|message| {
        let (id, of) = (id.into(), format!("learner connector `{name}`"));
        Err(LearnerError::Panicked { id, method, of, message })
    })
}
