//! Elements as plain numbers.

use super::{BoxDType, BoxSpace, Space};
use crate::buffer::{Buffer, Row, RowMut};
use crate::error::{EnvError, Result};
use crate::value::Value;

impl Space {
    /// Returns the length of a flattened element: one for each element of a `Box`, each choice of a
    /// `Discrete` or `MultiDiscrete`, and each bit of a `MultiBinary`.
    #[must_use]
    pub fn flat_dim(&self) -> usize {
        match self {
            Self::Box(space) => space.size(),
            Self::Discrete(space) => space.n(),
            Self::MultiDiscrete(space) => space.nvec().iter().sum(),
            Self::MultiBinary(space) => space.n(),
            Self::Dict(space) => space.spaces().values().map(Self::flat_dim).sum(),
            Self::Tuple(space) => space.spaces().iter().map(Self::flat_dim).sum(),
        }
    }

    /// Writes an element as [`flat_dim`](Self::flat_dim) numbers: boxes and bits unchanged, choices
    /// one-hot, and parts one after the other.
    ///
    /// ```
    /// use rekindle_env::{Buffer, Space};
    ///
    /// let space = Space::discrete(4)?;
    /// let element = Buffer::from_i64(vec![2], &[])?;
    /// let mut flat = [0.0; 4];
    /// space.flatten(element.row(0), &mut flat)?;
    /// assert_eq!(flat, [0.0, 0.0, 1.0, 0.0]);
    /// # Ok::<(), rekindle_env::EnvError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if `out` has another length, [`EnvError::NotInSpace`] if the row
    /// holds a choice that does not exist or another number of numbers, [`EnvError::WrongKind`] if
    /// the row has another layout.
    pub fn flatten(&self, row: Row<'_>, out: &mut [f32]) -> Result<()> {
        if out.len() != self.flat_dim() {
            return Err(EnvError::length("a flattened element", self.flat_dim(), out.len()));
        }
        self.flatten_part(row, out)
    }

    fn flatten_part(&self, row: Row<'_>, mut out: &mut [f32]) -> Result<()> {
        let foreign = || self.not_contained(row);
        match self {
            Self::Box(space) if space.dtype() == BoxDType::Float32 => {
                copy_numbers(row.as_f32()?, out, |x| x).ok_or_else(foreign)?;
            }
            Self::Box(space) if space.dtype().is_int() => {
                copy_numbers(row.as_i64()?, out, |x| x as f32).ok_or_else(foreign)?;
            }
            Self::Box(_) | Self::MultiBinary(_) => {
                copy_numbers(row.as_u8()?, out, f32::from).ok_or_else(foreign)?;
            }
            Self::Discrete(space) => {
                let hot = space.position(row.as_discrete()?).ok_or_else(foreign)?;
                one_hot(hot, out);
            }
            Self::MultiDiscrete(space) => {
                let numbers = row.as_i64()?;
                if !space.contains(numbers) {
                    return Err(foreign());
                }
                for (&number, &n) in numbers.iter().zip(space.nvec()) {
                    one_hot(number as usize, take(&mut out, n));
                }
            }
            Self::Dict(space) => {
                for (key, part) in space.iter() {
                    part.flatten_part(row.get(key)?, take(&mut out, part.flat_dim()))?;
                }
            }
            Self::Tuple(space) => {
                for (i, part) in space.spaces().iter().enumerate() {
                    part.flatten_part(row.index(i)?, take(&mut out, part.flat_dim()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the element that [`flatten`](Self::flatten) wrote as these numbers.
    ///
    /// A choice is the position of the first nonzero number among its numbers.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if there are not [`flat_dim`](Self::flat_dim) numbers,
    /// [`EnvError::NotInSpace`] if all numbers of a choice are zero.
    pub fn unflatten(&self, flat: &[f32]) -> Result<Value> {
        let mut element = Buffer::zeros(self, 1);
        self.unflatten_into(flat, element.row_mut(0))?;
        element.row(0).to_value()
    }

    /// Writes the element that [`flatten`](Self::flatten) wrote as these numbers into `row`.
    ///
    /// # Errors
    ///
    /// As for [`unflatten`](Self::unflatten), and [`EnvError::WrongKind`] if the row has another
    /// layout than the space.
    pub fn unflatten_into(&self, flat: &[f32], row: RowMut<'_>) -> Result<()> {
        if flat.len() != self.flat_dim() {
            return Err(EnvError::length("a flattened element", self.flat_dim(), flat.len()));
        }
        self.unflatten_part(flat, row)
    }

    fn unflatten_part(&self, mut flat: &[f32], mut row: RowMut<'_>) -> Result<()> {
        let hot = |numbers: &[f32]| {
            numbers.iter().position(|&x| x != 0.0).ok_or_else(|| EnvError::NotInSpace {
                space: self.flatten_space().to_string(),
                value: format!("{numbers:?} without a nonzero number"),
            })
        };
        match self {
            Self::Box(space) if space.dtype() == BoxDType::Float32 => row.write_f32(flat)?,
            Self::Box(space) if space.dtype().is_int() => {
                write_numbers(flat, row.as_i64_mut()?, |x| x as i64)?;
            }
            Self::Box(_) | Self::MultiBinary(_) => {
                write_numbers(flat, row.as_u8_mut()?, |x| x as u8)?;
            }
            Self::Discrete(space) => row.write_discrete(space.start() + hot(flat)? as i64)?,
            Self::MultiDiscrete(space) => {
                for (number, &n) in row.as_i64_mut()?.iter_mut().zip(space.nvec()) {
                    *number = hot(split(&mut flat, n))? as i64;
                }
            }
            Self::Dict(space) => {
                for (key, part) in space.iter() {
                    part.unflatten_part(split(&mut flat, part.flat_dim()), row.get_mut(key)?)?;
                }
            }
            Self::Tuple(space) => {
                for (i, part) in space.spaces().iter().enumerate() {
                    part.unflatten_part(split(&mut flat, part.flat_dim()), row.index_mut(i)?)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the `float32` `Box` of the flattened elements: the bounds of boxes, and 0 to 1 for
    /// everything else.
    #[must_use]
    pub fn flatten_space(&self) -> Self {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        self.collect_bounds(&mut low, &mut high);
        Self::Box(BoxSpace::flat(low, high))
    }

    fn collect_bounds(&self, low: &mut Vec<f32>, high: &mut Vec<f32>) {
        match self {
            Self::Box(space) => {
                low.extend_from_slice(space.low());
                high.extend_from_slice(space.high());
            }
            Self::Dict(space) => {
                space.spaces().values().for_each(|part| part.collect_bounds(low, high));
            }
            Self::Tuple(space) => {
                space.spaces().iter().for_each(|part| part.collect_bounds(low, high));
            }
            Self::Discrete(_) | Self::MultiDiscrete(_) | Self::MultiBinary(_) => {
                low.resize(low.len() + self.flat_dim(), 0.0);
                high.resize(high.len() + self.flat_dim(), 1.0);
            }
        }
    }

    fn not_contained(&self, row: Row<'_>) -> EnvError {
        EnvError::NotInSpace { space: self.to_string(), value: format!("{row:?}") }
    }
}

/// Converts all numbers, or none if the counts differ.
fn copy_numbers<T: Copy>(from: &[T], to: &mut [f32], convert: fn(T) -> f32) -> Option<()> {
    (from.len() == to.len()).then(|| {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to = convert(from));
    })
}

fn write_numbers<T>(flat: &[f32], cells: &mut [T], convert: fn(f32) -> T) -> Result<()> {
    if cells.len() != flat.len() {
        return Err(EnvError::length("numbers of a row", flat.len(), cells.len()));
    }
    cells.iter_mut().zip(flat).for_each(|(cell, &number)| *cell = convert(number));
    Ok(())
}

fn one_hot(hot: usize, out: &mut [f32]) {
    out.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(u8::from(i == hot)));
}

/// Splits off the first `n` numbers, none if there are fewer.
fn take<'a>(rest: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
    let (first, others) = std::mem::take(rest).split_at_mut_checked(n).unwrap_or_default();
    *rest = others;
    first
}

/// Splits off the first `n` numbers, none if there are fewer.
fn split<'a>(rest: &mut &'a [f32], n: usize) -> &'a [f32] {
    let (first, others) = rest.split_at_checked(n).unwrap_or_default();
    *rest = others;
    first
}
