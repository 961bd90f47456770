//! Boxes: arrays of numbers between two bounds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MAX_SIZE, shape_text};
use crate::float::Float;
use crate::np_random::Generator;
use crate::{EnvError, Result};

/// The element type of a [`BoxSpace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxDType {
    /// Numbers.
    Float32,
    /// Bytes, as in images.
    Uint8,
}

impl fmt::Display for BoxDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Uint8 => "uint8",
        })
    }
}

/// An array of numbers, each between a lower and an upper bound, either of which may be infinite.
///
/// ```
/// use rekindle_env::BoxSpace;
///
/// let torque = BoxSpace::uniform(-2.0, 2.0, &[1])?;
/// let position_and_speed = BoxSpace::new([-1.2, f32::NEG_INFINITY], [0.6, f32::INFINITY], &[2])?;
/// let screen = BoxSpace::image(&[84, 84, 3])?;
/// assert!(torque.is_bounded() && !position_and_speed.is_bounded() && screen.is_bounded());
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Repr", try_from = "Repr")]
pub struct BoxSpace {
    low: Vec<f32>,
    high: Vec<f32>,
    shape: Vec<usize>,
    dtype: BoxDType,
}

impl BoxSpace {
    /// A `float32` box with bounds of its own for every element, row-major.
    pub fn new(
        low: impl Into<Vec<f32>>,
        high: impl Into<Vec<f32>>,
        shape: &[usize],
    ) -> Result<Self> {
        Self::checked(low.into(), high.into(), shape, BoxDType::Float32)
    }

    /// A `float32` box with the same bounds for every element.
    pub fn uniform(low: f32, high: f32, shape: &[usize]) -> Result<Self> {
        let size = checked_size(shape)?;
        Self::new(vec![low; size], vec![high; size], shape)
    }

    /// A `float32` box without bounds.
    pub fn unbounded(shape: &[usize]) -> Result<Self> {
        Self::uniform(f32::NEG_INFINITY, f32::INFINITY, shape)
    }

    /// A `uint8` box from `low` to `high`.
    pub fn bytes(low: u8, high: u8, shape: &[usize]) -> Result<Self> {
        let size = checked_size(shape)?;
        let (low, high) = (vec![f32::from(low); size], vec![f32::from(high); size]);
        Self::checked(low, high, shape, BoxDType::Uint8)
    }

    /// A `uint8` box from 0 to 255, such as an image of shape `[height, width, channels]`.
    pub fn image(shape: &[usize]) -> Result<Self> {
        Self::bytes(0, 255, shape)
    }

    fn checked(low: Vec<f32>, high: Vec<f32>, shape: &[usize], dtype: BoxDType) -> Result<Self> {
        let size = checked_size(shape)?;
        for (what, bounds) in [("lower bounds", &low), ("upper bounds", &high)] {
            if bounds.len() != size {
                return Err(EnvError::length(what, size, bounds.len()));
            }
        }
        for (i, (&low, &high)) in low.iter().zip(&high).enumerate() {
            let reason = if low.is_nan() || high.is_nan() {
                "a bound that is not a number"
            } else if low > high {
                "a lower bound above the upper bound"
            } else if low == f32::INFINITY || high == f32::NEG_INFINITY {
                "no finite value between its bounds"
            } else if dtype == BoxDType::Uint8
                && [low, high].iter().any(|b| f32::from(*b as u8) != *b)
            {
                "a bound that is not an integer between 0 and 255"
            } else {
                continue;
            };
            let reason = format!("element {i} of a {dtype} Box has {reason}: [{low:?}, {high:?}]");
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { low, high, shape: shape.to_vec(), dtype })
    }

    /// The lower bounds, row-major.
    #[must_use]
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The upper bounds, row-major.
    #[must_use]
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// The shape of the array.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of its elements.
    #[must_use]
    pub fn dtype(&self) -> BoxDType {
        self.dtype
    }

    /// The number of elements.
    #[must_use]
    pub fn size(&self) -> usize {
        self.low.len()
    }

    /// Whether every bound is finite.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.low.iter().chain(&self.high).all(|bound| bound.is_finite())
    }

    pub(super) fn contains_f32(&self, numbers: &[f32]) -> bool {
        self.dtype == BoxDType::Float32
            && numbers.len() == self.size()
            && numbers.iter().zip(self.bounds()).all(|(x, (low, high))| low <= *x && *x <= high)
    }

    pub(super) fn contains_bytes(&self, bytes: &[u8]) -> bool {
        self.dtype == BoxDType::Uint8
            && bytes.len() == self.size()
            && bytes
                .iter()
                .zip(self.bounds())
                .all(|(&x, (low, high))| low <= f32::from(x) && f32::from(x) <= high)
    }

    pub(super) fn sample_f32(&self, rng: &mut Generator, out: &mut [f32]) {
        for (x, (low, high)) in out.iter_mut().zip(self.bounds()) {
            let (a, b) = (f64::from(low), f64::from(high));
            *x = match (a.is_finite(), b.is_finite()) {
                (true, true) => rng.uniform(a, b),
                (true, false) => a + rng.standard_exponential(),
                (false, true) => b - rng.standard_exponential(),
                (false, false) => rng.standard_normal(),
            } as f32;
        }
    }

    pub(super) fn sample_bytes(&self, rng: &mut Generator, out: &mut [u8]) {
        for (x, (low, high)) in out.iter_mut().zip(self.bounds()) {
            *x = rng.uniform(f64::from(low), f64::from(high) + 1.0) as u8;
        }
    }

    /// The box of a flattened space: `float32`, one axis.
    pub(super) fn flat(low: Vec<f32>, high: Vec<f32>) -> Self {
        Self { shape: vec![low.len()], low, high, dtype: BoxDType::Float32 }
    }

    fn bounds(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.low.iter().copied().zip(self.high.iter().copied())
    }
}

impl fmt::Display for BoxSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = |bounds: &[f32]| {
            let text = |bound: &f32| match self.dtype {
                BoxDType::Float32 => format!("{bound:?}"),
                BoxDType::Uint8 => format!("{bound}"),
            };
            match bounds {
                [first, rest @ ..] if rest.iter().all(|bound| bound == first) => text(first),
                [a, b, c, .., x, y, z] if bounds.len() > 8 => {
                    let [a, b, c, x, y, z] = [a, b, c, x, y, z].map(text);
                    format!("[{a} {b} {c} ... {x} {y} {z}]")
                }
                _ => format!("[{}]", bounds.iter().map(text).collect::<Vec<_>>().join(" ")),
            }
        };
        let (low, high, shape) = (bounds(&self.low), bounds(&self.high), shape_text(&self.shape));
        write!(f, "Box({low}, {high}, {shape}, {})", self.dtype)
    }
}

/// The number of elements of a shape: at least one, and few enough to be in memory.
fn checked_size(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1_usize, |size, &axis| size.checked_mul(axis))
        .filter(|&size| (1..=MAX_SIZE).contains(&size))
        .ok_or_else(|| {
            let reason = format!("shape {shape:?} needs 1 to {MAX_SIZE} elements");
            EnvError::invalid_space(reason)
        })
}

/// The serialised form: a single bound stands for all elements.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Box")]
struct Repr {
    low: Vec<Float>,
    high: Vec<Float>,
    shape: Vec<usize>,
    dtype: BoxDType,
}

impl From<BoxSpace> for Repr {
    fn from(space: BoxSpace) -> Self {
        let compact = |bounds: Vec<f32>| match bounds.as_slice() {
            [first, rest @ ..] if rest.iter().all(|bound| bound == first) => vec![Float(*first)],
            _ => bounds.into_iter().map(Float).collect(),
        };
        let (low, high) = (compact(space.low), compact(space.high));
        Self { low, high, shape: space.shape, dtype: space.dtype }
    }
}

impl TryFrom<Repr> for BoxSpace {
    type Error = EnvError;

    fn try_from(repr: Repr) -> Result<Self> {
        let size = checked_size(&repr.shape)?;
        let expand = |bounds: Vec<Float>| match bounds.as_slice() {
            [Float(bound)] => vec![*bound; size],
            _ => bounds.into_iter().map(|Float(bound)| bound).collect(),
        };
        Self::checked(expand(repr.low), expand(repr.high), &repr.shape, repr.dtype)
    }
}
