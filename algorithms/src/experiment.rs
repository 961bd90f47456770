//! An algorithm with its settings and the settings of the run, as one file.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use burn::prelude::Device;
use rekindle_checkpoint as checkpoint;
use rekindle_core::ConfigError;
use serde_json::{Map, Value, json};

use crate::config::toml::{self, difference, from_value, merge, to_value};
use crate::{
    Algorithm, AlgorithmError, AlgorithmSpec, Result, RunConfig, algorithm, saved_algorithm,
};

/// An algorithm with its settings and the settings of a run, as `rekindle train` reads them from a TOML file.
///
/// ```
/// use rekindle_algorithms::Experiment;
///
/// let mut experiment = Experiment::from_toml(
///     r#"
///     algorithm = "PPO"
///     [environment]
///     env = "CartPole-v1"
///     [training]
///     lr = 3e-4
///     [run]
///     max_env_steps = 100_000
///     "#,
/// )?;
/// experiment.set("training.minibatch_size=none")?;
/// experiment.validate()?;
/// assert!(experiment.set("training.lr_=3e-4").and_then(|()| experiment.validate()).is_err());
/// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Experiment {
    spec: AlgorithmSpec,
    /// The given settings of the algorithm, without defaults.
    settings: Value,
    /// The given settings of the run, without defaults.
    run: Value,
}

/// The key of the algorithm's name.
const ALGORITHM: &str = "algorithm";
/// The key of the run's settings.
const RUN: &str = "run";

impl Experiment {
    /// Creates an experiment with the defaults of the algorithm.
    ///
    /// # Errors
    /// [`AlgorithmError::UnknownAlgorithm`].
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self { spec: algorithm(name)?, settings: json!({}), run: json!({}) })
    }

    /// Reads an experiment from TOML. The key `algorithm` names the algorithm, the table `run` holds the settings of
    /// the run, and all other keys are settings of the algorithm.
    ///
    /// # Errors
    /// If the text is not TOML, or the algorithm is missing or unknown. [`validate`](Self::validate) checks the
    /// settings.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::from_data(toml::parse(text)?)
    }

    /// Creates an experiment from plain data, laid out as in a [file](Self::from_toml). Null stands for no value.
    ///
    /// # Errors
    /// If the algorithm is missing or unknown. [`validate`](Self::validate) checks the settings.
    pub fn from_data(data: Value) -> Result<Self> {
        let mut fields = match data {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let run = fields.remove(RUN).unwrap_or_else(|| json!({}));
        let name = match fields.remove(ALGORITHM) {
            Some(Value::String(name)) => name,
            other => {
                let value = other.map_or_else(|| "not set".into(), |value| value.to_string());
                let constraint = "a file of settings names its algorithm: algorithm = \"PPO\"";
                return Err(ConfigError::new(ALGORITHM, value, constraint).into());
            }
        };
        Ok(Self { spec: algorithm(&name)?, settings: Value::Object(fields), run })
    }

    /// Reads the settings of an algorithm from its checkpoint, with those that changed during training. The settings of
    /// the run are the defaults, because a checkpoint has none.
    ///
    /// # Errors
    /// If the checkpoint cannot be read, or is none of a known algorithm.
    pub fn of_checkpoint(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let data = checkpoint::read_data(path)?;
        Ok(Self { spec: saved_algorithm(path)?, settings: data["config"].clone(), run: json!({}) })
    }

    /// Reads the settings of a TOML file as plain data, without checking them: `"none"` and infinity are null.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigSyntax`] for text that is not TOML.
    pub fn data(text: &str) -> Result<Value> {
        toml::parse(text)
    }

    /// Reads an experiment from a file.
    ///
    /// # Errors
    /// If the file cannot be read; otherwise as [`from_toml`](Self::from_toml), with the name of the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| AlgorithmError::RunFolder {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let in_file =
            |error| AlgorithmError::InFile { path: path.to_owned(), source: Box::new(error) };
        let experiment = Self::from_toml(&text).map_err(in_file)?;
        experiment.check_types().map_err(in_file)?;
        Ok(experiment)
    }

    /// Changes a setting, as in `training.lr=3e-4`. The value is TOML, except that strings need no quotes. A whole
    /// number may have an exponent, as in `run.max_env_steps=1e6`. Indices change an element of a list, as in
    /// `training.epsilon[1][1]=0.05`.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigSyntax`] if `=` is missing, the name is malformed, or a list has no such element.
    /// [`validate`](Self::validate) checks whether the setting exists and the value fits.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, value)) = assignment.split_once('=') else {
            let reason = format!(
                "`{assignment}` is not a setting; write NAME=VALUE, as in training.lr=3e-4"
            );
            return Err(AlgorithmError::ConfigSyntax { reason });
        };
        let (key, indices) = split_indices(key.trim());
        let path = toml::parse_key(key)?;
        let value = value.trim();
        let value = match whole_number(value) {
            Some(number) => number.into(),
            // A value that is not TOML is a string without quotes.
            None => toml::parse_value(value).or_else(|_| toml::parse_value(&quoted(value)))?,
        };
        let value = match indices.is_empty() {
            true => value,
            false => self.with_element(&path, &indices, value)?,
        };
        self.set_at(&path, value)
    }

    /// Changes settings to those in plain data, as [`set`](Self::set) does one by one. The keys at the top may be names
    /// with dots. An object changes the settings that it names, and an object with a `type` replaces the present one.
    ///
    /// ```
    /// use rekindle_algorithms::Experiment;
    /// use serde_json::json;
    ///
    /// let mut experiment = Experiment::new("PPO")?;
    /// experiment.set_all(&json!({"training.lr": 3e-4, "environment": {"env": "CartPole-v1"}}))?;
    /// experiment.validate()?;
    /// assert_eq!(experiment.settings()?["training"]["lr"], 3e-4);
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigSyntax`] if a name is malformed, or the data are not an object.
    pub fn set_all(&mut self, settings: &Value) -> Result<()> {
        let Value::Object(fields) = settings else {
            let reason = format!("`{settings}` is not an object of settings");
            return Err(AlgorithmError::ConfigSyntax { reason });
        };
        fields.iter().try_for_each(|(key, value)| self.set_below(toml::parse_key(key)?, value))
    }

    fn set_below(&mut self, path: Vec<String>, value: &Value) -> Result<()> {
        match value {
            Value::Object(fields) if !fields.is_empty() && !fields.contains_key("type") => {
                fields.iter().try_for_each(|(key, value)| {
                    let mut path = path.clone();
                    path.push(key.clone());
                    self.set_below(path, value)
                })
            }
            value => self.set_at(&path, value.clone()),
        }
    }

    fn set_at(&mut self, path: &[String], value: Value) -> Result<()> {
        match path.split_first() {
            Some((first, rest)) if first == RUN => toml::set(&mut self.run, rest, value),
            _ => {
                self.fill_group_of(path)?;
                toml::set(&mut self.settings, path, value);
            }
        }
        Ok(())
    }

    /// Returns the list at a path with another element.
    fn with_element(&self, path: &[String], indices: &[usize], value: Value) -> Result<Value> {
        let all = match path.first() {
            Some(first) if first == RUN => json!({ RUN: to_value(&self.run()?)? }),
            _ => self.settings()?,
        };
        let mut list = at(&all, path).cloned().unwrap_or_default();
        let element = indices.iter().try_fold(&mut list, |list, index| list.get_mut(*index));
        let Some(element) = element else {
            let indices: String = indices.iter().map(|index| format!("[{index}]")).collect();
            let name = path.join(".");
            let reason = format!(
                "`{name}` has no element {indices}; it is {}",
                at(&all, path).unwrap_or(&Value::Null)
            );
            return Err(AlgorithmError::ConfigSyntax { reason });
        };
        *element = value;
        Ok(list)
    }

    /// Fills a group of settings within a section, such as `training.replay_buffer_config`, with the algorithm's values
    /// before one of the settings changes.
    fn fill_group_of(&mut self, path: &[String]) -> Result<()> {
        let Some((name, group)) = path.split_last().filter(|(_, group)| group.len() > 1) else {
            return Ok(());
        };
        // A group of another type has other settings, so the algorithm's values do not apply.
        if name == "type" || at(&self.settings, group).is_some_and(Value::is_object) {
            return Ok(());
        }
        let defaults = self.spec.defaults()?;
        if let Some(default) = at(&defaults, group).filter(|default| default.is_object()) {
            toml::set(&mut self.settings, group, default.clone());
        }
        Ok(())
    }

    /// Whether a setting of the algorithm is given, rather than its default: `fault_tolerance.sample_timeout_s`, for
    /// example.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigSyntax`] if the name is malformed.
    pub fn is_given(&self, name: &str) -> Result<bool> {
        Ok(at(&self.settings, &toml::parse_key(name)?).is_some())
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> &AlgorithmSpec {
        &self.spec
    }

    /// Returns the settings of the run.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] for unknown settings and wrong values.
    pub fn run(&self) -> Result<RunConfig> {
        from_value(&json!({ RUN: self.run }))
            .map(|Sections { run }| run)
            .map_err(|error| self.in_words(error))
    }

    /// Returns all settings of the algorithm, with defaults for those that are not given.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] for unknown settings and wrong values.
    pub fn settings(&self) -> Result<Value> {
        self.spec.complete(&self.settings).map_err(|error| self.in_words(error))
    }

    /// Returns the settings of the algorithm that differ from those of `before`, as plain data.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn changes_from(&self, before: &Self) -> Result<Value> {
        Ok(difference(&self.settings()?, &before.settings()?))
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// The first setting that is unknown or invalid.
    pub fn validate(&self) -> Result<()> {
        self.check_types()?;
        self.run()?.validate()?;
        self.spec.validate(&self.settings)
    }

    fn check_types(&self) -> Result<()> {
        self.run()?;
        self.settings().map(|_| ())
    }

    /// Returns the experiment as TOML, with all settings.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn to_toml(&self) -> Result<String> {
        toml::write(&self.to_data()?)
    }

    /// Returns the experiment as plain data, with all settings. [`from_data`](Self::from_data) reads it.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn to_data(&self) -> Result<Value> {
        let mut all = self.settings()?;
        merge(&mut all, &json!({ ALGORITHM: self.spec.name(), RUN: to_value(&self.run()?)? }));
        Ok(all)
    }

    /// Builds the algorithm.
    ///
    /// # Errors
    /// As [`AlgorithmSpec::build`].
    pub fn build(&self, device: &Device) -> Result<Algorithm> {
        self.spec.build(&self.settings, device)
    }

    /// Adds to an error about an unknown setting the sections that have a setting of this name.
    fn in_words(&self, error: AlgorithmError) -> AlgorithmError {
        let AlgorithmError::ConfigFormat(message) = &error else { return error };
        let message = message.to_string();
        let unknown =
            message.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
        let Some((name, _)) = unknown else { return error };
        let run = to_value(&RunConfig::default()).unwrap_or_default();
        let mut all = self.spec.defaults().unwrap_or_default();
        merge(&mut all, &json!({ RUN: run }));
        let mut found = Vec::new();
        find(&all, name, &mut Vec::new(), &mut found);
        match found.is_empty() {
            true => error,
            false => AlgorithmError::ConfigSection {
                name: name.to_owned(),
                sections: found
                    .iter()
                    .map(|path| format!("`{path}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                error: message,
            },
        }
    }
}

#[derive(serde::Deserialize)]
struct Sections {
    run: RunConfig,
}

/// Splits the indices of an element from the name of a list: `training.epsilon[1][0]`.
fn split_indices(key: &str) -> (&str, Vec<usize>) {
    let (mut name, mut indices) = (key, Vec::new());
    while let Some((rest, index)) = name.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        let Ok(index) = index.trim().parse() else { break };
        indices.insert(0, index);
        name = rest;
    }
    (name.trim_end(), indices)
}

/// Returns the value at the end of a path.
fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// Collects the paths of the settings with a name, at most two sections deep.
fn find<'a>(value: &'a Value, name: &str, path: &mut Vec<&'a str>, found: &mut Vec<String>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        path.push(key);
        if key == name {
            found.push(path.join("."));
        }
        if path.len() < 3 {
            find(value, name, path, found);
        }
        path.pop();
    }
}

/// Reads a whole number with an exponent, such as `1e6`, which TOML reads as a float.
fn whole_number(text: &str) -> Option<u64> {
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    let digits: u64 = digits.parse().ok()?;
    digits.checked_mul(10_u64.checked_pow(exponent.parse().ok()?)?)
}

/// Returns a string as TOML.
fn quoted(text: &str) -> String {
    // JSON's escapes are legal in TOML's basic strings, except for DEL, which JSON does not escape.
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
