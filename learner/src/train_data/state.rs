//! Saving and restoring experience that waits to be learned from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rekindle_checkpoint::{Array, ArrayData, State};
use rekindle_core::HostBatch;
use rekindle_env::{Buffer, Parts};
use rekindle_env_runner::Segment;
use serde::{Deserialize, Serialize};

use super::steps::StepStates;
use super::{Sequences, TrainData};
use crate::error::{LearnerError, Result};

/// The plain part. Columns are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTrainData {
    segments: Vec<Segment>,
    sequences: Option<SavedSequences>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSequences {
    rows: Vec<Range<usize>>,
    len: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<usize>,
}

const COLUMNS: &str = "columns";
const FINAL_OBSERVATIONS: &str = "final_observations";
const FINAL_STATES: &str = "final_states";
const SEQUENCES: &str = "sequences";
/// Absent in data of modules without state, and in older checkpoints.
const STATES: &str = "states";

impl TrainData {
    /// Returns the data as plain state, for execution plans that keep experience between steps.
    ///
    /// # Errors
    /// [`LearnerError::OnDevice`] if the columns are on an accelerator.
    pub fn get_state(&self) -> Result<State> {
        let sequences = self.sequences.as_ref();
        let saved = sequences.map(|s| SavedSequences {
            rows: s.rows.clone(),
            len: s.len,
            counted: s.counted,
        });
        let mut state = State::from_data(&SavedTrainData {
            segments: self.segments.to_vec(),
            sequences: saved,
        })?;
        state.insert_component(COLUMNS, of_columns(self.host()?)?);
        if let Some(sequences) = sequences {
            state.insert_component(SEQUENCES, of_columns(&sequences.columns)?);
        }
        for (name, buffer) in
            [(FINAL_OBSERVATIONS, &self.final_observations), (FINAL_STATES, &self.final_states)]
        {
            if let Some(buffer) = buffer {
                state.insert_component(name, of_buffer(Buffer::clone(buffer))?);
            }
        }
        if let Some(states) = &self.states {
            state.insert_component(STATES, of_buffer(states.all()?.clone())?);
        }
        Ok(state)
    }

    /// Returns the data that a state describes.
    ///
    /// # Errors
    /// If the state is not one of experience.
    pub fn from_state(state: &State) -> Result<Self> {
        let saved: SavedTrainData = state.data_as()?;
        let mut data = Self::from(columns(state.component(COLUMNS)?)?);
        data.segments = Arc::new(saved.segments);
        data.sequences = match saved.sequences {
            None => None,
            Some(SavedSequences { rows, len, counted }) => {
                let columns = Arc::new(columns(state.component(SEQUENCES)?)?);
                Some(Sequences { rows, len, counted, columns })
            }
        };
        let optional = |name| state.components.get(name).map(buffer).transpose();
        data.final_observations = optional(FINAL_OBSERVATIONS)?.map(Arc::new);
        data.final_states = optional(FINAL_STATES)?.map(Arc::new);
        data.states = optional(STATES)?.map(|states| Arc::new(StepStates::from(states)));
        match data.inconsistency() {
            None => Ok(data),
            Some(reason) => {
                let (component, reason) = ("experience".into(), reason.into());
                Err(LearnerError::InvalidState { component, reason })
            }
        }
    }

    /// Returns what does not fit together, if anything.
    fn inconsistency(&self) -> Option<&'static str> {
        let rows = self.rows();
        let mut end = 0;
        for segment in self.segments.iter() {
            if segment.start != end || segment.stride != 1 {
                return Some("its segments do not follow one another");
            }
            end = end.checked_add(segment.len).filter(|end| *end <= rows).unwrap_or(usize::MAX);
        }
        if !self.segments.is_empty() && end != rows {
            return Some("its segments do not cover its rows");
        }
        for finals in [&self.final_observations, &self.final_states].into_iter().flatten() {
            if finals.rows() != self.segments.len() {
                return Some("its segments and what follows them differ in number");
            }
        }
        if self.states.as_ref().and_then(|s| s.all().ok()).is_some_and(|s| s.rows() != rows) {
            return Some("its states are not one for each row");
        }
        let sequences = self.sequences.as_ref()?;
        // Minibatches are padded to this length.
        if sequences.len > rows.max(1) {
            return Some("its sequences are longer than its rows");
        }
        let fits = |range: &Range<usize>| {
            range.start < range.end && range.end <= rows && range.len() <= sequences.len
        };
        if !sequences.rows.iter().all(fits) {
            return Some("its sequences do not fit its rows");
        }
        let of_columns = sequences.columns.rows();
        let is_empty = sequences.columns.iter().next().is_none();
        (!is_empty && of_columns != sequences.rows.len())
            .then_some("its sequences and their columns differ in number")
    }
}

fn of_columns(columns: &HostBatch) -> Result<State> {
    numbered(columns.iter().map(|(name, column)| (name, column.clone())))
}

fn columns(state: &State) -> Result<HostBatch> {
    let mut columns = HostBatch::new();
    for (name, column) in named(state)? {
        columns.insert(name, column)?;
    }
    Ok(columns)
}

/// The name of a leaf.
const LEAF: &str = "data";
const TUPLE: &str = "tuple";
const NAMES: &str = "names";

/// Returns a state of parts with names, which may be any text: the parts are numbered components, and the
/// names are plain data.
pub(crate) fn numbered<S: Into<String>>(parts: impl Iterator<Item = (S, Buffer)>) -> Result<State> {
    let (names, parts): (Vec<String>, Vec<Buffer>) =
        parts.map(|(name, part)| (name.into(), part)).unzip();
    let mut state = State::from_data(&BTreeMap::from([(NAMES, names)]))?;
    for (index, part) in parts.into_iter().enumerate() {
        state.insert_component(index.to_string(), of_buffer(part)?);
    }
    Ok(state)
}

/// Returns the parts of a state with their names. In older checkpoints, components have the names.
pub(crate) fn named(state: &State) -> Result<Vec<(String, Buffer)>> {
    if state.data.get(NAMES).is_none() {
        let parts = state.components.iter();
        return parts.map(|(name, part)| Ok((name.clone(), buffer(part)?))).collect();
    }
    let mut names: BTreeMap<String, Vec<String>> = state.data_as()?;
    let names = names.remove(NAMES).unwrap_or_default().into_iter().enumerate();
    names.map(|(i, name)| Ok((name, buffer(state.component(&i.to_string())?)?))).collect()
}

/// A leaf is a tensor. A Dict has a numbered component for each part, as has a Tuple, which says so.
pub(crate) fn of_buffer(buffer: Buffer) -> Result<State> {
    let rows = buffer.rows();
    let shaped = |shape: Vec<usize>| [vec![rows], shape].concat();
    let mut state = State::new();
    match buffer.into_parts() {
        Parts::Float(data, shape) => {
            state.insert_tensor(LEAF, Array::new(shaped(shape), data)?);
        }
        Parts::Byte(data, shape) => {
            state.insert_tensor(LEAF, Array::new(shaped(shape), data)?);
        }
        Parts::Int(data, shape) => {
            state.insert_tensor(LEAF, Array::new(shaped(shape), data)?);
        }
        Parts::Dict(parts) => state = numbered(parts.into_iter())?,
        Parts::Tuple(parts) => {
            state = State::from_data(&BTreeMap::from([(TUPLE, parts.len())]))?;
            for (index, part) in parts.into_iter().enumerate() {
                state.insert_component(index.to_string(), of_buffer(part)?);
            }
        }
    }
    Ok(state)
}

pub(crate) fn buffer(state: &State) -> Result<Buffer> {
    if let Ok(array) = state.tensor(LEAF) {
        let shape = array.shape().get(1..).unwrap_or_default();
        return Ok(match array.data() {
            ArrayData::F32(data) => Buffer::from_f32(data.clone(), shape)?,
            ArrayData::U8(data) => Buffer::from_u8(data.clone(), shape)?,
            ArrayData::I64(data) => Buffer::from_i64(data.clone(), shape)?,
            other => {
                let reason = format!("a column holds {}", other.dtype());
                let component = "experience".into();
                return Err(LearnerError::InvalidState { component, reason });
            }
        });
    }
    if state.data.get(TUPLE).is_some() {
        let parts =
            (0..state.components.len()).map(|index| buffer(state.component(&index.to_string())?));
        return Ok(Buffer::from_tuple(parts.collect::<Result<Vec<_>>>()?)?);
    }
    Ok(Buffer::from_dict(named(state)?)?)
}

#[cfg(test)]
mod tests {
    use rekindle_core::Columns;
    use rekindle_env_runner::SegmentEnd;

    use super::*;

    fn data() -> TrainData {
        let leaf = |n: usize| Buffer::from_f32((0..n).map(|i| i as f32).collect(), &[2]).unwrap();
        let bytes = Buffer::from_u8(vec![0, 1, 255], &[]).unwrap();
        let pair = Buffer::from_tuple(vec![leaf(6), bytes]).unwrap();
        let mut columns = HostBatch::new();
        let obs = Buffer::from_dict([("pair", pair), ("leaf", leaf(6))]).unwrap();
        columns.insert(Columns::OBS, obs).unwrap();
        let actions = Buffer::from_i64(vec![3, -1, 2], &[]).unwrap();
        columns.insert(Columns::ACTIONS, actions).unwrap();
        let mut data = TrainData::from(columns);
        let segment = Segment::new(0..3, SegmentEnd::Cut).with_episode(1, 7).with_t_started(4);
        data.segments = Arc::new(vec![segment]);
        data.final_observations = Some(Arc::new(leaf(2)));
        data.states = Some(Arc::new(StepStates::from(leaf(6))));
        data.sequences = Some(Sequences::cut(&data.segments, 2));
        data
    }

    fn segments(data: &mut TrainData) -> &mut Vec<Segment> {
        Arc::make_mut(&mut data.segments)
    }

    #[test]
    fn saved_experience_is_restored_whole() {
        let data = data();
        let restored = TrainData::from_state(&data.get_state().unwrap()).unwrap();
        assert_eq!(restored.host().unwrap(), data.host().unwrap());
        assert_eq!(restored.segments, data.segments);
        assert_eq!(restored.final_observations, data.final_observations);
        let states = [&restored, &data].map(|data| data.states.as_ref().unwrap().all().unwrap());
        assert_eq!(states[0], states[1]);
        let (a, b) = (restored.sequences.unwrap(), data.sequences.unwrap());
        assert_eq!((a.rows, a.len, a.columns), (b.rows, b.len, b.columns));
    }

    fn check_names(state: &State) {
        for (name, part) in &state.components {
            rekindle_checkpoint::check_component(name).unwrap();
            check_names(part);
        }
    }

    #[test]
    fn names_that_no_folder_could_have_are_saved_and_restored() {
        let number = |n: f32| Buffer::from_f32(vec![n; 3], &[]).unwrap();
        let mut data = data();
        let infos = Buffer::from_dict([("success/rate", number(1.0)), ("con", number(2.0))]);
        data.insert(Columns::INFOS, infos.unwrap()).unwrap();
        data.insert("what? *", number(3.0)).unwrap();
        let state = data.get_state().unwrap();
        check_names(&state);
        let restored = TrainData::from_state(&state).unwrap();
        assert_eq!(restored.host().unwrap(), data.host().unwrap());
    }

    #[test]
    fn columns_of_older_checkpoints_are_components_of_their_names() {
        let leaf = |n: f32| of_buffer(Buffer::from_f32(vec![n; 2], &[]).unwrap()).unwrap();
        let dict = State::new().with_component("a", leaf(1.0)).with_component("b", leaf(2.0));
        let old = State::new().with_component("obs", dict).with_component("rewards", leaf(3.0));
        let columns = columns(&old).unwrap();
        assert_eq!(columns.as_f32("rewards").unwrap(), [3.0; 2]);
        let b = columns.column("obs").unwrap().get("b").unwrap();
        assert_eq!(b.as_f32().unwrap(), [2.0; 2]);
    }

    #[test]
    fn a_state_whose_parts_do_not_fit_together_is_refused() {
        let refused = |change: fn(&mut TrainData), reason: &str| {
            let mut data = data();
            change(&mut data);
            let message =
                TrainData::from_state(&data.get_state().unwrap()).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        };
        refused(|data| segments(data)[0].len = 4, "do not cover its rows");
        refused(|data| segments(data)[0].start = 1, "do not follow one another");
        let twice = |data: &mut TrainData| {
            let again = data.segments.to_vec();
            segments(data).extend(again);
        };
        refused(twice, "do not follow one another");
        let states = |data: &mut TrainData| {
            let two = Buffer::from_f32(vec![0.0; 2], &[]).unwrap();
            data.states = Some(Arc::new(StepStates::from(two)));
        };
        refused(states, "not one for each row");
        let finals = |data: &mut TrainData| {
            let two = Buffer::from_f32(vec![0.0; 4], &[2]).unwrap();
            data.final_observations = Some(Arc::new(two));
        };
        refused(finals, "differ in number");
        let sequences = |data: &mut TrainData| {
            data.sequences.as_mut().unwrap().rows[1] = 2..9;
        };
        refused(sequences, "do not fit its rows");
        let long = |data: &mut TrainData| data.sequences.as_mut().unwrap().len = usize::MAX;
        refused(long, "longer than its rows");
    }
}
