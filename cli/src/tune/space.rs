//! Search spaces.

use std::path::Path;

use rekindle::algorithms::Experiment;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{CliError, Result};

/// The search spaces that the program contains, by algorithm.
const SPACES: [(&str, &str); 7] = [
    ("A2C", include_str!("spaces/a2c.toml")),
    ("DDPG", include_str!("spaces/ddpg.toml")),
    ("DQN", include_str!("spaces/dqn.toml")),
    ("PPO", include_str!("spaces/ppo.toml")),
    ("SAC", include_str!("spaces/sac.toml")),
    ("TD3", include_str!("spaces/td3.toml")),
    ("TQC", include_str!("spaces/tqc.toml")),
];

/// The start of the name of a parameter that is 1 minus its setting.
const ONE_MINUS: &str = "1 - ";

/// The settings that are searched, sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Space(pub(super) Vec<Dimension>);

/// A setting that is searched, or several that have one value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dimension {
    /// Name of the parameter in the study.
    pub(super) name: String,
    settings: Vec<String>,
    pub(super) kind: Kind,
    /// Whether the setting is 1 minus the value.
    one_minus: bool,
    /// Whether the setting is the value times the environment steps of a run.
    of_steps: bool,
}

/// The values of a dimension. A value is a number: an element of the range, or the index of a choice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// One of some values.
    Choices(Vec<Value>),
    /// A number between two bounds.
    Range {
        low: f64,
        high: f64,
        /// Whether the logarithm is searched.
        log: bool,
        /// Whether numbers are whole.
        integer: bool,
    },
}

/// A dimension in a file: a list of choices, or a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    choices: Option<Vec<Value>>,
    low: Option<f64>,
    high: Option<f64>,
    #[serde(default)]
    log: bool,
    #[serde(default)]
    integer: bool,
    #[serde(default)]
    one_minus: bool,
    #[serde(default)]
    of_steps: bool,
    settings: Option<Vec<String>>,
}

impl Space {
    /// Returns the search space of an algorithm, as TOML.
    pub(super) fn default_of(algorithm: &str) -> Result<&'static str> {
        let found = SPACES.iter().find(|(name, _)| *name == algorithm);
        found.map(|(_, text)| *text).ok_or_else(|| {
            let known: Vec<_> = SPACES.iter().map(|(name, _)| *name).collect();
            CliError::Usage(format!(
                "{algorithm} has no default search space; pass one with --space FILE (defaults exist for {})",
                known.join(", ")
            ))
        })
    }

    /// Reads a search space from TOML.
    pub(super) fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let refuse = |reason: String| CliError::Usage(format!("{origin}: {reason}"));
        let data = Experiment::data(text).map_err(|error| refuse(error.to_string()))?;
        let Value::Object(fields) = data else {
            return Err(refuse("it is not a table".into()));
        };
        let fields: Vec<_> = fields.into_iter().collect();
        if fields.is_empty() {
            return Err(refuse("it names no setting".into()));
        }
        let dimensions = fields.into_iter().map(|(name, value)| {
            Dimension::new(&name, value).map_err(|reason| refuse(format!("`{name}`: {reason}")))
        });
        Ok(Self(dimensions.collect::<Result<_>>()?))
    }

    /// Reads a search space from a file.
    pub(super) fn read(path: &Path) -> Result<String> {
        std::fs::read_to_string(path).map_err(CliError::io("read", path))
    }

    /// Checks that the experiment has every setting of the space.
    pub(super) fn check(&self, experiment: &Experiment) -> Result<()> {
        for dimension in &self.0 {
            let mut probe = experiment.clone();
            dimension.apply(0.0_f64.max(dimension.lowest()), &mut probe)?;
            probe.settings().map_err(|error| {
                CliError::Usage(format!("`{}` of the search space: {error}", dimension.name))
            })?;
        }
        Ok(())
    }
}

impl Dimension {
    fn new(name: &str, value: Value) -> std::result::Result<Self, String> {
        let form =
            "write a list of choices, or a table such as { low = 1e-5, high = 1e-3, log = true }";
        let table: Table = match value {
            Value::Array(choices) => Table {
                choices: Some(choices),
                low: None,
                high: None,
                log: false,
                integer: false,
                one_minus: false,
                of_steps: false,
                settings: None,
            },
            table => serde_json::from_value(table).map_err(|error| format!("{error}; {form}"))?,
        };
        let kind = match (table.choices, table.low, table.high) {
            (Some(choices), None, None) if !choices.is_empty() => Kind::Choices(choices),
            (None, Some(low), Some(high)) if low < high && (!table.log || low > 0.0) => {
                Kind::Range { low, high, log: table.log, integer: table.integer }
            }
            (None, Some(low), Some(high)) => {
                let reason = "low must be less than high, and above 0 with log";
                return Err(format!("low is {low} and high is {high}; {reason}"));
            }
            _ => return Err(form.into()),
        };
        if table.one_minus && !matches!(kind, Kind::Range { integer: false, .. }) {
            return Err("one_minus needs a range of fractions".into());
        }
        if table.of_steps
            && (table.one_minus || !matches!(kind, Kind::Range { integer: false, .. }))
        {
            return Err("of_steps needs a range of fractions, without one_minus".into());
        }
        let settings = table.settings.unwrap_or_else(|| vec![name.to_owned()]);
        let name = if table.one_minus { format!("{ONE_MINUS}{name}") } else { name.to_owned() };
        let Table { one_minus, of_steps, .. } = table;
        Ok(Self { name, settings, kind, one_minus, of_steps })
    }

    fn lowest(&self) -> f64 {
        match self.kind {
            Kind::Choices(_) => 0.0,
            Kind::Range { low, .. } => low,
        }
    }

    /// Returns the value of the settings as text.
    pub(super) fn text(&self, value: f64) -> String {
        match &self.kind {
            Kind::Choices(choices) => match choices.get(value as usize) {
                None | Some(Value::Null) => "none".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            },
            Kind::Range { integer: true, .. } => format!("{}", value as i64),
            Kind::Range { .. } if self.one_minus => format!("{:?}", 1.0 - value),
            Kind::Range { .. } => format!("{value:?}"),
        }
    }

    /// Returns the name of what [`rounded`](Self::rounded) returns.
    pub(super) fn label(&self) -> &str {
        let name = self.name.strip_prefix(ONE_MINUS).filter(|_| self.one_minus);
        name.unwrap_or(&self.name).trim_start_matches("training.")
    }

    /// Returns the value of the settings as text with five digits, for people.
    pub(super) fn rounded(&self, value: f64) -> String {
        match self.kind {
            Kind::Range { integer: false, .. } => {
                let value = if self.one_minus { 1.0 - value } else { value };
                let magnitude = value.abs().log10().floor();
                match (-4.0..=4.0).contains(&magnitude) {
                    true => format!("{value:.*}", (4.0 - magnitude) as usize),
                    false => format!("{value:.4e}"),
                }
            }
            _ => self.text(value),
        }
    }

    /// Sets the settings to a value.
    pub(super) fn apply(&self, value: f64, experiment: &mut Experiment) -> Result<()> {
        let text = match self.of_steps {
            true => {
                let steps = experiment.run()?.max_env_steps.unwrap_or_default();
                // A schedule has no two points at one step.
                ((value * steps as f64).round() as u64).max(1).to_string()
            }
            false => self.text(value),
        };
        for setting in &self.settings {
            experiment.set(&format!("{setting}={text}"))?;
        }
        Ok(())
    }

    /// Returns the description of the values in an Optuna journal.
    pub(super) fn distribution(&self) -> Value {
        match &self.kind {
            Kind::Choices(choices) => {
                // Optuna's choices are numbers and texts.
                let choices = choices.iter().enumerate().map(|(index, choice)| match choice {
                    Value::Number(_) | Value::Bool(_) => choice.clone(),
                    _ => self.text(index as f64).into(),
                });
                let attributes = json!({ "choices": choices.collect::<Vec<_>>() });
                json!({ "name": "CategoricalDistribution", "attributes": attributes })
            }
            Kind::Range { low, high, log, integer } => {
                let (mut attributes, log) = (Map::new(), Value::from(*log));
                attributes.insert("log".into(), log);
                let (name, step, bounds) = match integer {
                    true => {
                        let bounds = [json!(*low as i64), json!(*high as i64)];
                        ("IntDistribution", json!(1), bounds)
                    }
                    false => ("FloatDistribution", Value::Null, [json!(low), json!(high)]),
                };
                let [low, high] = bounds;
                attributes.insert("step".into(), step);
                attributes.insert("low".into(), low);
                attributes.insert("high".into(), high);
                json!({ "name": name, "attributes": attributes })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Space {
        Space::from_toml(text, "space").unwrap()
    }

    #[test]
    fn values_become_settings() {
        let space = space(
            r#"
            "training.gamma" = { low = 1e-4, high = 0.03, log = true, one_minus = true }
            "model_config.fcnet_hiddens" = [[64], [64, 64]]
            "training.num_epochs" = { low = 1, high = 9, integer = true }
            "training.minibatch_size" = ["none", 32]
            "#,
        );
        let text = |name: &str, value| {
            let dimension = space.0.iter().find(|d| d.name == name).unwrap();
            let mut experiment = Experiment::new("PPO").unwrap();
            dimension.apply(value, &mut experiment).unwrap();
            experiment.settings().unwrap();
            dimension.text(value)
        };
        assert_eq!(text("1 - training.gamma", 0.25), "0.75");
        assert_eq!(text("model_config.fcnet_hiddens", 1.0), "[64,64]");
        assert_eq!(text("training.num_epochs", 3.0), "3");
        assert_eq!(text("training.minibatch_size", 0.0), "none");
        let shown = |name: &str, value| {
            let dimension = space.0.iter().find(|d| d.name == name).unwrap();
            format!("{}={}", dimension.label(), dimension.rounded(value))
        };
        assert_eq!(shown("1 - training.gamma", 0.000_146_04), "gamma=0.99985");
        assert_eq!(shown("1 - training.gamma", 1.0 - 1.440_269e-8), "gamma=1.4403e-8");
        assert_eq!(shown("training.num_epochs", 3.0), "num_epochs=3");
    }

    #[test]
    fn a_part_of_the_run_becomes_a_point_of_a_schedule() {
        let space = Space::from_toml(Space::default_of("DQN").unwrap(), "space").unwrap();
        let mut experiment = Experiment::new("DQN").unwrap();
        experiment.set("run.max_env_steps=20000").unwrap();
        for (name, value) in [("exploration_fraction", 0.25), ("exploration_final_eps", 0.125)] {
            let dimension = space.0.iter().find(|d| d.name == name).unwrap();
            dimension.apply(value, &mut experiment).unwrap();
        }
        let settings = experiment.settings().unwrap();
        assert_eq!(settings["training"]["epsilon"], json!([[0, 1.0], [5000, 0.125]]));
    }

    #[test]
    fn every_algorithm_has_the_settings_of_its_space() {
        for (algorithm, text) in SPACES {
            let experiment = Experiment::new(algorithm).unwrap();
            space(text).check(&experiment).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        }
    }

    #[test]
    fn a_dimension_of_another_form_is_answered_with_the_form_that_is_expected() {
        for (text, part) in [
            ("\"training.lr\" = 3", "write a list of choices, or a table"),
            ("\"training.lr\" = { low = 1 }", "write a list of choices, or a table"),
            ("\"training.lr\" = { low = 2, high = 1 }", "low is 2 and high is 1"),
            ("\"training.lr\" = { low = 0, high = 1, log = true }", "above 0 with log"),
            ("\"training.lr\" = { min = 0 }", "unknown field `min`"),
            ("\"a\" = { low = 0, high = 9, integer = true, of_steps = true }", "of_steps needs"),
            ("", "it names no setting"),
        ] {
            let error = Space::from_toml(text, "space.toml").unwrap_err().to_string();
            assert!(error.starts_with("space.toml: ") && error.contains(part), "{error}");
        }
    }
}
