//! Rows of a column, with filler where there is none.

use rekindle_env::{Buffer, Value};

use super::EpisodeError;

/// Returns the rows of `column`, and rows of `fill` for `None`.
pub(super) fn gather(
    column: &Buffer,
    rows: &[Option<usize>],
    fill: Option<f64>,
) -> Result<Buffer, EpisodeError> {
    let existing: Option<Vec<usize>> = rows.iter().copied().collect();
    if let Some(rows) = existing {
        return Ok(column.gather(&rows)?);
    }
    let mut gathered = column.slice(0..0)?;
    gathered.extend_zeros(rows.len());
    for (to, from) in rows.iter().enumerate() {
        if let Some(from) = *from {
            gathered.copy_row(to, column, from)?;
        }
    }
    fill_missing(&mut gathered, rows, fill.unwrap_or_default())?;
    Ok(gathered)
}

/// Overwrites the rows of `gathered` for which `rows` has none with `fill`.
pub(super) fn fill_missing(
    gathered: &mut Buffer,
    rows: &[Option<usize>],
    fill: f64,
) -> Result<(), EpisodeError> {
    let mut missing = rows.iter().enumerate().filter(|(_, from)| from.is_none()).peekable();
    let Some(&(first, _)) = missing.peek() else { return Ok(()) };
    let mut filler = gathered.row(first).to_value()?;
    fill_with(&mut filler, fill)?;
    for (row, _) in missing {
        gathered.row_mut(row).write(&filler)?;
    }
    Ok(())
}

/// Replaces every number of the element by `fill`.
fn fill_with(element: &mut Value, fill: f64) -> Result<(), EpisodeError> {
    match element {
        Value::Float(numbers) => numbers.fill(fill as f32),
        Value::Byte(bytes) => bytes.fill(byte(fill)?),
        Value::Int(numbers) => numbers.fill(int(fill)?),
        Value::Discrete(number) => *number = int(fill)?,
        Value::Dict(parts) => parts.values_mut().try_for_each(|part| fill_with(part, fill))?,
        Value::Tuple(parts) => parts.iter_mut().try_for_each(|part| fill_with(part, fill))?,
    }
    Ok(())
}

fn byte(fill: f64) -> Result<u8, EpisodeError> {
    let byte = fill as u8;
    if f64::from(byte) == fill { Ok(byte) } else { Err(EpisodeError::Fill { fill, kind: "uint8" }) }
}

fn int(fill: f64) -> Result<i64, EpisodeError> {
    let int = fill as i64;
    if int as f64 == fill { Ok(int) } else { Err(EpisodeError::Fill { fill, kind: "int64" }) }
}
