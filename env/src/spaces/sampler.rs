//! Random elements from seeded streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Space;
use crate::buffer::RowMut;
use crate::error::Result;
use crate::np_random::Generator;
use crate::value::Value;

/// A space with its own random stream, created by [`Space::sampler`].
///
/// As in Gymnasium, each part of a `Dict` or `Tuple` has its own stream, seeded from the stream of
/// the whole. Serializing a sampler includes its streams.
///
/// ```
/// use rekindle_env::{Space, Value};
///
/// let mut actions = Space::discrete(3)?.sampler(7);
/// assert!(matches!(actions.sample(), Value::Discrete(0..3)));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceSampler(Node);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf { space: Space, rng: Generator },
    Dict(BTreeMap<String, SpaceSampler>),
    Tuple(Vec<SpaceSampler>),
}

impl SpaceSampler {
    pub(super) fn new(space: &Space, seed: u64) -> Self {
        let mut rng = Generator::from_seed(seed);
        let part = |space: &Space, seed: i64| Self::new(space, seed as u64);
        let mut seed = || rng.integers(0, i64::from(i32::MAX));
        Self(match space {
            Space::Dict(space) => Node::Dict(
                space.iter().map(|(key, space)| (key.to_owned(), part(space, seed()))).collect(),
            ),
            Space::Tuple(space) => {
                Node::Tuple(space.spaces().iter().map(|space| part(space, seed())).collect())
            }
            leaf => Node::Leaf { space: leaf.clone(), rng },
        })
    }

    /// Draws the next random element.
    pub fn sample(&mut self) -> Value {
        match &mut self.0 {
            Node::Leaf { space, rng } => space.sample(rng),
            Node::Dict(parts) => {
                Value::dict(parts.iter_mut().map(|(key, part)| (key.clone(), part.sample())))
            }
            Node::Tuple(parts) => Value::tuple(parts.iter_mut().map(Self::sample)),
        }
    }

    /// Draws the next random element into `row`.
    ///
    /// # Errors
    ///
    /// [`EnvError`](crate::EnvError) if the row has another layout than the space.
    pub fn sample_into(&mut self, mut row: RowMut<'_>) -> Result<()> {
        match &mut self.0 {
            Node::Leaf { space, rng } => space.sample_into(rng, row),
            Node::Dict(parts) => {
                parts.iter_mut().try_for_each(|(key, part)| part.sample_into(row.get_mut(key)?))
            }
            Node::Tuple(parts) => parts
                .iter_mut()
                .enumerate()
                .try_for_each(|(position, part)| part.sample_into(row.index_mut(position)?)),
        }
    }
}
