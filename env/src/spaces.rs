//! The sets that observations and actions come from.
//!
//! [`Space`] is one of Gymnasium's six fundamental spaces; see its variants. Every space can
//! [`sample`](Space::sample) an element, tell whether it [`contains`](Space::contains) one, and
//! [`flatten`](Space::flatten) it into numbers for a network.

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

use crate::{EnvError, Result};

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
    /// One choice among `n`.
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
    /// A `float32` [`Box`](BoxSpace::uniform) with the same bounds for every element.
    pub fn boxed(low: f32, high: f32, shape: &[usize]) -> Result<Self> {
        BoxSpace::uniform(low, high, shape).map(Self::Box)
    }

    /// A `float32` [`Box`](BoxSpace::new) with bounds of its own for every element of a vector.
    pub fn box_between(low: impl Into<Vec<f32>>, high: impl Into<Vec<f32>>) -> Result<Self> {
        let low = low.into();
        let shape = [low.len()];
        BoxSpace::new(low, high, &shape).map(Self::Box)
    }

    /// A `float32` [`Box`](BoxSpace::unbounded) without bounds.
    pub fn unbounded(shape: &[usize]) -> Result<Self> {
        BoxSpace::unbounded(shape).map(Self::Box)
    }

    /// A `uint8` [`Box`](BoxSpace::image) from 0 to 255.
    pub fn image(shape: &[usize]) -> Result<Self> {
        BoxSpace::image(shape).map(Self::Box)
    }

    /// The integers `0..n`.
    pub fn discrete(n: usize) -> Result<Self> {
        Discrete::new(n).map(Self::Discrete)
    }

    /// One integer below each entry of `nvec`.
    pub fn multi_discrete(nvec: impl Into<Vec<usize>>) -> Result<Self> {
        MultiDiscrete::new(nvec).map(Self::MultiDiscrete)
    }

    /// `n` bits.
    pub fn multi_binary(n: usize) -> Result<Self> {
        MultiBinary::new(n).map(Self::MultiBinary)
    }

    /// Named parts.
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Result<Self> {
        DictSpace::new(entries).map(Self::Dict)
    }

    /// Parts in order.
    pub fn tuple(spaces: impl Into<Vec<Self>>) -> Result<Self> {
        TupleSpace::new(spaces).map(Self::Tuple)
    }
}

/// Access to one kind of space.
impl Space {
    /// The space as a `Box`.
    pub fn as_box(&self) -> Result<&BoxSpace> {
        if let Self::Box(space) = self { Ok(space) } else { Err(self.wrong_kind("a Box space")) }
    }

    /// The space as a `Discrete`.
    pub fn as_discrete(&self) -> Result<&Discrete> {
        match self {
            Self::Discrete(space) => Ok(space),
            _ => Err(self.wrong_kind("a Discrete space")),
        }
    }

    /// The space as a `MultiDiscrete`.
    pub fn as_multi_discrete(&self) -> Result<&MultiDiscrete> {
        match self {
            Self::MultiDiscrete(space) => Ok(space),
            _ => Err(self.wrong_kind("a MultiDiscrete space")),
        }
    }

    /// The space as a `MultiBinary`.
    pub fn as_multi_binary(&self) -> Result<&MultiBinary> {
        match self {
            Self::MultiBinary(space) => Ok(space),
            _ => Err(self.wrong_kind("a MultiBinary space")),
        }
    }

    /// The space as a `Dict`.
    pub fn as_dict(&self) -> Result<&DictSpace> {
        if let Self::Dict(space) = self { Ok(space) } else { Err(self.wrong_kind("a Dict space")) }
    }

    /// The space as a `Tuple`.
    pub fn as_tuple(&self) -> Result<&TupleSpace> {
        match self {
            Self::Tuple(space) => Ok(space),
            _ => Err(self.wrong_kind("a Tuple space")),
        }
    }

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

/// The most elements of a leaf: a serialised space must not exhaust the memory with a few bytes.
const MAX_SIZE: usize = i32::MAX as usize;

/// A shape in Python's notation: `()`, `(3,)`, `(84, 84)`.
fn shape_text(shape: &[usize]) -> String {
    match shape {
        [size] => format!("({size},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
