//! States and memories of connectors as JSON.

use rekindle_checkpoint::State;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Result, RunnerError};

/// Converts a state or memory to JSON, for [`get_state`](super::Connector::get_state) and
/// [`get_memory`](super::Connector::get_memory).
///
/// # Errors
/// If it holds a NaN or an infinity, which JSON would turn into `null`.
pub fn save_state<T: Serialize>(state: &T) -> Result<Value> {
    Ok(State::from_data(state)?.data)
}

/// Reads what [`save_state`] wrote, for a connector of this name.
///
/// # Errors
/// [`RunnerError::InvalidState`] if the value does not describe a `T`.
pub fn load_state<T: DeserializeOwned>(connector: &'static str, state: &Value) -> Result<T> {
    T::deserialize(state).map_err(|error| invalid(connector, error.to_string()))
}

/// Builds the error for a state that does not fit.
pub(super) fn invalid(connector: &'static str, reason: impl Into<String>) -> RunnerError {
    RunnerError::InvalidState { component: connector, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_are_refused_instead_of_becoming_null() {
        let error = save_state(&(1.0, f64::NEG_INFINITY)).unwrap_err().to_string();
        assert!(error.contains("-inf"), "{error}");
        assert_eq!(save_state(&(1.0, 2.0)).unwrap(), serde_json::json!([1.0, 2.0]));
    }
}
