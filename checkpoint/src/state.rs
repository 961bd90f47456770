//! The state of a component.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::array::Array;
use crate::error::{CheckpointError, Result};
use crate::manifest::MAX_DEPTH;
use crate::shard::{SaveRecord, Shard};
use crate::value::{from_value, to_value};
use crate::{name, tensor_file};

/// The state of one component: plain data, named tensors and the states of its parts.
///
/// ```
/// # use rekindle_checkpoint::{Array, CheckpointError, State};
/// let policy = State::new().with_tensor("bias", Array::from(vec![0.5f32, -0.5]));
/// let learner = State::from_data(&("steps", 7))?.with_component("default_policy", policy);
///
/// let bias = learner.component("default_policy")?.tensor("bias")?;
/// assert_eq!(bias.as_slice::<f32>()?, [0.5, -0.5]);
/// # Ok::<(), CheckpointError>(())
/// ```
///
/// Two states are equal if their data, tensors and parts are. A part may be a component in one and a shard in
/// the other.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Everything that is not a tensor: counters, configurations, random-number streams. `Null` if there
    /// is none.
    pub data: Value,
    /// Tensors by name. Any text is a valid name except `__metadata__`, which safetensors reserves.
    pub tensors: BTreeMap<String, Array>,
    /// The states of the parts by name. A name becomes the name of a directory: it is not empty,
    /// contains none of `< > : " / \ | ? *` and no control character, does not begin with a dot or
    /// end in a dot or a space, and is neither a Windows device nor a file of the checkpoint.
    /// Saving checks it.
    pub components: BTreeMap<String, Self>,
    /// Large parts by name, which are built while they are written. Their names follow the rules of those of
    /// [`components`](Self::components), and are not among them. In a state that was read, the shards are in memory.
    /// [`part`](Self::part) returns either.
    pub shards: BTreeMap<String, Arc<dyn Shard>>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let same = |name: &String| match (self.shards.get(name), other.shards.get(name)) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => true,
            _ => matches!((self.part(name), other.part(name)), (Ok(a), Ok(b)) if a == b),
        };
        let names = |state: &Self| -> BTreeSet<String> {
            state.components.keys().chain(state.shards.keys()).cloned().collect()
        };
        let of_self = names(self);
        self.data == other.data
            && self.tensors == other.tensors
            && of_self == names(other)
            && of_self.iter().all(same)
    }
}

impl State {
    /// Creates an empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether there are neither data nor tensors nor parts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let has_parts = !self.components.is_empty() || !self.shards.is_empty();
        self.data.is_null() && self.tensors.is_empty() && !has_parts
    }

    /// Builds a state that has data and neither tensors nor components.
    ///
    /// Every float is kept, NaN and the infinities included; see [`to_value`].
    ///
    /// # Errors
    /// [`CheckpointError::Unrepresentable`] if JSON cannot hold the data, for example a map whose
    /// keys are not text. The message names the place in the data.
    pub fn from_data<T: Serialize + ?Sized>(data: &T) -> Result<Self> {
        let data = to_value(data).map_err(|error| CheckpointError::Unrepresentable {
            type_name: type_name::<T>(),
            reason: error.to_string(),
        })?;
        Ok(Self { data, ..Self::default() })
    }

    /// Converts the data into a value of type `T`; see [`from_value`].
    ///
    /// # Errors
    /// [`CheckpointError::UnexpectedData`] if the data does not describe a `T`.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T> {
        from_value(&self.data).map_err(|source| CheckpointError::UnexpectedData {
            expected: type_name::<T>(),
            source,
        })
    }

    /// Returns the state of a part, by a path such as `learner/rl_module/default_policy`.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchComponent`], which lists the available components.
    pub fn component(&self, path: &str) -> Result<&Self> {
        let mut state = self;
        for (depth, name) in path.split('/').enumerate() {
            state = state.components.get(name).ok_or_else(|| CheckpointError::NoSuchComponent {
                name: name.to_owned(),
                within: match path.split('/').take(depth).collect::<Vec<_>>().join("/") {
                    root if root.is_empty() => "the state".to_owned(),
                    parent => format!("`{parent}`"),
                },
                available: state.components.keys().cloned().collect(),
            })?;
        }
        Ok(state)
    }

    /// Returns a tensor of this component.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchTensor`], which lists the available tensors.
    pub fn tensor(&self, name: &str) -> Result<&Array> {
        self.tensors.get(name).ok_or_else(|| self.no_tensor(name))
    }

    /// Returns the state of a direct part, which is built if it is a shard.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchComponent`] if there is neither a component nor a shard of this name; the error
    /// of a shard that cannot be built.
    pub fn part(&self, name: &str) -> Result<Cow<'_, Self>> {
        match (self.components.get(name), self.shards.get(name)) {
            (Some(component), _) => Ok(Cow::Borrowed(component)),
            (None, Some(shard)) => shard.get_state().map(Cow::Owned),
            (None, None) => Err(self.no_part(name)),
        }
    }

    fn no_part(&self, name: &str) -> CheckpointError {
        CheckpointError::NoSuchComponent {
            name: name.to_owned(),
            within: "the state".to_owned(),
            available: self.components.keys().chain(self.shards.keys()).cloned().collect(),
        }
    }

    fn no_tensor(&self, name: &str) -> CheckpointError {
        CheckpointError::NoSuchTensor {
            name: name.to_owned(),
            available: self.tensors.keys().cloned().collect(),
        }
    }

    /// Removes a direct part, and returns its state and the record of its files. The record is empty for a component,
    /// and for a shard that has no record. A shard that was read is moved
    /// if nothing else refers to it.
    ///
    /// An owner whose shard is equal to the part keeps the record, so that its next save links the files.
    ///
    /// # Errors
    /// As [`part`](Self::part).
    pub fn take_part(&mut self, name: &str) -> Result<(Self, SaveRecord)> {
        if let Some(component) = self.components.remove(name) {
            return Ok((component, SaveRecord::default()));
        }
        match self.shards.remove(name) {
            Some(shard) => shard.into_state(),
            None => Err(self.no_part(name)),
        }
    }

    /// Removes a tensor of this component and returns it.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn take_tensor(&mut self, name: &str) -> Result<Array> {
        self.tensors.remove(name).ok_or_else(|| self.no_tensor(name))
    }

    /// Adds or replaces a part that is built while it is written.
    pub fn insert_shard(&mut self, name: impl Into<String>, shard: Arc<dyn Shard>) -> &mut Self {
        self.shards.insert(name.into(), shard);
        self
    }

    /// Adds or replaces the state of a part.
    pub fn insert_component(&mut self, name: impl Into<String>, state: Self) -> &mut Self {
        self.components.insert(name.into(), state);
        self
    }

    /// Adds or replaces a tensor.
    pub fn insert_tensor(&mut self, name: impl Into<String>, array: impl Into<Array>) -> &mut Self {
        self.tensors.insert(name.into(), array.into());
        self
    }

    /// Adds or replaces the state of a part and returns the whole.
    #[must_use]
    pub fn with_component(mut self, name: impl Into<String>, state: Self) -> Self {
        self.insert_component(name, state);
        self
    }

    /// Adds or replaces a tensor and returns the state.
    #[must_use]
    pub fn with_tensor(mut self, name: impl Into<String>, array: impl Into<Array>) -> Self {
        self.insert_tensor(name, array);
        self
    }

    /// Checks the names and the nesting against the rules of the format.
    pub(super) fn check(&self) -> Result<()> {
        self.check_below(MAX_DEPTH)
    }

    fn check_below(&self, levels: usize) -> Result<()> {
        self.tensors.keys().try_for_each(|name| tensor_file::check_name(name))?;
        let too_deep =
            CheckpointError::LimitExceeded { what: "the nesting of components", limit: MAX_DEPTH };
        let has_parts = !self.components.is_empty() || !self.shards.is_empty();
        let below = match levels.checked_sub(1) {
            None if has_parts => return Err(too_deep),
            below => below.unwrap_or_default(),
        };
        for (name, component) in &self.components {
            name::check_component(name)?;
            component.check_below(below)?;
        }
        for name in self.shards.keys() {
            name::check_component(name)?;
            if self.components.contains_key(name) {
                let reason = "a component and a shard have it";
                return Err(CheckpointError::InvalidName { name: name.clone(), reason });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree() -> State {
        let module = State::new().with_component("p0", State::new().with_tensor("w", vec![1f32]));
        State::new().with_component("learner", State::new().with_component("rl_module", module))
    }

    #[test]
    fn components_are_found_by_path() {
        assert!(tree().component("learner/rl_module/p0").unwrap().tensor("w").is_ok());
        let error = tree().component("learner/rl_module/p1").unwrap_err();
        assert_eq!(error.to_string(), "no component `p1` in `learner/rl_module`; it has p0");
        let error = tree().component("").unwrap_err();
        assert_eq!(error.to_string(), "no component `` in the state; it has learner");
        let error = tree().tensor("w").unwrap_err();
        assert_eq!(error.to_string(), "no tensor `w` in the state; it has none");
    }

    #[test]
    fn data_is_typed_on_the_way_out() {
        let state = State::from_data(&vec![1u8, 2]).unwrap();
        assert_eq!(state.data, json!([1, 2]));
        assert_eq!(state.data_as::<[u8; 2]>().unwrap(), [1, 2]);
        let error = state.data_as::<String>().unwrap_err();
        assert!(error.to_string().starts_with("the state's data is not a `alloc::string::String`"));
    }

    #[test]
    fn infinities_in_the_data_survive() {
        let best = (1_u32, f64::NEG_INFINITY);
        let state = State::from_data(&best).unwrap();
        assert_eq!(state.data_as::<(u32, f64)>().unwrap(), best);
    }

    #[test]
    fn data_that_json_cannot_hold_is_refused() {
        let map = BTreeMap::from([([1, 2], 3)]);
        assert!(matches!(State::from_data(&map), Err(CheckpointError::Unrepresentable { .. })));
    }

    #[test]
    fn names_and_nesting_are_checked_at_every_level() {
        assert!(tree().check().is_ok());
        let inner = State::new().with_component("..", State::new());
        let bad = tree().with_component("x", inner);
        assert!(matches!(bad.check(), Err(CheckpointError::InvalidName { .. })));
        let bad = State::new().with_tensor("__metadata__", vec![0u8]);
        assert!(matches!(bad.check(), Err(CheckpointError::InvalidName { .. })));

        let nest = |levels| {
            (0..levels).fold(State::new(), |inner, _| State::new().with_component("c", inner))
        };
        assert!(nest(MAX_DEPTH).check().is_ok());
        assert!(matches!(nest(MAX_DEPTH + 1).check(), Err(CheckpointError::LimitExceeded { .. })));
    }
}
