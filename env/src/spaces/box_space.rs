//! Boxes: arrays of bounded numbers.

mod bounds;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MAX_SIZE, shape_text};
use crate::error::{EnvError, Result};
use crate::float::Float;
use crate::np_random::Generator;
use bounds::check_bounds;

/// Shortest side of a box of two dimensions that is taken for an image.
const SHORTEST_IMAGE_SIDE: usize = 32;

/// The element type of a [`BoxSpace`].
///
/// | dtype | stored as | bounds |
/// |---|---|---|
/// | `Float32` | `f32` | any, infinite included |
/// | `Uint8` | `u8` | whole numbers from 0 to 255 |
/// | `Int32`, `Int64` | `i64` | whole numbers of at most 2²⁴ in size, which `f32` holds exactly, or infinite |
///
/// An infinite bound of an integer type is that type's own limit. There is no `float64`: networks
/// compute in `f32`, so an environment writes its observations as `f32`. Write other integer types
/// of NumPy as `Int32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BoxDType {
    /// Single-precision numbers.
    Float32,
    /// Bytes, as in images.
    Uint8,
    /// Integers of 32 bits.
    Int32,
    /// Integers of 64 bits. Devices hold 32 bits, so larger values stay on the host.
    Int64,
}

impl BoxDType {
    /// Returns whether elements are stored as `i64`.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64)
    }
}

impl fmt::Display for BoxDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Uint8 => "uint8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
        })
    }
}

/// An array of numbers, each between a lower and an upper bound. Bounds may be infinite.
///
/// ```
/// use rekindle_env::{BoxDType, BoxSpace};
///
/// let torque = BoxSpace::uniform(-2.0, 2.0, &[1])?;
/// let position_and_speed = BoxSpace::new([-1.2, f32::NEG_INFINITY], [0.6, f32::INFINITY], &[2])?;
/// let screen = BoxSpace::image(&[84, 84, 3])?;
/// assert!(torque.is_bounded() && !position_and_speed.is_bounded() && screen.is_bounded());
///
/// let orders = BoxSpace::uniform(0.0, 20.0, &[4])?.with_dtype(BoxDType::Int32)?;
/// assert_eq!(orders.to_string(), "Box(0, 20, (4,), int32)");
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

/// Constructors.
impl BoxSpace {
    /// Creates a `float32` box with bounds for every element, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the number of bounds is not the number of elements;
    /// [`EnvError::InvalidSpace`] if a bound is NaN, a lower bound is above its upper bound, no
    /// finite number is between them, or the shape has no or too many elements.
    pub fn new(
        low: impl Into<Vec<f32>>,
        high: impl Into<Vec<f32>>,
        shape: &[usize],
    ) -> Result<Self> {
        Self::checked(low.into(), high.into(), shape, BoxDType::Float32)
    }

    /// Creates a `float32` box with the same bounds for every element.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn uniform(low: f32, high: f32, shape: &[usize]) -> Result<Self> {
        let size = checked_size(shape)?;
        Self::new(vec![low; size], vec![high; size], shape)
    }

    /// Creates a `float32` box without bounds.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn unbounded(shape: &[usize]) -> Result<Self> {
        Self::uniform(f32::NEG_INFINITY, f32::INFINITY, shape)
    }

    /// Creates a `uint8` box from `low` to `high`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn bytes(low: u8, high: u8, shape: &[usize]) -> Result<Self> {
        Self::uniform(f32::from(low), f32::from(high), shape)?.with_dtype(BoxDType::Uint8)
    }

    /// Creates a `uint8` box from 0 to 255, such as an image of shape `[height, width, channels]`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn image(shape: &[usize]) -> Result<Self> {
        Self::bytes(0, 255, shape)
    }

    /// Returns whether a shape is that of an image without channels: two dimensions of at least 32
    /// each. Smaller ones are tables.
    #[must_use]
    pub fn is_gray_image(shape: &[usize]) -> bool {
        matches!(shape, [height, width] if height.min(width) >= &SHORTEST_IMAGE_SIDE)
    }

    /// Returns the same box with elements of another type, for example the `float32` box of the
    /// numbers that a network puts out before they are rounded.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if a bound does not fit the type; see [`BoxDType`].
    pub fn with_dtype(self, dtype: BoxDType) -> Result<Self> {
        Self::checked(self.low, self.high, &self.shape, dtype)
    }

    fn checked(low: Vec<f32>, high: Vec<f32>, shape: &[usize], dtype: BoxDType) -> Result<Self> {
        let size = checked_size(shape)?;
        for (what, bounds) in [("lower bounds", &low), ("upper bounds", &high)] {
            if bounds.len() != size {
                return Err(EnvError::length(what, size, bounds.len()));
            }
        }
        check_bounds(&low, &high, dtype)?;
        Ok(Self { low, high, shape: shape.to_vec(), dtype })
    }

    /// The `float32` box with the same bounds.
    pub(super) fn to_float(&self) -> Self {
        Self { dtype: BoxDType::Float32, ..self.clone() }
    }

    /// The box of a flattened space: `float32`, one axis.
    pub(super) fn flat(low: Vec<f32>, high: Vec<f32>) -> Self {
        Self { shape: vec![low.len()], low, high, dtype: BoxDType::Float32 }
    }
}

/// Properties.
impl BoxSpace {
    /// Returns the lower bounds, row-major.
    #[must_use]
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// Returns the upper bounds, row-major.
    #[must_use]
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// Returns the shape of the array.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn dtype(&self) -> BoxDType {
        self.dtype
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn size(&self) -> usize {
        self.low.len()
    }

    /// Returns whether every bound is finite.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.low.iter().chain(&self.high).all(|bound| bound.is_finite())
    }

    fn bounds(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.low.iter().copied().zip(self.high.iter().copied())
    }
}

/// Elements.
impl BoxSpace {
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

    pub(super) fn contains_ints(&self, numbers: &[i64]) -> bool {
        let fits = |x: i64| match self.dtype {
            BoxDType::Int32 => i32::try_from(x).is_ok(),
            dtype => dtype == BoxDType::Int64,
        };
        numbers.len() == self.size()
            && numbers.iter().zip(self.bounds()).all(|(&x, (low, high))| {
                // As `f64`, no integer beyond a bound rounds to it.
                fits(x) && f64::from(low) <= x as f64 && x as f64 <= f64::from(high)
            })
    }

    pub(super) fn sample_f32(&self, rng: &mut Generator, out: &mut [f32]) {
        for (x, (low, high)) in out.iter_mut().zip(self.bounds()) {
            *x = draw(rng, f64::from(low), f64::from(high)) as f32;
        }
    }

    pub(super) fn sample_bytes(&self, rng: &mut Generator, out: &mut [u8]) {
        for (x, (low, high)) in out.iter_mut().zip(self.bounds()) {
            *x = rng.uniform(f64::from(low), f64::from(high) + 1.0) as u8;
        }
    }

    pub(super) fn sample_ints(&self, rng: &mut Generator, out: &mut [i64]) {
        for (x, (low, high)) in out.iter_mut().zip(self.bounds()) {
            // Rounding down needs one more at the upper end, which an exponential draw of 0
            // reaches.
            let drawn = draw(rng, f64::from(low), f64::from(high) + 1.0).floor();
            *x = drawn.min(f64::from(high)) as i64;
        }
    }
}

/// Draws a number: uniform between two finite bounds, exponential from a single bound, standard normal
/// without bounds.
fn draw(rng: &mut Generator, low: f64, high: f64) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => rng.uniform(low, high),
        (true, false) => low + rng.standard_exponential(),
        (false, true) => high - rng.standard_exponential(),
        (false, false) => rng.standard_normal(),
    }
}

impl fmt::Display for BoxSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = |bounds: &[f32]| {
            let text = |bound: &f32| match self.dtype {
                BoxDType::Float32 => format!("{bound:?}"),
                _ => format!("{bound}"),
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

/// The number of elements of a shape: at least one, and few enough to fit into memory.
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

/// The serialized form: a single bound stands for all elements.
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
        let float = |bound: &f32| Float(f64::from(*bound));
        let compact = |bounds: Vec<f32>| match bounds.as_slice() {
            [first, rest @ ..] if rest.iter().all(|bound| bound == first) => vec![float(first)],
            _ => bounds.iter().map(float).collect(),
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
            [Float(bound)] => vec![*bound as f32; size],
            _ => bounds.into_iter().map(|Float(bound)| bound as f32).collect(),
        };
        Self::checked(expand(repr.low), expand(repr.high), &repr.shape, repr.dtype)
    }
}
