//! Discrete choices as one-hot vectors.

use rekindle_env::{Buffer, Row, RowMut, Space};

use super::EpisodeError;
use super::gather::fill_missing;

/// Returns the rows of `column`, which are elements of `space`, with every discrete leaf one-hot
/// encoded; rows of `fill` for `None`.
pub(super) fn gather_one_hot(
    column: &Buffer,
    space: &Space,
    rows: &[Option<usize>],
    fill: Option<f64>,
) -> Result<Buffer, EpisodeError> {
    let mut encoded = Buffer::zeros(&encode_space(space)?, rows.len());
    for (to, from) in rows.iter().enumerate() {
        if let Some(from) = *from {
            encode(space, column.row(from), encoded.row_mut(to))?;
        }
    }
    fill_missing(&mut encoded, rows, fill.unwrap_or_default())?;
    Ok(encoded)
}

/// Returns the space of the encoded elements.
fn encode_space(space: &Space) -> Result<Space, EpisodeError> {
    Ok(match space {
        Space::Discrete(_) | Space::MultiDiscrete(_) => {
            Space::boxed(0.0, 1.0, &[space.flat_dim()])?
        }
        Space::Box(_) | Space::MultiBinary(_) => space.clone(),
        Space::Dict(parts) => {
            let parts = parts.iter().map(|(key, part)| Ok((key, encode_space(part)?)));
            Space::dict(parts.collect::<Result<Vec<_>, EpisodeError>>()?)?
        }
        Space::Tuple(parts) => {
            let parts = parts.spaces().iter().map(encode_space);
            Space::tuple(parts.collect::<Result<Vec<_>, EpisodeError>>()?)?
        }
    })
}

fn encode(space: &Space, row: Row<'_>, mut encoded: RowMut<'_>) -> Result<(), EpisodeError> {
    match space {
        Space::Discrete(_) | Space::MultiDiscrete(_) => {
            space.flatten(row, encoded.as_f32_mut()?)?;
        }
        Space::Box(_) | Space::MultiBinary(_) => encoded.copy_from(row)?,
        Space::Dict(parts) => {
            for (key, part) in parts.iter() {
                encode(part, row.get(key)?, encoded.get_mut(key)?)?;
            }
        }
        Space::Tuple(parts) => {
            for (position, part) in parts.spaces().iter().enumerate() {
                encode(part, row.index(position)?, encoded.index_mut(position)?)?;
            }
        }
    }
    Ok(())
}
