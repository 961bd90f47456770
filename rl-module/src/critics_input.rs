//! What the default modules with critics of actions have in common.

use std::borrow::Cow;

use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, CatalogError, Critics, DefaultModelConfig, RunningStatistics, check_encoder,
};
use rekindle_core::{AnyTensor, Batch, Column, Columns, ConfigError};
use rekindle_env::{BoxDType, Space};

use crate::action_mask::{ActionMask, has_action_mask};
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};

/// The actions whose values critics estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CriticsInput {
    /// Given actions of `dim` numbers each, of a bounded `Box`.
    Given { dim: usize },
    /// All actions of a `Discrete` space.
    All { actions: usize },
}

impl CriticsInput {
    /// Returns the actions of a module's space.
    ///
    /// # Errors
    /// [`ModuleError::ActionSpace`] unless the space is a bounded `Box` or `Discrete`.
    pub(crate) fn of(cx: &ModuleContext<'_>) -> Result<Self> {
        let reason = match cx.action_space() {
            Space::Discrete(space) => return Ok(Self::All { actions: space.n() }),
            Space::Box(space) if space.dtype() != BoxDType::Float32 => {
                "its elements are whole numbers; declare them as a float32 Box, or as Discrete"
            }
            Space::Box(space) if space.is_bounded() => {
                return Ok(Self::Given { dim: space.size() });
            }
            Space::Box(_) => {
                "the policy acts between the bounds of the space, and some of them are infinite; bound the Box, or use PPO"
            }
            _ => "critics read the actions of a bounded Box or of a Discrete space; use PPO",
        };
        Err(refuse(cx, reason))
    }

    /// Returns how observations are divided into an action mask and what the networks see, and the space of the
    /// latter.
    ///
    /// # Errors
    /// [`ModuleError::ActionSpace`] for a mask of actions of a `Box`; [`ModuleError::Mismatch`] for one that does
    /// not fit the actions.
    pub(crate) fn divide<'a>(
        cx: &ModuleContext<'a>,
    ) -> Result<(Option<ActionMask>, Cow<'a, Space>)> {
        let observations = cx.observation_space();
        let division = match cx.action_space() {
            Space::Discrete(actions) => ActionMask::divide(observations, actions)?,
            _ => None,
        };
        if let Some((mask, seen)) = division {
            return Ok((Some(mask), Cow::Owned(seen)));
        }
        match has_action_mask(observations) {
            true => Err(refuse(
                cx,
                "the part `action_mask` of the observations masks the actions of a Discrete space, and a Box has none; use a Discrete space with DQN or SAC, or rename the part if it is no mask",
            )),
            false => Ok((None, Cow::Borrowed(observations))),
        }
    }

    /// Returns the number of elements of the actions of a bounded `Box`.
    ///
    /// # Errors
    /// [`ModuleError::ActionSpace`] for any other space.
    pub(crate) fn dim(cx: &ModuleContext<'_>) -> Result<usize> {
        match Self::of(cx)? {
            Self::Given { dim } => Ok(dim),
            Self::All { .. } => Err(refuse(
                cx,
                "a deterministic policy outputs the numbers of a Box; use DQN or SAC for a Discrete space",
            )),
        }
    }
}

fn refuse(cx: &ModuleContext<'_>, reason: &'static str) -> ModuleError {
    let (module, space) = (cx.module.into(), cx.action_space().to_string());
    ModuleError::ActionSpace { module, space, reason }
}

/// Computes the values of the actions of a batch from what the networks see of its observations, and the state of
/// the critics after them if there was one before.
///
/// # Shapes
/// Result `[B, critics, values]`.
///
/// # Errors
/// If the module was built without critics, or a column is missing or has the wrong kind or shape.
pub(crate) fn values(
    critics: Option<&Critics>,
    input: CriticsInput,
    batch: &Batch,
    seen: &Column,
    state: Option<&Column>,
) -> Result<(Tensor<3>, Option<Column>)> {
    let (critics, actions) = (present(critics)?, actions(input, batch)?);
    let (values, after) = match state {
        None => (critics.forward(seen, actions)?, None),
        Some(state) => {
            let (values, after) = critics.forward_recurrent(seen, state, actions)?;
            (values, Some(after))
        }
    };
    Ok((values.swap_dims(0, 1), after))
}

/// Computes the values of the actions of a batch in training from what the networks see of its observations, and
/// the running statistics after it.
///
/// # Shapes
/// Result `[B, critics, values]`.
///
/// # Errors
/// As [`values`].
pub(crate) fn values_in_training(
    critics: Option<&Critics>,
    input: CriticsInput,
    batch: &Batch,
    seen: &Column,
) -> Result<(Tensor<3>, RunningStatistics)> {
    let actions = actions(input, batch)?;
    let (values, statistics) = present(critics)?.forward_in_training(seen, actions)?;
    Ok((values.swap_dims(0, 1), statistics))
}

fn present(critics: Option<&Critics>) -> Result<&Critics> {
    critics.ok_or_else(|| {
        ModuleError::Mismatch(
            "a module that was built for inference only has no critics; build it without `inference_only`".into(),
        )
    })
}

/// Returns the actions of a batch, `[B, dim]`; `None` if the critics estimate the values of all actions.
fn actions(input: CriticsInput, batch: &Batch) -> Result<Option<Tensor<2>>> {
    Ok(match input {
        CriticsInput::Given { dim } => Some(flat_actions(batch.column(Columns::ACTIONS)?, dim)?),
        CriticsInput::All { .. } => None,
    })
}

/// Flattens the actions of a `Box`.
///
/// # Shapes
/// `[B, …]` to `[B, dim]`.
fn flat_actions(actions: &Column, dim: usize) -> Result<Tensor<2>> {
    let tensor = actions.tensor()?;
    match tensor.shape().len() {
        2 => Ok(tensor.float::<2>()?),
        _ => Ok(tensor.flatten()?.reshape([tensor.rows(), dim])),
    }
}

/// Gives actions of a `Box` the shape of the space.
///
/// # Shapes
/// `[B · dim]` to `[B, …]`.
pub(crate) fn shaped(actions: Vec<f32>, shape: &[usize], device: &Device) -> Result<AnyTensor> {
    let rows = actions.len() / shape.iter().product::<usize>().max(1);
    let shape = [&[rows], shape].concat();
    Ok(AnyTensor::from_data(TensorData::new(actions, shape), device)?)
}

/// Builds the encoder of the policy, for what the networks see of observations.
///
/// # Errors
/// The errors of the catalog.
pub(crate) fn build_encoder(
    cx: &ModuleContext<'_>,
    config: &DefaultModelConfig,
    seen: &Space,
) -> Result<BoxEncoder> {
    let (build, catalog) = (cx.catalog_context(config), cx.catalog());
    let encoder = match config.use_lstm {
        true => catalog.build_recurrent_encoder(build, seen)?,
        false => catalog.build_encoder(build, seen)?,
    };
    check_encoder(&*encoder, seen, cx.device())?;
    Ok(encoder)
}

/// Returns the settings of the critics' networks.
pub(crate) fn config(config: &DefaultModelConfig, use_layernorm: bool) -> DefaultModelConfig {
    let mut config = config.clone();
    config.fcnet_use_layernorm |= use_layernorm;
    config.head_fcnet_use_layernorm |= use_layernorm;
    config
}

/// Checks the settings of a module with critics of actions.
///
/// # Errors
/// [`CatalogError::Config`] for a number that is 0; [`CatalogError::Inapplicable`] for settings without effect.
pub(crate) fn check_settings(
    cx: &ModuleContext<'_>,
    config: &DefaultModelConfig,
    seen: &Space,
    [num_critics, num_quantiles]: [usize; 2],
) -> Result<()> {
    for (field, value) in [("num_critics", num_critics), ("num_quantiles", num_quantiles)] {
        if value == 0 {
            let error = ConfigError::new(field, value, "it must be at least 1");
            return Err(CatalogError::from(error).into());
        }
    }
    if config.vf_share_layers {
        return Err(CatalogError::Inapplicable {
            field: "vf_share_layers".into(),
            reason: "critics of actions have layers of their own; remove the setting".into(),
        }
        .into());
    }
    cx.check_model_config_for(config, seen)
}
