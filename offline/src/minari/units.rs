//! Actions as modules return them, and as the environment gets them.

use std::borrow::Cow;

use rekindle_core::Columns;
use rekindle_env::Buffer;
use rekindle_env_runner::Rollout;
use rekindle_env_runner::connectors::{Connector, NormalizeAndClipActions};

use crate::error::{OfflineError, Result};

/// Relative difference of an action that is scaled to the environment's units and back, at most.
const ROUNDING: f32 = 1e-3;

/// Replaces the log-probabilities of actions that were clipped by NaN. `actions` are those of the environment, and an
/// action that it did not get has no density there.
pub(super) fn without_density_where_clipped<'a>(
    units: &NormalizeAndClipActions,
    episode: &'a Rollout,
    actions: &Buffer,
) -> Result<Cow<'a, Rollout>> {
    const DENSITIES: [&str; 2] = [Columns::ACTION_LOGP, Columns::ACTION_PROB];
    if !DENSITIES.iter().any(|name| episode.extras.contains_key(*name)) {
        return Ok(Cow::Borrowed(episode));
    }
    let mut seen = episode.actions.clone();
    units
        .invert(actions, &mut seen)
        .map_err(|error| OfflineError::Damaged { reason: error.to_string() })?;
    let rows = episode.rewards.len();
    let mut is_clipped = vec![false; rows];
    for ((_, returned), (_, seen)) in episode.actions.leaves().iter().zip(seen.leaves()) {
        let (Ok(returned), Ok(seen)) = (returned.as_f32(), seen.as_f32()) else { continue };
        let width = (returned.len() / rows.max(1)).max(1);
        for (index, (returned, seen)) in returned.iter().zip(seen).enumerate() {
            is_clipped[index / width] |= (returned - seen).abs() > ROUNDING * (1.0 + seen.abs());
        }
    }
    if !is_clipped.contains(&true) {
        return Ok(Cow::Borrowed(episode));
    }
    let mut episode = episode.clone();
    for name in DENSITIES {
        let Some(column) = episode.extras.get_mut(name) else { continue };
        let numbers = column.as_f32_mut()?.iter_mut();
        numbers.zip(&is_clipped).for_each(|(number, is_clipped)| {
            if *is_clipped {
                *number = f32::NAN;
            }
        });
    }
    Ok(Cow::Owned(episode))
}
