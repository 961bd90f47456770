//! Spaces of several parts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Space;
use crate::error::{EnvError, Result};

/// Named spaces, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Space>", into = "BTreeMap<String, Space>")]
pub struct DictSpace {
    spaces: BTreeMap<String, Space>,
}

impl DictSpace {
    /// Creates a space of named parts.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if there are no parts, or if a name is used twice, is empty, or
    /// contains a dot: dots separate the names in the path of a leaf.
    pub fn new<K: Into<String>>(entries: impl IntoIterator<Item = (K, Space)>) -> Result<Self> {
        let mut spaces = BTreeMap::new();
        for (key, space) in entries {
            let key = key.into();
            if spaces.insert(key.clone(), space).is_some() {
                let reason = format!("the key `{key}` appears twice in a Dict space");
                return Err(EnvError::invalid_space(reason));
            }
        }
        Self::try_from(spaces)
    }

    /// Returns the space called `key`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none.
    pub fn get(&self, key: &str) -> Result<&Space> {
        self.spaces.get(key).ok_or_else(|| EnvError::missing_key(key, self.spaces.keys()))
    }

    /// The space with each part replaced.
    pub(super) fn map(&self, change: impl Fn(&Space) -> Space) -> Self {
        let parts = self.spaces.iter().map(|(key, part)| (key.clone(), change(part)));
        Self { spaces: parts.collect() }
    }

    /// Iterates over the names and their spaces, sorted by name.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Space)> {
        self.spaces.iter().map(|(key, space)| (key.as_str(), space))
    }

    /// Returns the spaces by name.
    #[must_use]
    pub fn spaces(&self) -> &BTreeMap<String, Space> {
        &self.spaces
    }
}

impl TryFrom<BTreeMap<String, Space>> for DictSpace {
    type Error = EnvError;

    fn try_from(spaces: BTreeMap<String, Space>) -> Result<Self> {
        if spaces.is_empty() {
            return Err(EnvError::invalid_space("a Dict space needs at least one entry"));
        }
        if let Some(key) = spaces.keys().find(|key| key.is_empty() || key.contains('.')) {
            let reason = format!(
                "the key `{key}` of a Dict space is empty or contains a dot, which separates keys \
                 in the paths of leaves; rename it, for example with `_`"
            );
            return Err(EnvError::invalid_space(reason));
        }
        Ok(Self { spaces })
    }
}

impl From<DictSpace> for BTreeMap<String, Space> {
    fn from(space: DictSpace) -> Self {
        space.spaces
    }
}

impl fmt::Display for DictSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.spaces.iter().map(|(key, space)| format!("'{key}': {space}")).collect();
        write!(f, "Dict({})", parts.join(", "))
    }
}

/// Spaces in a fixed order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Space>", into = "Vec<Space>")]
pub struct TupleSpace {
    spaces: Vec<Space>,
}

impl TupleSpace {
    /// Creates a space of parts in order.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidSpace`] if there are no parts.
    pub fn new(spaces: impl Into<Vec<Space>>) -> Result<Self> {
        Self::try_from(spaces.into())
    }

    /// Returns the space at `position`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none.
    pub fn get(&self, position: usize) -> Result<&Space> {
        self.spaces.get(position).ok_or_else(|| EnvError::missing_part(position, self.spaces.len()))
    }

    /// The space with each part replaced.
    pub(super) fn map(&self, change: impl Fn(&Space) -> Space) -> Self {
        Self { spaces: self.spaces.iter().map(change).collect() }
    }

    /// Returns the spaces in order.
    #[must_use]
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }
}

impl TryFrom<Vec<Space>> for TupleSpace {
    type Error = EnvError;

    fn try_from(spaces: Vec<Space>) -> Result<Self> {
        if spaces.is_empty() {
            return Err(EnvError::invalid_space("a Tuple space needs at least one part"));
        }
        Ok(Self { spaces })
    }
}

impl From<TupleSpace> for Vec<Space> {
    fn from(space: TupleSpace) -> Self {
        space.spaces
    }
}

impl fmt::Display for TupleSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.spaces.iter().map(ToString::to_string).collect();
        write!(f, "Tuple({})", parts.join(", "))
    }
}
