//! The sets that observations and actions come from.
//!
//! [`Space`] is one of Gymnasium's six fundamental spaces; see its variants. Every space can
//! [`sample`](Space::sample) an element, tell whether it [`contains`](Space::contains) one, and
//! [`flatten`](Space::flatten) it into numbers for a network.
//!
//! # Spaces that only Gymnasium has
//!
//! | Gymnasium | here |
//! |---|---|
//! | `Box` of `float64` | a `float32` [`Box`](BoxSpace); an environment writes its numbers as `f32` |
//! | `Box` of `int8`, `int16`, `uint16`, ... | a `Box` of [`Int32`](BoxDType::Int32) |
//! | `MultiDiscrete` with a `start` | add the offset in the environment, or a `Tuple` of [`Space::discrete_with_start`] |
//! | `MultiDiscrete` of two dimensions | flatten `nvec`, row-major |
//! | `MultiBinary` of two dimensions | flatten it, or a [`Space::bytes`] from 0 to 1 |
//! | a dot in a key of a `Dict` | rejected: dots separate the keys in the path of a leaf |
//! | `Text`, `Graph`, `Sequence`, `OneOf` | none; a network needs a fixed layout |

mod box_space;
mod discrete;
mod elements;
mod flatten;
mod multi_binary;
mod multi_discrete;
mod nested;
mod sampler;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use box_space::{BoxDType, BoxSpace};
pub use discrete::Discrete;
pub use multi_binary::MultiBinary;
pub use multi_discrete::MultiDiscrete;
pub use nested::{DictSpace, TupleSpace};
pub use sampler::SpaceSampler;

use crate::error::{EnvError, Result};

/// A set of observations or actions.
///
/// ```
/// use rekindle_env::{Space, np_random::Generator};
///
/// let space = Space::dict([
///     ("position", Space::boxed(-1.0, 1.0, &[3])?),
///     ("gripper", Space::discrete(2)?),
/// ])?;
/// assert_eq!(
///     space.to_string(),
///     "Dict('gripper': Discrete(2), 'position': Box(-1.0, 1.0, (3,), float32))"
/// );
/// assert_eq!(space.flat_dim(), 5);
///
/// let element = space.sample(&mut Generator::from_seed(0));
/// assert!(space.contains(&element));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Space {
    /// An array of bounded numbers.
    Box(BoxSpace),
    /// One choice among `n` integers.
    Discrete(Discrete),
    /// Several choices at once.
    MultiDiscrete(MultiDiscrete),
    /// Bits.
    MultiBinary(MultiBinary),
    /// Named parts.
    Dict(DictSpace),
    /// Parts in order.
    Tuple(TupleSpace),
}

/// Constructors.
impl Space {
    /// Creates a `float32` [`Box`](BoxSpace::uniform) with the same bounds for every element.
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`].
    pub fn boxed(low: f32, high: f32, shape: &[usize]) -> Result<Self> {
        BoxSpace::uniform(low, high, shape).map(Self::Box)
    }

    /// Creates a `float32` [`Box`](BoxSpace::new) that is a vector with bounds for every element.
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`].
    pub fn box_between(low: impl Into<Vec<f32>>, high: impl Into<Vec<f32>>) -> Result<Self> {
        let low = low.into();
        let shape = [low.len()];
        BoxSpace::new(low, high, &shape).map(Self::Box)
    }

    /// Creates a `float32` [`Box`](BoxSpace::unbounded) without bounds.
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`].
    pub fn unbounded(shape: &[usize]) -> Result<Self> {
        BoxSpace::unbounded(shape).map(Self::Box)
    }

    /// Creates an `int32` [`Box`](BoxSpace) with the same bounds for every element.
    ///
    /// Bounds are at most 2²⁴ in size; see [`BoxDType`] for others and for `int64`.
    ///
    /// ```
    /// use rekindle_env::Space;
    ///
    /// assert_eq!(Space::int_box(-3, 9, &[2])?.to_string(), "Box(-3, 9, (2,), int32)");
    /// # Ok::<(), rekindle_env::EnvError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`], and [`EnvError::InvalidSpace`] for a larger bound.
    pub fn int_box(low: i32, high: i32, shape: &[usize]) -> Result<Self> {
        let exact = |bound: i32| bound as f32 as i64 == i64::from(bound);
        if !exact(low) || !exact(high) {
            let reason = format!("an int32 Box has a bound beyond 2^24 in size: [{low}, {high}]");
            return Err(EnvError::invalid_space(reason));
        }
        BoxSpace::uniform(low as f32, high as f32, shape)?
            .with_dtype(BoxDType::Int32)
            .map(Self::Box)
    }

    /// Creates a `uint8` [`Box`](BoxSpace::bytes) from `low` to `high`.
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`].
    pub fn bytes(low: u8, high: u8, shape: &[usize]) -> Result<Self> {
        BoxSpace::bytes(low, high, shape).map(Self::Box)
    }

    /// Creates a `uint8` [`Box`](BoxSpace::image) from 0 to 255.
    ///
    /// # Errors
    ///
    /// As for [`BoxSpace::new`].
    pub fn image(shape: &[usize]) -> Result<Self> {
        BoxSpace::image(shape).map(Self::Box)
    }

    /// Creates the [`Discrete`] space of the integers `0..n`.
    ///
    /// # Errors
    ///
    /// As for [`Discrete::with_start`].
    pub fn discrete(n: usize) -> Result<Self> {
        Discrete::new(n).map(Self::Discrete)
    }

    /// Creates the [`Discrete`] space of the integers `start..start + n`.
    ///
    /// # Errors
    ///
    /// As for [`Discrete::with_start`].
    pub fn discrete_with_start(n: usize, start: i64) -> Result<Self> {
        Discrete::with_start(n, start).map(Self::Discrete)
    }

    /// Creates the [`MultiDiscrete`] space with one integer below each entry of `nvec`.
    ///
    /// # Errors
    ///
    /// As for [`MultiDiscrete::new`].
    pub fn multi_discrete(nvec: impl Into<Vec<usize>>) -> Result<Self> {
        MultiDiscrete::new(nvec).map(Self::MultiDiscrete)
    }

    /// Creates the [`MultiBinary`] space of `n` bits.
    ///
    /// # Errors
    ///
    /// As for [`MultiBinary::new`].
    pub fn multi_binary(n: usize) -> Result<Self> {
        MultiBinary::new(n).map(Self::MultiBinary)
    }

    /// Creates a [`Dict`](DictSpace) of named parts.
    ///
    /// # Errors
    ///
    /// As for [`DictSpace::new`].
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Result<Self> {
        DictSpace::new(entries).map(Self::Dict)
    }

    /// Creates a [`Tuple`](TupleSpace) of parts in order.
    ///
    /// # Errors
    ///
    /// As for [`TupleSpace::new`].
    pub fn tuple(spaces: impl Into<Vec<Self>>) -> Result<Self> {
        TupleSpace::new(spaces).map(Self::Tuple)
    }
}

/// Access to one kind of space.
impl Space {
    /// Returns the space as a `Box`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_box(&self) -> Result<&BoxSpace> {
        if let Self::Box(space) = self { Ok(space) } else { Err(self.wrong_kind("a Box space")) }
    }

    /// Returns the space as a `Discrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_discrete(&self) -> Result<&Discrete> {
        match self {
            Self::Discrete(space) => Ok(space),
            _ => Err(self.wrong_kind("a Discrete space")),
        }
    }

    /// Returns the space as a `MultiDiscrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_multi_discrete(&self) -> Result<&MultiDiscrete> {
        match self {
            Self::MultiDiscrete(space) => Ok(space),
            _ => Err(self.wrong_kind("a MultiDiscrete space")),
        }
    }

    /// Returns the space as a `MultiBinary`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_multi_binary(&self) -> Result<&MultiBinary> {
        match self {
            Self::MultiBinary(space) => Ok(space),
            _ => Err(self.wrong_kind("a MultiBinary space")),
        }
    }

    /// Returns the space as a `Dict`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_dict(&self) -> Result<&DictSpace> {
        if let Self::Dict(space) = self { Ok(space) } else { Err(self.wrong_kind("a Dict space")) }
    }

    /// Returns the space as a `Tuple`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if it is of another kind.
    pub fn as_tuple(&self) -> Result<&TupleSpace> {
        match self {
            Self::Tuple(space) => Ok(space),
            _ => Err(self.wrong_kind("a Tuple space")),
        }
    }

    #[cold]
    fn wrong_kind(&self, expected: &str) -> EnvError {
        EnvError::wrong_kind(expected, self.to_string())
    }
}

impl fmt::Display for Space {
    /// Gymnasium's notation: `Box(-1.0, 1.0, (3,), float32)`, `Discrete(2)`, ...
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box(space) => space.fmt(f),
            Self::Discrete(space) => space.fmt(f),
            Self::MultiDiscrete(space) => space.fmt(f),
            Self::MultiBinary(space) => space.fmt(f),
            Self::Dict(space) => space.fmt(f),
            Self::Tuple(space) => space.fmt(f),
        }
    }
}

/// The most elements of a leaf: a serialized space must not exhaust the memory with a few bytes.
const MAX_SIZE: usize = i32::MAX as usize;
/// The largest choice: devices hold integers of 32 bits.
const MAX_CHOICE: i64 = i32::MAX as i64;

/// A shape in Python's notation: `()`, `(3,)`, `(84, 84)`.
fn shape_text(shape: &[usize]) -> String {
    match shape {
        [size] => format!("({size},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
