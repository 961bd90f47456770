//! Options of environments, with typed access.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::{EnvError, Result};

/// The configuration of an environment: named values for its constructor.
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
    /// Creates a configuration without options, which leaves every value at its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option.
    ///
    /// JSON has no infinity and no NaN: such a number becomes null, which is not a number for
    /// [`get_f64`](Self::get_f64).
    #[must_use]
    pub fn with(mut self, option: impl Into<String>, value: impl Into<Json>) -> Self {
        self.0.insert(option.into(), value.into());
        self
    }

    /// Returns the option as JSON, if it is set.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&Json> {
        self.0.get(option)
    }

    /// Returns the option as a number, if it is set.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is not a number.
    pub fn get_f64(&self, option: &str) -> Result<Option<f64>> {
        number(&self.0, option)
    }

    /// Returns the option as an integer, if it is set.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is not an integer.
    pub fn get_i64(&self, option: &str) -> Result<Option<i64>> {
        typed(&self.0, option, "an integer", Json::as_i64)
    }

    /// Returns the option as a Boolean, if it is set.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is neither `true` nor `false`.
    pub fn get_bool(&self, option: &str) -> Result<Option<bool>> {
        typed(&self.0, option, "true or false", Json::as_bool)
    }

    /// Returns the option as text, if it is set.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is not a string.
    pub fn get_str(&self, option: &str) -> Result<Option<&str>> {
        typed(&self.0, option, "a string", Json::as_str)
    }

    /// Returns the options without those named, for example to pass the rest on to the constructor
    /// of a wrapped environment.
    #[must_use]
    pub fn without(&self, options: &[&str]) -> Self {
        let mut rest = self.clone();
        rest.0.retain(|option, _| !options.contains(&option.as_str()));
        rest
    }

    /// Checks that all options that are set are among `known`.
    ///
    /// Constructors call this first, so that no mistyped option is ignored.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownOption`] with the name of the environment `env`.
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
        found: match value.is_null() && expected.ends_with("number") {
            true => "null, which an infinity and a NaN become in JSON".to_owned(),
            false => value.to_string(),
        },
    })
}

/// Returns `number` if it is a probability.
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
