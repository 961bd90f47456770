//! Checks of recorded columns against their spaces.

use rekindle_core::Columns;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::Rollout;

use crate::error::{OfflineError, Result};

/// Checks that observations, actions and rewards of an episode are elements of their spaces, and finite.
///
/// Bounds of Boxes are not checked: sensors exceed theirs, and policies that are not squashed act beyond theirs.
pub(crate) fn check_rollout(
    episode: usize,
    rollout: &Rollout,
    (observations, actions): &(Space, Space),
) -> Result<()> {
    // Modules act in floats where the environment rounds.
    let actions = actions.with_float_boxes();
    for (column, space, rows) in [
        (Columns::OBS, observations, &rollout.observations),
        (Columns::NEXT_OBS, observations, &rollout.final_observations),
        (Columns::ACTIONS, &actions, &rollout.actions),
    ] {
        check_column(episode, column, space, rows)?;
    }
    match rollout.rewards.iter().position(|reward| !reward.is_finite()) {
        Some(row) => Err(OfflineError::InvalidRow {
            episode,
            column: Columns::REWARDS,
            row,
            reason: format!("is {}", rollout.rewards[row]),
        }),
        None => Ok(()),
    }
}

fn check_column(episode: usize, column: &'static str, space: &Space, rows: &Buffer) -> Result<()> {
    if !rows.is_compatible(space) {
        return Err(OfflineError::OtherSpace { episode, column, space: space.to_string() });
    }
    let invalid = |row, reason| OfflineError::InvalidRow { episode, column, row, reason };
    if space.has_choices()
        && let Some(row) = (0..rows.rows()).find(|row| !space.contains_choices(rows.row(*row)))
    {
        return Err(invalid(row, format!("is not an element of {space}")));
    }
    for (path, leaf) in rows.leaves() {
        let Ok(numbers) = leaf.as_f32() else { continue };
        if let Some(index) = numbers.iter().position(|number| !number.is_finite()) {
            let width = (numbers.len() / rows.rows().max(1)).max(1);
            let at = if path.is_empty() { String::new() } else { format!(" at `{path}`") };
            return Err(invalid(index / width, format!("holds {}{at}", numbers[index])));
        }
    }
    Ok(())
}
