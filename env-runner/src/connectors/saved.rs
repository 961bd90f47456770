//! States and memories of connectors as JSON.

use rekindle_checkpoint::{from_value, to_value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Result, RunnerError};

/// Converts a learned state or episode state to JSON, for [`get_state`](super::Connector::get_state) and
/// [`get_memory`](super::Connector::get_memory).
///
/// NaN and infinities are kept ([`rekindle_checkpoint::to_value`]).
///
/// # Errors
/// [`RunnerError::InvalidState`] if JSON cannot hold the value, for example a map whose keys are not text.
pub fn save_state<T: Serialize>(state: &T) -> Result<Value> {
    to_value(state).map_err(|error| invalid("connector", error.to_string()))
}

/// Reads what [`save_state`] wrote, for a connector of this name.
///
/// # Errors
/// [`RunnerError::InvalidState`] if the value does not describe a `T`.
pub fn load_state<T: DeserializeOwned>(connector: &'static str, state: &Value) -> Result<T> {
    from_value(state).map_err(|error| invalid(connector, error.to_string()))
}

/// Builds the error for a state that does not fit.
pub(super) fn invalid(connector: &'static str, reason: impl Into<String>) -> RunnerError {
    RunnerError::InvalidState { component: connector, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_survive() {
        let state = (1.0, f64::NEG_INFINITY);
        let saved = save_state(&state).unwrap();
        assert_eq!(load_state::<(f64, f64)>("Test", &saved).unwrap(), state);
        assert!(load_state::<(f64, f64, f64)>("Test", &saved).is_err());
    }
}
