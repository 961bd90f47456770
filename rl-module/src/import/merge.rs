//! Several foreign parameters that become one.

use rekindle_checkpoint::{Array, Element};
use rekindle_core::named::below;
use rekindle_core::weights::Weights;

use super::insert;
use super::rule::linear_layers;
use crate::{ModuleError, Result};

/// Parameters of a [`NameMap`](super::NameMap) that are joined before its rules apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merge {
    /// The rows of parameters below several prefixes, one after the other.
    Concatenate { from: Vec<String>, to: String },
    /// Networks with the prefixes `from0`, `from1`, …, as the layers of an ensemble.
    Ensemble { from: String, to: String },
}

impl Merge {
    /// Moves the parameters that are joined from `weights` to `renamed`.
    pub(super) fn apply(&self, weights: &mut Weights, renamed: &mut Weights) -> Result<()> {
        match self {
            Self::Concatenate { from, to } => concatenate(from, to, weights, renamed),
            Self::Ensemble { from, to } => ensemble(from, to, weights, renamed),
        }
    }
}

/// Concatenates the parameters of each name that all prefixes have.
fn concatenate(
    from: &[String],
    to: &str,
    weights: &mut Weights,
    renamed: &mut Weights,
) -> Result<()> {
    let Some(first) = from.first() else { return Ok(()) };
    let rests: Vec<String> =
        weights.keys().filter_map(|name| below(name, first).map(str::to_owned)).collect();
    for rest in rests {
        let names: Vec<String> = from.iter().map(|prefix| format!("{prefix}{rest}")).collect();
        let Some(parts) = take_all(&names, weights) else { continue };
        let shape = parts[0].shape().to_vec();
        for (name, part) in names.iter().zip(&parts) {
            if part.shape().is_empty() || part.shape()[1..] != shape[1..] {
                let shapes = (part.shape(), &shape);
                return Err(refuse(
                    name,
                    format!("shape {:?} cannot follow {:?}", shapes.0, shapes.1),
                ));
            }
        }
        let rows = parts.iter().map(|part| part.shape()[0]).sum();
        let shape = [&[rows], &shape[1..]].concat();
        insert(renamed, format!("{to}{rest}"), &names[0], joined(&names, &parts, shape, false)?)?;
    }
    Ok(())
}

/// Stacks the layers of numbered networks.
fn ensemble(from: &str, to: &str, weights: &mut Weights, renamed: &mut Weights) -> Result<()> {
    let members: Vec<Vec<String>> = (0..)
        .map(|index| linear_layers(weights, &format!("{from}{index}")))
        .take_while(|layers| !layers.is_empty())
        .collect();
    let Some(first) = members.first() else { return Ok(()) };
    for (depth, of_first) in first.iter().enumerate() {
        for kind in ["weight", "bias"] {
            let names = members.iter().map(|layers| {
                let layer = layers.get(depth).filter(|_| layers.len() == first.len());
                layer.map(|layer| format!("{layer}.{kind}"))
            });
            let name = format!("{of_first}.{kind}");
            let Some(names) = names.collect::<Option<Vec<_>>>() else {
                let reason = format!(
                    "the networks `{from}0`, `{from}1`, … have different numbers of layers"
                );
                return Err(refuse(&name, reason));
            };
            let Some(parts) = take_all(&names, weights) else { continue };
            let shape = parts[0].shape().to_vec();
            for (name, part) in names.iter().zip(&parts) {
                if part.shape() != shape {
                    let reason = format!(
                        "shape {:?} differs from {shape:?} of `{}`",
                        part.shape(),
                        names[0]
                    );
                    return Err(refuse(name, reason));
                }
            }
            let is_matrix = shape.len() == 2;
            let of_each: Vec<usize> = match is_matrix {
                true => vec![shape[1], shape[0]],
                false => shape,
            };
            let shape = [&[parts.len()], &of_each[..]].concat();
            let array = joined(&names, &parts, shape, is_matrix)?;
            insert(renamed, format!("{to}.layers.{depth}.{kind}"), &name, array)?;
        }
    }
    Ok(())
}

/// Takes parameters out of `weights`, if all of them are there.
fn take_all(names: &[String], weights: &mut Weights) -> Option<Vec<Array>> {
    if !names.iter().all(|name| weights.contains_key(name)) {
        return None;
    }
    names.iter().map(|name| weights.remove(name)).collect()
}

/// Returns the elements of several arrays one after the other, those of matrices by columns if `by_columns`.
fn joined(names: &[String], parts: &[Array], shape: Vec<usize>, by_columns: bool) -> Result<Array> {
    if let Some(data) = elements::<f32>(parts, by_columns) {
        return Ok(Array::new(shape, data)?);
    }
    if let Some(data) = elements::<f64>(parts, by_columns) {
        return Ok(Array::new(shape, data)?);
    }
    let types: Vec<_> = parts.iter().map(|part| part.data().dtype()).collect();
    let reason =
        format!("parameters of the types {types:?} cannot be joined; all must be F32, or all F64");
    Err(refuse(&names[0], reason))
}

fn elements<T: Element>(parts: &[Array], by_columns: bool) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for part in parts {
        let values = part.as_slice::<T>().ok()?;
        match (by_columns, part.shape()) {
            (true, &[_, columns]) => {
                let column = |column| values.iter().skip(column).step_by(columns.max(1)).copied();
                all.extend((0..columns).flat_map(column));
            }
            _ => all.extend_from_slice(values),
        }
    }
    Some(all)
}

fn refuse(name: &str, reason: String) -> ModuleError {
    ModuleError::UnconvertibleWeight { name: name.into(), reason }
}
