//! Typed access to the options of environments.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{EnvError, Result};

/// The configuration of an environment: named values which its constructor understands.
///
/// ```
/// use rekindle_env::{EnvConfig, make_with};
///
/// let moon = make_with("Pendulum-v1", &EnvConfig::new().with("g", 1.62))?;
/// assert!(make_with("Pendulum-v1", &EnvConfig::new().with("gravity", 1.62)).is_err());
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvConfig(pub Map<String, Json>);

impl EnvConfig {
    /// No options: every value at its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option.
    #[must_use]
    pub fn with(mut self, option: impl Into<String>, value: impl Into<Json>) -> Self {
        self.0.insert(option.into(), value.into());
        self
    }

    /// The option as it is, if it was given.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&Json> {
        self.0.get(option)
    }

    /// The option as a number, if it was given.
    pub fn get_f64(&self, option: &str) -> Result<Option<f64>> {
        number(&self.0, option)
    }

    /// The option as an integer, if it was given.
    pub fn get_i64(&self, option: &str) -> Result<Option<i64>> {
        typed(&self.0, option, "an integer", Json::as_i64)
    }

    /// The option as a truth value, if it was given.
    pub fn get_bool(&self, option: &str) -> Result<Option<bool>> {
        typed(&self.0, option, "true or false", Json::as_bool)
    }

    /// The option as text, if it was given.
    pub fn get_str(&self, option: &str) -> Result<Option<&str>> {
        typed(&self.0, option, "a string", Json::as_str)
    }

    /// The same options except for some, which are not for the constructor they are handed on to.
    #[must_use]
    pub fn without(&self, options: &[&str]) -> Self {
        let mut rest = self.clone();
        rest.0.retain(|option, _| !options.contains(&option.as_str()));
        rest
    }

    /// Fails if an option was given which is not among `known`.
    ///
    /// A constructor calls this first, so that a mistyped option is never silently ignored.
    pub fn deny_unknown(&self, env: &str, known: &[&str]) -> Result<()> {
        deny_unknown(&self.0, env, known)
    }
}

pub(crate) fn number(options: &Map<String, Json>, option: &str) -> Result<Option<f64>> {
    typed(options, option, "a finite number", Json::as_f64)
}

pub(crate) fn deny_unknown(options: &Map<String, Json>, env: &str, known: &[&str]) -> Result<()> {
    match options.keys().find(|option| !known.contains(&option.as_str())) {
        None => Ok(()),
        Some(option) => Err(EnvError::UnknownOption {
            env: env.to_owned(),
            option: option.clone(),
            known: known.iter().map(|&option| option.to_owned()).collect(),
        }),
    }
}

pub(crate) fn typed<'a, T>(
    options: &'a Map<String, Json>,
    option: &str,
    expected: &str,
    read: impl FnOnce(&'a Json) -> Option<T>,
) -> Result<Option<T>> {
    let Some(value) = options.get(option) else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| EnvError::InvalidOption {
        option: option.to_owned(),
        expected: expected.to_owned(),
        found: value.to_string(),
    })
}

/// Fails unless `number` is a probability.
pub(crate) fn probability(option: &str, number: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&number) {
        return Ok(number);
    }
    Err(EnvError::InvalidOption {
        option: option.to_owned(),
        expected: "a probability between 0 and 1".to_owned(),
        found: number.to_string(),
    })
}
