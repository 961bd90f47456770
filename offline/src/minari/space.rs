//! Spaces in the metadata of a dataset, and how their elements are stored.

use rekindle_env::{BoxDType, BoxSpace, Space};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::parse;
use crate::error::{OfflineError, Result};

/// The largest size up to which `f32` holds every integer.
const MAX_EXACT: f64 = 16_777_216.0;

/// Deepest nesting of a space.
const DEEPEST: usize = 32;

/// Numbers of an element of a space, at most.
const MAX_WIDTH: usize = 1 << 28;

/// A space as the metadata describe it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Description {
    Box {
        dtype: String,
        shape: Vec<usize>,
        low: Value,
        high: Value,
    },
    Discrete {
        n: usize,
        start: i64,
    },
    MultiDiscrete {
        nvec: Value,
        start: Option<Value>,
    },
    MultiBinary {
        n: Value,
    },
    Dict {
        subspaces: serde_json::Map<String, Value>,
    },
    Tuple {
        subspaces: Vec<Value>,
    },
    #[serde(other)]
    Other,
}

/// The kind of number that a leaf is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Byte,
}

/// A leaf of a space: an array of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The shape of a row as it is stored.
    pub(super) stored_shape: Vec<usize>,
    /// The shape of a row of the buffer.
    pub(super) shape: Vec<usize>,
    /// Numbers of a row.
    pub(super) width: usize,
    pub(super) kind: Kind,
    /// What is subtracted from the numbers of a `MultiDiscrete` that does not count from 0.
    pub(super) start: Vec<i64>,
    /// Whether Minari may store the leaf as JPEG images.
    pub(super) is_image: bool,
}

/// How the elements of a space are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Leaf(Leaf),
    Dict(Vec<(String, Self)>),
    Tuple(Vec<Self>),
}

/// A space and how its elements are stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) space: Space,
    pub(super) node: Node,
}

impl Described {
    /// Reads the JSON of a space. Nothing in it is trusted.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::from_value(parse(text)?, 0)
    }

    fn from_value(value: Value, depth: usize) -> Result<Self> {
        if depth > DEEPEST {
            return Err(damaged("a space is nested too deeply"));
        }
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("none").to_owned();
        match serde_json::from_value(value)? {
            Description::Box { dtype, shape, low, high } => boxed(&dtype, &shape, &low, &high),
            Description::Discrete { n, start } => {
                let space = Space::discrete_with_start(n, start)?;
                Ok(Self::leaf(space, Kind::Int, &[], &[]))
            }
            Description::MultiDiscrete { nvec, start } => {
                let stored_shape = shape_of(&nvec);
                let nvec: Vec<i64> = integers(&nvec)?;
                let mut start = start.as_ref().map_or_else(|| Ok(Vec::new()), integers)?;
                if start.iter().all(|start| *start == 0) {
                    start.clear();
                } else if start.len() != nvec.len() {
                    return Err(damaged("a MultiDiscrete has other numbers of choices and starts"));
                }
                let negative = |_| damaged("a MultiDiscrete has a negative number of choices");
                let counts = nvec.into_iter().map(usize::try_from);
                let counts = counts.collect::<Result<Vec<_>, _>>().map_err(negative)?;
                let shape = vec![counts.len()];
                let mut described =
                    Self::leaf(Space::multi_discrete(counts)?, Kind::Int, &stored_shape, &shape);
                if let Node::Leaf(leaf) = &mut described.node {
                    leaf.start = start;
                }
                Ok(described)
            }
            Description::MultiBinary { n } => {
                let stored_shape = sizes(&integers(&n)?)?;
                let width = width_of(&stored_shape)?;
                Ok(Self::leaf(Space::multi_binary(width)?, Kind::Byte, &stored_shape, &[width]))
            }
            Description::Dict { subspaces } => {
                let parts = subspaces.into_iter().map(|(key, part)| {
                    let part = Self::from_value(part, depth + 1)?;
                    Ok(((key.clone(), part.space), (key, part.node)))
                });
                let (spaces, nodes): (Vec<_>, Vec<_>) =
                    parts.collect::<Result<Vec<_>>>()?.into_iter().unzip();
                Ok(Self { space: Space::dict(spaces)?, node: Node::Dict(nodes) })
            }
            Description::Tuple { subspaces } => {
                let parts = subspaces.into_iter().map(|part| {
                    let part = Self::from_value(part, depth + 1)?;
                    Ok((part.space, part.node))
                });
                let (spaces, nodes): (Vec<_>, Vec<_>) =
                    parts.collect::<Result<Vec<_>>>()?.into_iter().unzip();
                Ok(Self { space: Space::tuple(spaces)?, node: Node::Tuple(nodes) })
            }
            Description::Other => Err(OfflineError::UnsupportedSpace { kind }),
        }
    }

    fn leaf(space: Space, kind: Kind, stored_shape: &[usize], shape: &[usize]) -> Self {
        let leaf = Leaf {
            stored_shape: stored_shape.to_vec(),
            shape: shape.to_vec(),
            width: shape.iter().product(),
            kind,
            start: Vec::new(),
            is_image: false,
        };
        Self { space, node: Node::Leaf(leaf) }
    }
}

/// The box with the same bounds. Bounds of integers that `f32` does not hold exactly are left out.
fn boxed(dtype: &str, shape: &[usize], low: &Value, high: &Value) -> Result<Described> {
    let target = match dtype {
        "float16" | "float32" | "float64" => BoxDType::Float32,
        "uint8" | "bool" => BoxDType::Uint8,
        "int8" | "int16" | "uint16" | "int32" => BoxDType::Int32,
        "uint32" | "int64" | "uint64" => BoxDType::Int64,
        other => return Err(OfflineError::UnsupportedSpace { kind: format!("Box of {other}") }),
    };
    width_of(shape)?;
    let bounds = |bounds: &Value, beyond: f32| -> Result<Vec<f32>> {
        let mut all = Vec::new();
        numbers(bounds, &mut all, 0)?;
        let bound = |number: f64| match target {
            BoxDType::Float32 => number as f32,
            _ if number.abs() > MAX_EXACT => beyond,
            _ => number as f32,
        };
        Ok(all.into_iter().map(bound).collect())
    };
    let (low, high) = (bounds(low, f32::NEG_INFINITY)?, bounds(high, f32::INFINITY)?);
    let is_image = target == BoxDType::Uint8
        && dtype == "uint8"
        && matches!(shape, [height, width] | [height, width, _] if *height.min(width) >= 32)
        && low.iter().all(|low| *low == 0.0)
        && high.iter().all(|high| *high == 255.0);
    let space = Space::Box(BoxSpace::new(low, high, shape)?.with_dtype(target)?);
    let kind = match target {
        BoxDType::Float32 => Kind::Float,
        BoxDType::Uint8 => Kind::Byte,
        _ => Kind::Int,
    };
    let mut described = Described::leaf(space, kind, shape, shape);
    if let Node::Leaf(leaf) = &mut described.node {
        leaf.is_image = is_image;
    }
    Ok(described)
}

/// Collects nested lists of numbers, row-major.
fn numbers(value: &Value, all: &mut Vec<f64>, depth: usize) -> Result<()> {
    match value {
        Value::Array(parts) if depth <= DEEPEST => {
            parts.iter().try_for_each(|part| numbers(part, all, depth + 1))
        }
        Value::Bool(bit) => {
            all.push(f64::from(u8::from(*bit)));
            Ok(())
        }
        // JSON has no infinities, so they are text here.
        Value::String(text) => {
            all.push(text.parse().map_err(|_| damaged("a space has text for a number"))?);
            Ok(())
        }
        _ => {
            all.push(value.as_f64().ok_or_else(|| damaged("a bound of a space is not a number"))?);
            Ok(())
        }
    }
}

/// Collects nested lists of integers, row-major.
fn integers(value: &Value) -> Result<Vec<i64>> {
    match value {
        Value::Array(parts) => {
            let parts = parts.iter().map(integers).collect::<Result<Vec<_>>>()?;
            Ok(parts.into_iter().flatten().collect())
        }
        _ => match value.as_i64() {
            Some(number) => Ok(vec![number]),
            None => Err(damaged("a size of a space is no integer")),
        },
    }
}

/// Returns the shape of nested lists.
fn shape_of(value: &Value) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut value = value;
    while let Value::Array(parts) = value {
        shape.push(parts.len());
        match parts.first() {
            Some(first) => value = first,
            None => break,
        }
    }
    shape
}

fn sizes(numbers: &[i64]) -> Result<Vec<usize>> {
    let sizes = numbers.iter().map(|number| usize::try_from(*number));
    sizes.collect::<Result<_, _>>().map_err(|_| damaged("a space has a negative size"))
}

fn width_of(shape: &[usize]) -> Result<usize> {
    let width = shape.iter().try_fold(1_usize, |width, size| width.checked_mul(*size));
    let width = width.filter(|width| *width <= MAX_WIDTH);
    width.ok_or_else(|| damaged(format!("a space has the shape {shape:?}")))
}

fn damaged(reason: impl Into<String>) -> OfflineError {
    OfflineError::Damaged { reason: reason.into() }
}

/// Returns the JSON of a space as Minari writes it.
pub(super) fn to_json(space: &Space) -> Value {
    match space {
        Space::Box(space) => json!({
            "type": "Box",
            "dtype": space.dtype().to_string(),
            "shape": space.shape(),
            "low": nested(space.low(), space.shape(), space.dtype()),
            "high": nested(space.high(), space.shape(), space.dtype()),
        }),
        Space::Discrete(space) => json!({
            "type": "Discrete", "dtype": "int64", "start": space.start(), "n": space.n(),
        }),
        Space::MultiDiscrete(space) => json!({
            "type": "MultiDiscrete", "dtype": "int64", "nvec": space.nvec(),
            "start": vec![0; space.nvec().len()],
        }),
        Space::MultiBinary(space) => json!({"type": "MultiBinary", "n": space.n()}),
        Space::Dict(dict) => {
            let parts: serde_json::Map<_, _> =
                dict.iter().map(|(key, part)| (key.to_owned(), to_json(part))).collect();
            json!({"type": "Dict", "subspaces": parts})
        }
        Space::Tuple(tuple) => {
            let parts: Vec<_> = tuple.spaces().iter().map(to_json).collect();
            json!({"type": "Tuple", "subspaces": parts})
        }
    }
}

/// Returns bounds as nested lists.
fn nested(bounds: &[f32], shape: &[usize], dtype: BoxDType) -> Value {
    match shape.split_first() {
        None => bounds.first().map_or(Value::Null, |bound| bound_to_json(*bound, dtype)),
        Some((size, rest)) => {
            let rows = bounds.chunks((bounds.len() / (*size).max(1)).max(1));
            Value::Array(rows.map(|row| nested(row, rest, dtype)).collect())
        }
    }
}

/// Integers stay integers, which NumPy needs, and have the limits of their type for infinities. Infinities of floats
/// are text until the JSON is written.
fn bound_to_json(bound: f32, dtype: BoxDType) -> Value {
    match (bound.is_finite(), bound > 0.0, dtype) {
        (true, ..) if bound.fract() == 0.0 && f64::from(bound.abs()) <= MAX_EXACT => {
            Value::from(bound as i64)
        }
        (true, ..) => Value::from(f64::from(bound)),
        (_, true, BoxDType::Int32) => Value::from(i32::MAX),
        (_, false, BoxDType::Int32) => Value::from(i32::MIN),
        (_, true, BoxDType::Int64) => Value::from(i64::MAX),
        (_, false, BoxDType::Int64) => Value::from(i64::MIN),
        (_, true, _) => Value::from("Infinity"),
        (_, false, _) => Value::from("-Infinity"),
    }
}
