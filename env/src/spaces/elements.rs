//! Creating and recognizing elements.

use super::{BoxDType, Space, SpaceSampler};
use crate::buffer::{Row, RowMut};
use crate::error::Result;
use crate::np_random::Generator;
use crate::value::Value;

impl Space {
    /// Returns the value of zeros, which is not an element if the bounds exclude zero.
    #[must_use]
    pub fn zeros(&self) -> Value {
        match self {
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => Value::Float(vec![0.0; space.size()]),
                BoxDType::Uint8 => Value::Byte(vec![0; space.size()]),
                // A buffer stores a single integer in the same way as the integer of a `Discrete`.
                BoxDType::Int32 | BoxDType::Int64 if space.shape().is_empty() => Value::Discrete(0),
                BoxDType::Int32 | BoxDType::Int64 => Value::Int(vec![0; space.size()]),
            },
            Self::Discrete(_) => Value::Discrete(0),
            Self::MultiDiscrete(space) => Value::Int(vec![0; space.nvec().len()]),
            Self::MultiBinary(space) => Value::Byte(vec![0; space.n()]),
            Self::Dict(space) => Value::dict(space.iter().map(|(key, part)| (key, part.zeros()))),
            Self::Tuple(space) => Value::tuple(space.spaces().iter().map(Self::zeros)),
        }
    }

    /// Draws a random element.
    ///
    /// Numbers of a `Box` are uniform between two bounds, exponential beyond a single bound, and
    /// normal without bounds, rounded down if the elements are integers. Everything else is
    /// uniform. A leaf draws Gymnasium's elements from the same stream, unless it is a `Box` with
    /// an infinite bound. Gymnasium gives each part of a `Dict` or `Tuple` its own stream, as
    /// [`sampler`](Self::sampler) does.
    #[must_use]
    pub fn sample(&self, rng: &mut Generator) -> Value {
        let mut value = self.zeros();
        match (self, &mut value) {
            (Self::Box(space), Value::Float(numbers)) => space.sample_f32(rng, numbers),
            (Self::Box(space), Value::Byte(bytes)) => space.sample_bytes(rng, bytes),
            (Self::Box(space), Value::Int(numbers)) => space.sample_ints(rng, numbers),
            (Self::Box(space), Value::Discrete(number)) => {
                space.sample_ints(rng, std::slice::from_mut(number));
            }
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

    /// Draws a random element into `row`: the one that [`sample`](Self::sample) would return.
    ///
    /// # Errors
    ///
    /// [`EnvError`](crate::EnvError) if the row has another layout than the space.
    pub fn sample_into(&self, rng: &mut Generator, mut row: RowMut<'_>) -> Result<()> {
        match self {
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => space.sample_f32(rng, row.as_f32_mut()?),
                BoxDType::Uint8 => space.sample_bytes(rng, row.as_u8_mut()?),
                BoxDType::Int32 | BoxDType::Int64 => space.sample_ints(rng, row.as_i64_mut()?),
            },
            Self::Discrete(space) => row.write_discrete(space.sample(rng))?,
            Self::MultiDiscrete(space) => space.sample(rng, row.as_i64_mut()?),
            Self::MultiBinary(space) => space.sample(rng, row.as_u8_mut()?),
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

    /// Creates a source of random elements with its own seed: Gymnasium's `space.seed(seed)`
    /// followed by calls of `space.sample()`.
    #[must_use]
    pub fn sampler(&self, seed: u64) -> SpaceSampler {
        SpaceSampler::new(self, seed)
    }

    /// Returns whether `value` is an element: it has the kind and the shape, and every number is
    /// within the bounds.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Box(space), Value::Float(numbers)) => space.contains_f32(numbers),
            (Self::Box(space), Value::Byte(bytes)) => space.contains_bytes(bytes),
            (Self::Box(space), Value::Int(numbers)) => {
                !space.shape().is_empty() && space.contains_ints(numbers)
            }
            (Self::Box(space), Value::Discrete(number)) => {
                space.shape().is_empty() && space.contains_ints(&[*number])
            }
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

    /// Returns whether `row` is an element: it has the kind and the shape, and every number is
    /// within the bounds.
    #[must_use]
    pub fn contains_row(&self, row: Row<'_>) -> bool {
        match self {
            Self::Box(space) if !row.has_shape(space.shape()) => false,
            Self::Box(space) => match space.dtype() {
                BoxDType::Float32 => row.as_f32().is_ok_and(|numbers| space.contains_f32(numbers)),
                BoxDType::Uint8 => row.as_u8().is_ok_and(|bytes| space.contains_bytes(bytes)),
                BoxDType::Int32 | BoxDType::Int64 => {
                    row.as_i64().is_ok_and(|numbers| space.contains_ints(numbers))
                }
            },
            Self::Discrete(space) => row.as_discrete().is_ok_and(|number| space.contains(number)),
            Self::MultiDiscrete(space) => {
                row.has_shape(&[space.nvec().len()])
                    && row.as_i64().is_ok_and(|numbers| space.contains(numbers))
            }
            Self::MultiBinary(space) => {
                row.has_shape(&[space.n()]) && row.as_u8().is_ok_and(|bits| space.contains(bits))
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

    /// Returns the space with every `Box` of bytes or integers as the `float32` `Box` with the same
    /// bounds: the actions of a network before they are rounded.
    ///
    /// ```
    /// use rekindle_env::Space;
    ///
    /// let orders = Space::tuple([Space::int_box(0, 20, &[4])?, Space::discrete(3)?])?;
    /// let raw = orders.with_float_boxes();
    /// assert_eq!(raw.to_string(), "Tuple(Box(0.0, 20.0, (4,), float32), Discrete(3))");
    /// # Ok::<(), rekindle_env::EnvError>(())
    /// ```
    #[must_use]
    pub fn with_float_boxes(&self) -> Self {
        match self {
            Self::Box(space) => Self::Box(space.to_float()),
            Self::Dict(space) => Self::Dict(space.map(Self::with_float_boxes)),
            Self::Tuple(space) => Self::Tuple(space.map(Self::with_float_boxes)),
            other => other.clone(),
        }
    }

    /// Returns whether a part of the space is a choice: `Discrete`, `MultiDiscrete` or `MultiBinary`.
    #[must_use]
    pub fn has_choices(&self) -> bool {
        match self {
            Self::Box(_) => false,
            Self::Discrete(_) | Self::MultiDiscrete(_) | Self::MultiBinary(_) => true,
            Self::Dict(space) => space.spaces().values().any(Self::has_choices),
            Self::Tuple(space) => space.spaces().iter().any(Self::has_choices),
        }
    }

    /// Returns whether every choice in `row` exists. Boxes are not checked.
    ///
    /// Networks look choices up, so one outside its space would be taken for another. The check is
    /// cheap enough for every step, unlike a check of all numbers.
    #[must_use]
    pub fn contains_choices(&self, row: Row<'_>) -> bool {
        let of = |space: &Self, part| space.contains_choices(row.of(part));
        match self {
            Self::Box(_) => true,
            Self::Discrete(space) => row.as_discrete().is_ok_and(|number| space.contains(number)),
            Self::MultiDiscrete(space) => row.as_i64().is_ok_and(|numbers| space.contains(numbers)),
            Self::MultiBinary(space) => row.as_u8().is_ok_and(|bits| space.contains(bits)),
            Self::Dict(space) => row.buffer().as_dict().is_ok_and(|parts| {
                space.spaces().values().zip(parts.values()).all(|(space, part)| of(space, part))
            }),
            Self::Tuple(space) => row.buffer().as_tuple().is_ok_and(|parts| {
                space.spaces().iter().zip(parts).all(|(space, part)| of(space, part))
            }),
        }
    }
}
