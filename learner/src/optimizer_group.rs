//! Optimizers and the parameters that they step.

use rekindle_core::named::below;
use rekindle_core::settings::{if_set, positive_and_finite};
use rekindle_core::{ConfigError, Schedule};

use crate::error::Result;
use crate::gradients::GradClipBy;
use crate::optimizer::OptimizerConfig;

/// The name of the only optimizer of a module, as in RLlib.
pub const DEFAULT_OPTIMIZER: &str = "default_optimizer";

/// The parameters that an optimizer steps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Parameters {
    /// All parameters of the module.
    All,
    /// Parameters whose names have one of these prefixes, with dots between levels: `"encoder"`,
    /// `"heads.vf"`.
    Prefixes(Vec<String>),
    /// Scalars that the learner owns, such as a temperature, with their initial values. The loss reads
    /// them by name ([`LossContext::scalar`](crate::LossContext::scalar)); checkpoints hold them.
    Scalars(Vec<(String, f32)>),
}

/// An optimizer: the parameters that it steps, its rule, learning rate and clipping. Burn's `ParamGroup`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OptimizerGroup {
    /// The name, for metrics and checkpoints.
    pub name: String,
    /// The parameters that it steps.
    pub parameters: Parameters,
    /// Rule that turns gradients into steps.
    pub rule: OptimizerConfig,
    /// Learning rate over environment steps.
    pub lr: Schedule,
    /// Bound on gradients; `None` does not clip.
    pub grad_clip: Option<f64>,
    /// Quantity that `grad_clip` bounds.
    pub grad_clip_by: GradClipBy,
}

impl Default for OptimizerGroup {
    /// RLlib's defaults: Adam over all parameters, a learning rate of 1e-3, no clipping.
    fn default() -> Self {
        Self {
            name: DEFAULT_OPTIMIZER.into(),
            parameters: Parameters::All,
            rule: OptimizerConfig::default(),
            lr: Schedule::Constant(1e-3),
            grad_clip: None,
            grad_clip_by: GradClipBy::default(),
        }
    }
}

impl OptimizerGroup {
    /// Creates an optimizer of the parameters whose names have one of the prefixes.
    #[must_use]
    pub fn prefixes<S: Into<String>>(
        name: impl Into<String>,
        prefixes: impl IntoIterator<Item = S>,
    ) -> Self {
        let prefixes = prefixes.into_iter().map(Into::into).collect();
        Self { name: name.into(), parameters: Parameters::Prefixes(prefixes), ..Self::default() }
    }

    /// Creates an optimizer of scalars, with their initial values.
    #[must_use]
    pub fn scalars<S: Into<String>>(
        name: impl Into<String>,
        scalars: impl IntoIterator<Item = (S, f32)>,
    ) -> Self {
        let scalars = scalars.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { name: name.into(), parameters: Parameters::Scalars(scalars), ..Self::default() }
    }

    /// Sets the learning rate over environment steps.
    #[must_use]
    pub fn lr(mut self, lr: impl Into<Schedule>) -> Self {
        self.lr = lr.into();
        self
    }

    /// Sets the rule.
    #[must_use]
    pub fn rule(mut self, rule: OptimizerConfig) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the bound on gradients; `None` does not clip.
    #[must_use]
    pub fn grad_clip(mut self, grad_clip: impl Into<Option<f64>>) -> Self {
        self.grad_clip = grad_clip.into();
        self
    }

    /// Sets the quantity that `grad_clip` bounds.
    #[must_use]
    pub fn grad_clip_by(mut self, grad_clip_by: GradClipBy) -> Self {
        self.grad_clip_by = grad_clip_by;
        self
    }

    /// Whether the optimizer steps the parameter of a module with this name.
    #[must_use]
    pub fn contains(&self, parameter: &str) -> bool {
        match &self.parameters {
            Parameters::All => true,
            Parameters::Prefixes(prefixes) => {
                prefixes.iter().any(|prefix| below(parameter, prefix).is_some())
            }
            Parameters::Scalars(_) => false,
        }
    }

    /// Whether the optimizer steps scalars, not parameters of the module.
    #[must_use]
    pub(crate) fn has_scalars(&self) -> bool {
        matches!(self.parameters, Parameters::Scalars(_))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] with field, value and constraint.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.lr.validate("lr")?;
        if_set(positive_and_finite)("grad_clip", &self.grad_clip)?;
        let name_is_valid = !self.name.is_empty() && !self.name.contains(['/', '\\', '.']);
        if !name_is_valid {
            let constraint = "a name of an optimizer is not empty and has no slash or dot";
            return Err(ConfigError::new("optimizer name", format!("`{}`", self.name), constraint));
        }
        if let Parameters::Scalars(scalars) = &self.parameters
            && let Some((name, value)) = scalars.iter().find(|(_, value)| !value.is_finite())
        {
            let value = format!("`{name}`: {value}");
            return Err(ConfigError::new("scalars", value, "an initial value must be finite"));
        }
        self.rule.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_name_whole_levels() {
        let group = OptimizerGroup::prefixes("critic", ["vf", "encoder.critic"]);
        for (name, expected) in [
            ("vf.weight", true),
            ("vf", true),
            ("vf2.weight", false),
            ("encoder.critic.0.bias", true),
            ("encoder.actor.0.bias", false),
        ] {
            assert_eq!(group.contains(name), expected, "{name}");
        }
        assert!(OptimizerGroup::default().contains("anything"));
        assert!(!OptimizerGroup::scalars("alpha", [("log_alpha", 0.0)]).contains("log_alpha"));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let message = |group: OptimizerGroup| group.validate().unwrap_err().to_string();
        assert!(message(OptimizerGroup::default().lr(-1.0)).contains("`lr`"));
        assert!(message(OptimizerGroup::default().grad_clip(0.0)).contains("`grad_clip`"));
        let scalar = OptimizerGroup::scalars("alpha", [("log_alpha", f32::NAN)]);
        assert!(message(scalar).contains("log_alpha"));
        let group = OptimizerGroup::prefixes("a/b", ["vf"]);
        assert!(message(group).contains("a/b"));
    }
}
