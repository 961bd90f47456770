//! Connectors as data.

use rekindle_core::settings::among_modules;
use rekindle_core::{ConfigError, ModuleId};
use rekindle_env::Space;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    ClipRewards, Connector, FlattenObservations, FrameStacking, MeanStdFilter, NormalizeRewards,
    OnPart, PrevActionsPrevRewards, ScaleRewards, registry,
};
use crate::Result;

/// A connector in a configuration.
///
/// ```
/// use rekindle_env_runner::connectors::ConnectorConfig;
///
/// // Standardizes one part of a Dict, for the modules of two agents.
/// let filter = ConnectorConfig::mean_std_filter()
///     .on_part(["sensors", "speed"])
///     .for_modules(["hunter", "prey"]);
/// assert!(filter.applies_to("prey") && !filter.applies_to("tree"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub enum ConnectorConfig {
    /// [`MeanStdFilter`].
    MeanStdFilter {
        /// Whether the running mean is subtracted.
        #[serde(default = "yes")]
        de_mean_to_zero: bool,
        /// Whether the result is divided by the running standard deviation.
        #[serde(default = "yes")]
        de_std_to_one: bool,
        /// Bound on the absolute result, above 0; `None` for no bound.
        #[serde(default = "ten")]
        clip_by_value: Option<f32>,
    },
    /// [`FlattenObservations`].
    FlattenObservations {
        /// Keys of the parts of a Dict that are dropped.
        #[serde(default)]
        keys_to_remove: Vec<String>,
    },
    /// [`FrameStacking`].
    FrameStacking {
        /// Number of observations that are stacked, at least 1.
        num_frames: usize,
    },
    /// [`PrevActionsPrevRewards`].
    PrevActionsPrevRewards {
        /// Number of past actions that are added; 0 for none.
        #[serde(default = "one")]
        n_prev_actions: usize,
        /// Number of past rewards that are added; 0 for none.
        #[serde(default = "one")]
        n_prev_rewards: usize,
    },
    /// [`ClipRewards`].
    ClipRewards {
        /// Bound on absolute rewards, above 0; `None` for the signs of the rewards.
        #[serde(default)]
        limit: Option<f64>,
    },
    /// [`ScaleRewards`].
    ScaleRewards {
        /// Factor of the rewards.
        factor: f64,
    },
    /// [`NormalizeRewards`].
    NormalizeRewards {
        /// Discount factor per step.
        #[serde(default = "gamma")]
        gamma: f64,
        /// Added to the variance of the discounted return.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Bound on absolute normalized rewards, above 0; `None` for no bound.
        #[serde(default = "ten_f64")]
        clip_by_value: Option<f64>,
    },
    /// Another connector for one part of a Dict or Tuple; see [`OnPart`].
    OnPart {
        /// Keys of Dicts and positions in Tuples, from the outside in.
        path: Vec<String>,
        /// The connector.
        connector: Box<Self>,
    },
    /// Another connector for some modules only. The pipelines of other modules omit it.
    ForModules {
        /// Ids of the modules.
        modules: Vec<ModuleId>,
        /// The connector.
        connector: Box<Self>,
    },
    /// A connector known by [`register_connector`](super::register_connector).
    Custom {
        /// The name it was registered under.
        name: String,
        /// Its settings.
        #[serde(default)]
        config: Value,
    },
}

/// The form of a connector as data, for the error about any other.
const FORM: &str = r#"an object with its name as `type` and its settings, such as {"type": "MeanStdFilter"} or {"type": "FrameStacking", "num_frames": 4}"#;

// `remote = "Self"` derives inherent functions, so that the error message can be our own: serde's
// mentions "internally tagged enums".
impl Serialize for ConnectorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ConnectorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.get("type").is_some_and(Value::is_string) {
            return Err(D::Error::custom(format!("{value} is not a connector; use {FORM}")));
        }
        Self::deserialize(value).map_err(D::Error::custom)
    }
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn ten() -> Option<f32> {
    Some(10.0)
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn ten_f64() -> Option<f64> {
    Some(10.0)
}

fn gamma() -> f64 {
    0.99
}

fn epsilon() -> f64 {
    1e-8
}

impl ConnectorConfig {
    /// Creates a [`MeanStdFilter`] with RLlib's defaults: mean 0, deviation 1, bound 10.
    #[must_use]
    pub fn mean_std_filter() -> Self {
        Self::MeanStdFilter { de_mean_to_zero: true, de_std_to_one: true, clip_by_value: ten() }
    }

    /// Creates a [`FlattenObservations`] that drops nothing.
    #[must_use]
    pub fn flatten_observations() -> Self {
        Self::FlattenObservations { keys_to_remove: Vec::new() }
    }

    /// Creates a [`FrameStacking`] of `num_frames` observations.
    #[must_use]
    pub fn frame_stacking(num_frames: usize) -> Self {
        Self::FrameStacking { num_frames }
    }

    /// Creates a [`PrevActionsPrevRewards`] that adds this many actions and rewards.
    #[must_use]
    pub fn prev_actions_prev_rewards(n_prev_actions: usize, n_prev_rewards: usize) -> Self {
        Self::PrevActionsPrevRewards { n_prev_actions, n_prev_rewards }
    }

    /// Creates a [`ClipRewards`] to `±limit`; `None` takes the signs of rewards.
    #[must_use]
    pub fn clip_rewards(limit: impl Into<Option<f64>>) -> Self {
        Self::ClipRewards { limit: limit.into() }
    }

    /// Creates a [`ScaleRewards`] by a factor.
    #[must_use]
    pub fn scale_rewards(factor: f64) -> Self {
        Self::ScaleRewards { factor }
    }

    /// Creates a [`NormalizeRewards`] with discount factor 0.99, ε 1e-8 (Gymnasium's defaults) and
    /// bound 10 (SB3's).
    #[must_use]
    pub fn normalize_rewards() -> Self {
        Self::NormalizeRewards { gamma: gamma(), epsilon: epsilon(), clip_by_value: ten_f64() }
    }

    /// Creates a connector known by [`register_connector`](super::register_connector).
    #[must_use]
    pub fn custom(name: impl Into<String>, config: impl Into<Value>) -> Self {
        Self::Custom { name: name.into(), config: config.into() }
    }

    /// Applies the connector to one part of a Dict or Tuple: keys and positions, from the outside
    /// in.
    #[must_use]
    pub fn on_part<K: Into<String>>(self, path: impl IntoIterator<Item = K>) -> Self {
        Self::OnPart { path: path.into_iter().map(Into::into).collect(), connector: Box::new(self) }
    }

    /// Applies the connector to the pipelines of these modules only.
    #[must_use]
    pub fn for_modules<I: Into<ModuleId>>(self, modules: impl IntoIterator<Item = I>) -> Self {
        Self::ForModules {
            modules: modules.into_iter().map(Into::into).collect(),
            connector: Box::new(self),
        }
    }

    /// Whether the pipeline of a module has the connector.
    #[must_use]
    pub fn applies_to(&self, module_id: &str) -> bool {
        self.of_module(module_id).is_some()
    }

    /// Returns the connector without [`ForModules`](Self::ForModules) around it, if the pipeline of
    /// the module has it.
    pub(crate) fn of_module(&self, module_id: &str) -> Option<&Self> {
        match self {
            Self::ForModules { modules, connector } if modules.iter().any(|id| id == module_id) => {
                connector.of_module(module_id)
            }
            Self::ForModules { .. } => None,
            other => Some(other),
        }
    }

    /// Returns the number of frames that the observations of a module stack: those of a [`FrameStacking`] that
    /// no other connector of observations follows; 1 without one.
    #[must_use]
    pub fn num_frames(connectors: &[Self], module_id: &str) -> usize {
        let mut of_module = connectors.iter().rev().filter_map(|c| c.of_module(module_id));
        let last = of_module.find(|connector| {
            !matches!(
                connector,
                Self::ClipRewards { .. }
                    | Self::ScaleRewards { .. }
                    | Self::NormalizeRewards { .. }
            )
        });
        match last {
            Some(Self::FrameStacking { num_frames }) => *num_frames,
            _ => 1,
        }
    }

    /// Returns the connector for the modules other than this one; `None` if there are none.
    #[must_use]
    pub fn without_module(self, module_id: &str) -> Option<Self> {
        let Self::ForModules { mut modules, connector } = self else { return Some(self) };
        modules.retain(|id| id != module_id);
        let connector = Box::new(connector.without_module(module_id)?);
        (!modules.is_empty()).then_some(Self::ForModules { modules, connector })
    }

    /// Checks that [`ForModules`](Self::ForModules) names no module but these.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) with the unknown id and those that exist.
    pub(crate) fn check_modules(&self, known: &[&str]) -> Result<()> {
        let Self::ForModules { modules, connector } = self else { return Ok(()) };
        among_modules("ForModules.modules", modules, known)?;
        connector.check_modules(known)
    }

    /// Creates the connector, for a policy that acts in this space.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) for a setting that cannot work,
    /// [`RunnerError::UnregisteredConnector`](crate::RunnerError::UnregisteredConnector), or the error of a user's connector.
    pub fn build(&self, actions: &Space) -> Result<Box<dyn Connector>> {
        Ok(match self {
            Self::MeanStdFilter { de_mean_to_zero, de_std_to_one, clip_by_value } => {
                Box::new(MeanStdFilter::new(*de_mean_to_zero, *de_std_to_one, *clip_by_value)?)
            }
            Self::FlattenObservations { keys_to_remove } => {
                Box::new(FlattenObservations::new(keys_to_remove.clone()))
            }
            Self::FrameStacking { num_frames } => Box::new(FrameStacking::new(*num_frames)?),
            Self::PrevActionsPrevRewards { n_prev_actions, n_prev_rewards } => Box::new(
                PrevActionsPrevRewards::new(actions.clone(), *n_prev_actions, *n_prev_rewards)?,
            ),
            Self::ClipRewards { limit } => Box::new(ClipRewards::new(*limit)?),
            Self::ScaleRewards { factor } => Box::new(ScaleRewards::new(*factor)?),
            Self::NormalizeRewards { gamma, epsilon, clip_by_value } => {
                Box::new(NormalizeRewards::new(*gamma, *epsilon, *clip_by_value)?)
            }
            Self::OnPart { path, connector } => {
                if let Self::ForModules { .. } = &**connector {
                    return Err(ConfigError::new(
                        "OnPart.connector",
                        "ForModules",
                        "`for_modules` must come after `on_part`",
                    )
                    .into());
                }
                Box::new(OnPart::new(path.clone(), connector.build(actions)?)?)
            }
            Self::ForModules { connector, .. } => return connector.build(actions),
            Self::Custom { name, config } => return registry::build(name, config, actions),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_survive_json_and_have_defaults() {
        let json = r#"{"type": "ForModules", "modules": ["a"], "connector":
            {"type": "OnPart", "path": ["x", "0"], "connector": {"type": "MeanStdFilter"}}}"#;
        let config: ConnectorConfig = serde_json::from_str(json).unwrap();
        let expected = ConnectorConfig::mean_std_filter().on_part(["x", "0"]).for_modules(["a"]);
        assert_eq!(config, expected);
        for (json, expected) in [
            (r#"{"type": "NormalizeRewards"}"#, ConnectorConfig::normalize_rewards()),
            (r#"{"type": "ClipRewards"}"#, ConnectorConfig::clip_rewards(None)),
            (r#"{"type": "ScaleRewards", "factor": 0.5}"#, ConnectorConfig::scale_rewards(0.5)),
        ] {
            assert_eq!(serde_json::from_str::<ConnectorConfig>(json).unwrap(), expected);
            let json = serde_json::to_string(&expected).unwrap();
            assert_eq!(serde_json::from_str::<ConnectorConfig>(&json).unwrap(), expected);
        }
    }

    #[test]
    fn every_connector_refuses_settings_that_cannot_work_when_it_is_built() {
        let filter = |clip_by_value| ConnectorConfig::MeanStdFilter {
            de_mean_to_zero: true,
            de_std_to_one: true,
            clip_by_value,
        };
        let normalize = |gamma, epsilon, clip_by_value| ConnectorConfig::NormalizeRewards {
            gamma,
            epsilon,
            clip_by_value,
        };
        for (config, field) in [
            (filter(Some(-1.0)), "MeanStdFilter.clip_by_value"),
            (filter(Some(0.0)), "MeanStdFilter.clip_by_value"),
            (filter(Some(f32::NAN)), "MeanStdFilter.clip_by_value"),
            (ConnectorConfig::frame_stacking(0), "FrameStacking.num_frames"),
            (
                ConnectorConfig::prev_actions_prev_rewards(0, 0),
                "PrevActionsPrevRewards.n_prev_actions",
            ),
            (ConnectorConfig::clip_rewards(-1.0), "ClipRewards.limit"),
            (ConnectorConfig::scale_rewards(0.0), "ScaleRewards.factor"),
            (normalize(-0.1, 1e-8, None), "NormalizeRewards.gamma"),
            (normalize(0.9, -1.0, None), "NormalizeRewards.epsilon"),
            (normalize(0.9, 1e-8, Some(0.0)), "NormalizeRewards.clip_by_value"),
            // JSON has no infinity: it would be saved as no bound.
            (filter(Some(f32::INFINITY)), "MeanStdFilter.clip_by_value"),
            (normalize(0.9, 1e-8, Some(f64::INFINITY)), "NormalizeRewards.clip_by_value"),
            (filter(None).for_modules(["a"]).on_part(["x"]), "OnPart.connector"),
        ] {
            let error = config.build(&Space::discrete(2).unwrap()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}` is ")), "{error}");
        }
    }

    #[test]
    fn a_connector_of_another_form_is_answered_with_the_form_that_is_expected() {
        let refused = |json: &str, parts: &[&str]| {
            let error = serde_json::from_str::<ConnectorConfig>(json).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "no `{part}` in: {error}");
            }
            assert!(!error.contains("tagged"), "{error}");
        };
        let form = r#"{"type": "MeanStdFilter"}"#;
        refused(r#""MeanStdFilter""#, &[r#""MeanStdFilter" is not a connector"#, form]);
        refused("7", &["7 is not a connector", form]);
        refused(r#"{"name": "MeanStdFilter"}"#, &["type", form]);
        refused(r#"{"type": "MeanStdFiltr"}"#, &["MeanStdFiltr", "NormalizeRewards"]);
        refused(r#"{"type": "FrameStacking"}"#, &["num_frames"]);
        refused(r#"{"type": "ClipRewards", "limt": 1.0}"#, &["limt", "limit"]);
        let nested = r#"{"type": "OnPart", "path": ["x"], "connector": "MeanStdFilter"}"#;
        refused(nested, &[r#""MeanStdFilter" is not a connector"#, form]);
    }

    #[test]
    fn frames_are_those_of_the_last_connector_of_observations() {
        let stack = ConnectorConfig::frame_stacking(4);
        let of = |connectors: &[ConnectorConfig]| ConnectorConfig::num_frames(connectors, "a");
        let filter = ConnectorConfig::mean_std_filter();
        assert_eq!(of(&[]), 1);
        assert_eq!(of(&[filter.clone(), stack.clone(), ConnectorConfig::clip_rewards(1.0)]), 4);
        assert_eq!(of(&[stack.clone(), filter]), 1);
        assert_eq!(of(&[stack.clone().for_modules(["a"])]), 4);
        assert_eq!(of(&[stack.clone().for_modules(["b"])]), 1);
        assert_eq!(of(&[stack.on_part(["x"])]), 1);
    }

    #[test]
    fn modules_that_do_not_exist_are_named() {
        let config = |ids: &[&str]| ConnectorConfig::clip_rewards(1.0).for_modules(ids.to_vec());
        config(&["a"]).check_modules(&["a", "b"]).unwrap();
        let error = config(&["a", "playr"]).check_modules(&["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("no module `playr`") && error.contains("[\"a\", \"b\"]"), "{error}");
        assert!(config(&[]).check_modules(&["a"]).is_err());
    }

    #[test]
    fn a_module_that_is_gone_leaves_the_connectors_of_the_others() {
        let config = |ids: &[&str]| ConnectorConfig::clip_rewards(1.0).for_modules(ids.to_vec());
        assert_eq!(config(&["a", "b"]).without_module("a"), Some(config(&["b"])));
        assert_eq!(config(&["b"]).without_module("a"), Some(config(&["b"])));
        assert_eq!(config(&["a"]).without_module("a"), None);
        let all = ConnectorConfig::mean_std_filter();
        assert_eq!(all.clone().without_module("a"), Some(all));
    }
}
