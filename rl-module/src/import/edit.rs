//! Changes of the values of foreign parameters.

use rekindle_checkpoint::{Array, ArrayData};

use crate::{ModuleError, Result};

/// A change of one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// Another shape; one axis may be −1.
    Reshape(Vec<isize>),
    /// The columns of a linear layer that reads flattened images, from channels-first to
    /// channels-last order.
    ChannelsLast { channels: usize },
}

impl Edit {
    /// Applies the change to the weight `name`.
    pub(super) fn apply(&self, name: &str, array: Array) -> Result<Array> {
        let result = match self {
            Self::Reshape(shape) => reshape(array, shape),
            Self::ChannelsLast { channels } => channels_last(array, *channels),
        };
        let refuse = |reason| ModuleError::UnconvertibleWeight { name: name.into(), reason };
        let (shape, data) = result.map_err(refuse)?;
        Ok(Array::new(shape, data)?)
    }
}

/// A shape with its elements, or the reason why there is none.
type Parts = std::result::Result<(Vec<usize>, ArrayData), String>;

fn reshape(array: Array, shape: &[isize]) -> Parts {
    let (old, data) = array.into_parts();
    let refusal = || format!("shape {old:?} cannot become {shape:?}");
    let free = shape.iter().filter(|&&axis| axis == -1).count();
    let known: Vec<usize> = shape.iter().filter_map(|&axis| axis.try_into().ok()).collect();
    if free > 1 || known.len() + free != shape.len() {
        let rule = "axes are lengths, and at most one may be -1";
        return Err(format!("{}: {rule}", refusal()));
    }
    let product = known.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
    let product = product.ok_or_else(refusal)?;
    let fits = match free {
        0 => product == data.len(),
        _ => product > 0 && data.len().is_multiple_of(product),
    };
    if !fits {
        return Err(format!("{}: it has {} elements", refusal(), data.len()));
    }
    let length = |&axis: &isize| axis.try_into().unwrap_or_else(|_| data.len() / product.max(1));
    let new = shape.iter().map(length).collect();
    Ok((new, data))
}

fn channels_last(array: Array, channels: usize) -> Parts {
    let (shape, data) = array.into_parts();
    let &[rows, columns] = shape.as_slice() else {
        return Err(format!("shape {shape:?} is not that of a linear layer"));
    };
    if channels == 0 || !columns.is_multiple_of(channels) {
        return Err(format!("its {columns} inputs are not images of {channels} channels"));
    }
    let pixels = columns / channels;
    let source = move |row: usize| {
        let pixel_values = move |pixel| (0..channels).map(move |channel| channel * pixels + pixel);
        (0..pixels).flat_map(pixel_values).map(move |column| row * columns + column)
    };
    let order: Vec<usize> = (0..rows).flat_map(source).collect();
    let data = match &data {
        ArrayData::F32(values) => gather(values, &order).into(),
        ArrayData::F64(values) => gather(values, &order).into(),
        other => return Err(format!("{} elements cannot be reordered", other.dtype())),
    };
    Ok((shape, data))
}

/// Returns the elements at some places.
fn gather<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&place| values[place]).collect()
}
