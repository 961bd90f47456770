//! Settings of a model that have no effect.

use rekindle_core::Columns;
use rekindle_env::Space;

use crate::distribution::Distribution;
use crate::encoder::{image_dims, parts};
use crate::error::{CatalogError, Result};
use crate::model_config::DefaultModelConfig;

/// A setting that differs from its default and has no effect on the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedSetting {
    /// Name of the field of [`DefaultModelConfig`].
    pub field: String,
    /// Reason, and what to do.
    pub reason: String,
    /// Whether the setting would have an effect on a model for other spaces. Otherwise another
    /// setting rules it out.
    pub depends_on_spaces: bool,
}

impl UnusedSetting {
    /// Creates a setting that has no effect on a model for the spaces at hand.
    #[must_use]
    pub fn for_spaces(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), depends_on_spaces: true }
    }

    /// Creates a setting that another setting rules out.
    #[must_use]
    pub fn ruled_out(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), depends_on_spaces: false }
    }
}

impl From<UnusedSetting> for CatalogError {
    fn from(unused: UnusedSetting) -> Self {
        Self::Inapplicable { field: unused.field, reason: unused.reason }
    }
}

/// Returns the changed settings that the default encoders and heads do not use.
///
/// # Errors
/// None in practice: every field serializes.
pub(crate) fn unused_settings(
    config: &DefaultModelConfig,
    observations: &Space,
    distribution: &dyn Distribution,
) -> Result<Vec<UnusedSetting>> {
    let mut networks = Networks::default();
    networks.collect(observed(config, observations));
    let changed = config.changed_fields()?;
    let unused = changed.iter().filter_map(|field| {
        ruled_out(config, field)
            .map(|reason| UnusedSetting::ruled_out(field, reason))
            .or_else(|| {
                let reason = networks.lack(field, observations)?;
                Some(UnusedSetting::for_spaces(field, reason))
            })
            .or_else(|| {
                let reason = lacks_std(field, distribution)?;
                Some(UnusedSetting::for_spaces(field, reason))
            })
    });
    Ok(unused.collect())
}

/// Returns the first changed setting of standard deviations, if the distribution has no standard
/// deviations.
///
/// # Errors
/// None in practice: every field serializes.
pub(crate) fn unused_std_setting(
    config: &DefaultModelConfig,
    distribution: &dyn Distribution,
) -> Result<Option<UnusedSetting>> {
    let changed = config.changed_fields()?;
    Ok(changed.iter().find_map(|field| {
        let reason = lacks_std(field, distribution)?;
        Some(UnusedSetting::for_spaces(field, reason))
    }))
}

/// Returns why a field has no effect with the other settings, for all spaces.
fn ruled_out(config: &DefaultModelConfig, field: &str) -> Option<String> {
    let is_recurrent = ["recurrent_", "lstm_", "max_seq_len"].iter().any(|p| field.starts_with(p));
    if is_recurrent && !config.use_lstm {
        return Some(
            "the model has no recurrent layer; set `use_lstm`, or remove the setting".into(),
        );
    }
    if field == "vf_fcnet_hiddens" && config.vf_share_layers {
        let reason = "policy and value function share one encoder; set `vf_share_layers` to false, \
                      or size the value head with `vf_head_fcnet_hiddens`";
        return Some(reason.into());
    }
    // Without hidden layers, these settings have nothing to apply to.
    let none = |hiddens: &[usize], of_values: &Option<Vec<usize>>| {
        hiddens.is_empty() && of_values.as_ref().is_none_or(Vec::is_empty)
    };
    let (hiddens, is_empty) = match field {
        "fcnet_activation"
        | "fcnet_kernel_initializer"
        | "fcnet_bias_initializer"
        | "fcnet_use_layernorm" => {
            ("fcnet_hiddens", none(&config.fcnet_hiddens, &config.vf_fcnet_hiddens))
        }
        "fusionnet_activation" | "fusionnet_kernel_initializer" | "fusionnet_bias_initializer" => {
            ("fusionnet_hiddens", config.fusionnet_hiddens.is_empty())
        }
        // The initializers of the heads also apply to their output layers.
        "head_fcnet_activation" | "head_fcnet_use_layernorm" => {
            ("head_fcnet_hiddens", none(&config.head_fcnet_hiddens, &config.vf_head_fcnet_hiddens))
        }
        _ => return None,
    };
    is_empty.then(|| format!("there are no layers in `{hiddens}`; add some, or remove the setting"))
}

/// Returns why a field of a Gaussian policy has no effect on another one.
fn lacks_std(field: &str, distribution: &dyn Distribution) -> Option<String> {
    let is_std = matches!(field, "free_log_std" | "log_std_clip_param");
    (is_std && !distribution.is_gaussian()).then(|| {
        format!(
            "the action distribution {} has no standard deviation; remove the setting",
            distribution.name()
        )
    })
}

/// Returns the part of the observations that the encoders read. Previous actions and rewards go to
/// the recurrent layer directly.
fn observed<'a>(config: &DefaultModelConfig, space: &'a Space) -> &'a Space {
    let beside = config.lstm_use_prev_action || config.lstm_use_prev_reward;
    let original = parts(space).into_iter().find(|(name, _)| beside && name == Columns::ORIG_OBS);
    original.map_or(space, |(_, part)| part)
}

/// The kinds of networks that the default encoders of a space consist of.
#[derive(Debug, Default)]
struct Networks {
    fcnet: bool,
    cnn: bool,
    fusionnet: bool,
}

impl Networks {
    fn collect(&mut self, space: &Space) {
        match space {
            Space::Box(b) if image_dims(b).is_some() => self.cnn = true,
            Space::Dict(_) | Space::Tuple(_) => {
                self.fusionnet = true;
                parts(space).into_iter().for_each(|(_, part)| self.collect(part));
            }
            _ => self.fcnet = true,
        }
    }

    /// Returns why a field of a network has no effect if no encoder has such a network.
    fn lack(&self, field: &str, space: &Space) -> Option<String> {
        let groups = [
            ("fcnet_", self.fcnet, "is a vector, a choice or bits, the inputs of an MLP"),
            ("vf_fcnet_", self.fcnet, "is a vector, a choice or bits, the inputs of an MLP"),
            ("conv_", self.cnn, "is an image"),
            ("fusionnet_", self.fusionnet, "is a Dict or Tuple"),
        ];
        let (_, _, kind) =
            groups.into_iter().find(|(group, used, _)| field.starts_with(group) && !used)?;
        Some(format!(
            "no part of the observation space {space} {kind}; remove the setting, or override \
             `Catalog::unused_settings` in a catalog whose encoders use it"
        ))
    }
}
