//! Spaces of Gymnasium as spaces of this library.

use rekindle_env::{BoxDType, BoxSpace, EnvError, Space};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::error::{GymnasiumError, Result};
use crate::leaf::{Dtype, Leaf, Storage};

/// The largest size up to which `f32` holds every integer.
const MAX_EXACT: f64 = 16_777_216.0;

/// A space as a worker describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Description {
    Box { shape: Vec<usize>, low: Vec<Bound>, high: Vec<Bound>, dtype: String },
    Discrete { n: usize, start: i64, dtype: String },
    MultiDiscrete { shape: Vec<usize>, nvec: Vec<usize>, start: Vec<i64>, dtype: String },
    MultiBinary { shape: Vec<usize>, dtype: String },
    Dict { parts: Vec<(String, Self)> },
    Tuple { parts: Vec<Self> },
}

/// A bound of a box. JSON has no infinities, so they are text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bound {
    Number(f64),
    Text(String),
}

impl Bound {
    fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(f64::NAN),
        }
    }
}

/// A space and its leaves, in the order in which Python has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(crate) space: Space,
    pub(crate) leaves: Vec<Leaf>,
}

impl Described {
    /// Reads a description. Nothing in it is trusted.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] for contradictory sizes, [`GymnasiumError::UnsupportedSpace`] for
    /// other types of numbers, and the errors of [`Space`].
    pub(crate) fn new(env: &str, role: &str, description: &Description) -> Result<Self> {
        let mut leaves = Vec::new();
        let space = Builder { env, role }.space(description, &mut Vec::new(), &mut leaves)?;
        Ok(Self { space, leaves })
    }
}

struct Builder<'a> {
    env: &'a str,
    role: &'a str,
}

impl Builder<'_> {
    fn space(
        &self,
        description: &Description,
        keys: &mut Vec<Json>,
        leaves: &mut Vec<Leaf>,
    ) -> Result<Space> {
        match description {
            Description::Box { shape, low, high, dtype } => {
                let dtype = self.dtype(dtype)?;
                let space = boxed(shape, low, high, dtype)?;
                let storage = match space.dtype() {
                    BoxDType::Float32 => Storage::Float,
                    BoxDType::Uint8 => Storage::Byte,
                    _ => Storage::Int,
                };
                leaves.push(leaf(keys, dtype, shape, storage, &[])?);
                Ok(Space::Box(space))
            }
            Description::Discrete { n, start, dtype } => {
                leaves.push(leaf(keys, self.dtype(dtype)?, &[], Storage::Int, &[])?);
                Ok(Space::discrete_with_start(*n, *start)?)
            }
            Description::MultiDiscrete { shape, nvec, start, dtype } => {
                let start = if start.iter().all(|&x| x == 0) { &[][..] } else { start };
                let leaf = leaf(keys, self.dtype(dtype)?, shape, Storage::Int, start)?;
                if leaf.width != nvec.len() || !(start.is_empty() || start.len() == leaf.width) {
                    return Err(GymnasiumError::protocol("a MultiDiscrete contradicts its shape"));
                }
                leaves.push(leaf);
                Ok(Space::multi_discrete(nvec.clone())?)
            }
            Description::MultiBinary { shape, dtype } => {
                let leaf = leaf(keys, self.dtype(dtype)?, shape, Storage::Byte, &[])?;
                let n = leaf.width;
                leaves.push(leaf);
                Ok(Space::multi_binary(n)?)
            }
            Description::Dict { parts } => {
                let mut spaces = Vec::new();
                for (key, part) in parts {
                    keys.push(key.clone().into());
                    spaces.push((key.clone(), self.space(part, keys, leaves)?));
                    keys.pop();
                }
                Ok(Space::dict(spaces)?)
            }
            Description::Tuple { parts } => {
                let mut spaces = Vec::new();
                for (position, part) in parts.iter().enumerate() {
                    keys.push(position.into());
                    spaces.push(self.space(part, keys, leaves)?);
                    keys.pop();
                }
                Ok(Space::tuple(spaces)?)
            }
        }
    }

    fn dtype(&self, name: &str) -> Result<Dtype> {
        Dtype::named(name).ok_or_else(|| GymnasiumError::UnsupportedSpace {
            env: self.env.to_owned(),
            role: self.role.to_owned(),
            kind: format!("a space of {name}"),
            space: name.to_owned(),
        })
    }
}

fn leaf(
    keys: &[Json],
    dtype: Dtype,
    shape: &[usize],
    storage: Storage,
    start: &[i64],
) -> Result<Leaf> {
    let width = shape.iter().try_fold(1_usize, |width, &size| width.checked_mul(size));
    let fits = match storage {
        Storage::Float => matches!(dtype, Dtype::Float16 | Dtype::Float32 | Dtype::Float64),
        Storage::Byte => dtype.size() == 1,
        Storage::Int => !matches!(dtype, Dtype::Float16 | Dtype::Float32 | Dtype::Float64),
    };
    let Some(width) = width.filter(|_| fits) else {
        return Err(GymnasiumError::protocol(format!(
            "a leaf of {dtype:?} has the shape {shape:?}"
        )));
    };
    let path = keys.iter().map(|key| match key {
        Json::String(key) => key.clone(),
        position => position.to_string(),
    });
    let (keys, path) = (keys.to_vec(), path.collect());
    Ok(Leaf { keys, path, dtype, shape: shape.to_vec(), width, storage, start: start.to_vec() })
}

/// The box with the same bounds. Bounds of integers that `f32` does not hold exactly are left out.
fn boxed(
    shape: &[usize],
    low: &[Bound],
    high: &[Bound],
    dtype: Dtype,
) -> Result<BoxSpace, EnvError> {
    let target = match dtype {
        Dtype::Float16 | Dtype::Float32 | Dtype::Float64 => BoxDType::Float32,
        Dtype::Uint8 | Dtype::Bool => BoxDType::Uint8,
        Dtype::Uint32 | Dtype::Int64 | Dtype::Uint64 => BoxDType::Int64,
        _ => BoxDType::Int32,
    };
    let bounds = |bounds: &[Bound], beyond: f32| -> Vec<f32> {
        let bound = |bound: &Bound| match bound.number() {
            number if target == BoxDType::Float32 => number as f32,
            number if number.abs() > MAX_EXACT => beyond,
            number => number as f32,
        };
        bounds.iter().map(bound).collect()
    };
    let (mut low, mut high) = (bounds(low, f32::NEG_INFINITY), bounds(high, f32::INFINITY));
    if let ([low], [high]) = (low.as_slice(), high.as_slice()) {
        return BoxSpace::uniform(*low, *high, shape)?.with_dtype(target);
    }
    let size = low.len().max(high.len());
    for bounds in [&mut low, &mut high] {
        if let &mut [bound] = bounds.as_mut_slice() {
            bounds.resize(size, bound);
        }
    }
    BoxSpace::new(low, high, shape)?.with_dtype(target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(description: Json) -> Result<Described> {
        let description = serde_json::from_value(description).unwrap();
        Described::new("lab", "observation", &description)
    }

    fn text(description: Json) -> String {
        described(description).unwrap().space.to_string()
    }

    fn boxed(dtype: &str, low: Json, high: Json) -> Json {
        json!({"kind": "Box", "shape": [2], "low": low, "high": high, "dtype": dtype})
    }

    #[test]
    fn boxes_of_every_type_have_a_counterpart() {
        for (dtype, expected) in [
            ("float16", "float32"),
            ("float32", "float32"),
            ("float64", "float32"),
            ("bool", "uint8"),
            ("uint8", "uint8"),
            ("int8", "int32"),
            ("int16", "int32"),
            ("uint16", "int32"),
            ("int32", "int32"),
            ("uint32", "int64"),
            ("int64", "int64"),
            ("uint64", "int64"),
        ] {
            let found = text(boxed(dtype, json!([0]), json!([1])));
            assert!(found.ends_with(&format!("(2,), {expected})")), "{dtype}: {found}");
        }
        let error = described(boxed("complex64", json!([0]), json!([1]))).unwrap_err();
        assert!(error.to_string().contains("complex64"), "{error}");
    }

    #[test]
    fn bounds_may_be_infinite_one_for_all_or_one_each() {
        assert_eq!(
            text(boxed("float64", json!(["-inf"]), json!([0.5, "inf"]))),
            "Box(-inf, [0.5 inf], (2,), float32)"
        );
        // The limits of a type are no bounds: `f32` does not hold them.
        assert_eq!(
            text(boxed("int32", json!([i32::MIN]), json!([i32::MAX, 7]))),
            "Box(-inf, [inf 7], (2,), int32)"
        );
    }

    #[test]
    fn choices_and_nested_spaces_keep_their_order_in_python() {
        let described = described(json!({"kind": "Dict", "parts": [
            ["z", {"kind": "Discrete", "n": 3, "start": -1, "dtype": "int64"}],
            ["a", {"kind": "Tuple", "parts": [
                {"kind": "MultiBinary", "shape": [2, 2], "dtype": "int8"},
                {"kind": "MultiDiscrete", "shape": [2], "nvec": [2, 3], "start": [1, 0],
                 "dtype": "int64"},
            ]}],
        ]}));
        let described = described.unwrap();
        assert_eq!(
            described.space.to_string(),
            "Dict('a': Tuple(MultiBinary(4), MultiDiscrete([2 3])), 'z': Discrete(3, start=-1))"
        );
        let paths: Vec<_> = described.leaves.iter().map(|leaf| leaf.path.join(".")).collect();
        assert_eq!(paths, ["z", "a.0", "a.1"]);
        assert_eq!(described.leaves[1].width, 4);
        assert_eq!(described.leaves[2].start, [1, 0]);
    }

    #[test]
    fn descriptions_that_contradict_themselves_are_errors() {
        let huge = json!([usize::MAX, 2]);
        for invalid in [
            json!({"kind": "Box", "shape": [3], "low": [0, 0], "high": [1, 1], "dtype": "int8"}),
            json!({"kind": "Box", "shape": [0], "low": [], "high": [], "dtype": "float32"}),
            json!({"kind": "Box", "shape": huge, "low": [0], "high": [1], "dtype": "float32"}),
            json!({"kind": "Box", "shape": [1], "low": ["x"], "high": [1], "dtype": "float32"}),
            json!({"kind": "Discrete", "n": 0, "start": 0, "dtype": "int64"}),
            json!({"kind": "Discrete", "n": 2, "start": 0, "dtype": "float32"}),
            json!({"kind": "MultiBinary", "shape": huge, "dtype": "int8"}),
            json!({"kind": "MultiBinary", "shape": [2], "dtype": "int64"}),
            json!({"kind": "MultiDiscrete", "shape": [2], "nvec": [1], "start": [], "dtype": "int64"}),
            json!({"kind": "Dict", "parts": []}),
            json!({"kind": "Tuple", "parts": []}),
        ] {
            assert!(described(invalid.clone()).is_err(), "{invalid}");
        }
    }
}
