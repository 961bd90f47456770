//! Making and recognising elements.

use super::{BoxDType, Space, SpaceSampler};
use crate::np_random::Generator;
use crate::{Result, Row, RowMut, Value};

impl Space {
    /// The element of zeros, which a space whose bounds exclude zero does not contain.
    #[must_use]
    pub fn zeros(&self) -> Value {
        match self {
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => Value::Float(vec![0.0; space.size()]),
                BoxDType::Uint8 => Value::Byte(vec![0; space.size()]),
            },
            Self::Discrete(_) => Value::Discrete(0),
            Self::MultiDiscrete(space) => Value::Int(vec![0; space.nvec().len()]),
            Self::MultiBinary(space) => Value::Byte(vec![0; space.n()]),
            Self::Dict(space) => Value::dict(space.iter().map(|(key, part)| (key, part.zeros()))),
            Self::Tuple(space) => Value::tuple(space.spaces().iter().map(Self::zeros)),
        }
    }

    /// A random element.
    ///
    /// Numbers of a `Box` are uniform between two bounds, exponential beyond a single one, and
    /// normal without any; everything else is uniform. A single space draws Gymnasium's elements
    /// from the same stream, unless it is a `Box` with an infinite bound. To the parts of a `Dict`
    /// or `Tuple` Gymnasium gives a stream each, as [`sampler`](Self::sampler) does.
    #[must_use]
    pub fn sample(&self, rng: &mut Generator) -> Value {
        let mut value = self.zeros();
        match (self, &mut value) {
            (Self::Box(space), Value::Float(numbers)) => space.sample_f32(rng, numbers),
            (Self::Box(space), Value::Byte(bytes)) => space.sample_bytes(rng, bytes),
            (Self::Discrete(space), Value::Discrete(number)) => *number = space.sample(rng),
            (Self::MultiDiscrete(space), Value::Int(numbers)) => space.sample(rng, numbers),
            (Self::MultiBinary(space), Value::Byte(bits)) => space.sample(rng, bits),
            (Self::Dict(space), value) => {
                *value = Value::dict(space.iter().map(|(key, part)| (key, part.sample(rng))));
            }
            (Self::Tuple(space), value) => {
                *value = Value::tuple(space.spaces().iter().map(|part| part.sample(rng)));
            }
            _ => {}
        }
        value
    }

    /// Writes the element that [`sample`](Self::sample) would give.
    pub fn sample_into(&self, rng: &mut Generator, mut row: RowMut<'_>) -> Result<()> {
        match self {
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => space.sample_f32(rng, row.f32s_mut()?),
                BoxDType::Uint8 => space.sample_bytes(rng, row.bytes_mut()?),
            },
            Self::Discrete(space) => row.set_discrete(space.sample(rng))?,
            Self::MultiDiscrete(space) => space.sample(rng, row.ints_mut()?),
            Self::MultiBinary(space) => space.sample(rng, row.bytes_mut()?),
            Self::Dict(space) => {
                for (key, part) in space.iter() {
                    part.sample_into(rng, row.get_mut(key)?)?;
                }
            }
            Self::Tuple(space) => {
                for (position, part) in space.spaces().iter().enumerate() {
                    part.sample_into(rng, row.index_mut(position)?)?;
                }
            }
        }
        Ok(())
    }

    /// A source of random elements with a seed of its own: Gymnasium's `space.seed(seed)` followed
    /// by calls of `space.sample()`.
    #[must_use]
    pub fn sampler(&self, seed: u64) -> SpaceSampler {
        SpaceSampler::new(self, seed)
    }

    /// Whether `value` is an element: its kind, its shape and every number in it.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Box(space), Value::Float(numbers)) => space.contains_f32(numbers),
            (Self::Box(space), Value::Byte(bytes)) => space.contains_bytes(bytes),
            (Self::Discrete(space), Value::Discrete(number)) => space.contains(*number),
            (Self::MultiDiscrete(space), Value::Int(numbers)) => space.contains(numbers),
            (Self::MultiBinary(space), Value::Byte(bits)) => space.contains(bits),
            (Self::Dict(space), Value::Dict(values)) => {
                space.spaces().keys().eq(values.keys())
                    && space.spaces().values().zip(values.values()).all(|(s, v)| s.contains(v))
            }
            (Self::Tuple(space), Value::Tuple(values)) => {
                space.spaces().len() == values.len()
                    && space.spaces().iter().zip(values).all(|(s, v)| s.contains(v))
            }
            _ => false,
        }
    }

    /// Whether `row` is an element: its kind, its shape and every number in it.
    #[must_use]
    pub fn contains_row(&self, row: Row<'_>) -> bool {
        match self {
            Self::Box(space) if !row.has_shape(space.shape()) => false,
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => row.f32s().is_ok_and(|numbers| space.contains_f32(numbers)),
                BoxDType::Uint8 => row.bytes().is_ok_and(|bytes| space.contains_bytes(bytes)),
            },
            Self::Discrete(space) => row.discrete().is_ok_and(|number| space.contains(number)),
            Self::MultiDiscrete(space) => {
                row.has_shape(&[space.nvec().len()])
                    && row.ints().is_ok_and(|numbers| space.contains(numbers))
            }
            Self::MultiBinary(space) => {
                row.has_shape(&[space.n()]) && row.bytes().is_ok_and(|bits| space.contains(bits))
            }
            Self::Dict(space) => {
                row.buffer().as_dict().is_ok_and(|parts| parts.keys().eq(space.spaces().keys()))
                    && space.iter().all(|(key, s)| row.get(key).is_ok_and(|r| s.contains_row(r)))
            }
            Self::Tuple(space) => {
                let mut parts = space.spaces().iter().enumerate();
                row.buffer().as_tuple().is_ok_and(|rows| rows.len() == space.spaces().len())
                    && parts.all(|(i, s)| row.index(i).is_ok_and(|r| s.contains_row(r)))
            }
        }
    }
}
