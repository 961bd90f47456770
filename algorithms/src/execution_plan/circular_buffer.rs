//! Batches that are learned from several times.

use rekindle_checkpoint::State;
use rekindle_core::Generator;
use rekindle_core::rng::{Purpose, stream};
use rekindle_learner::{LearnerError, ModuleData, TrainData};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The last batches. Each batch is drawn exactly `iterations` times, in random order (Luo et al., 2020; RLlib's
/// `CircularBuffer`).
#[derive(Debug, Clone)]
pub(super) struct CircularBuffer {
    capacity: usize,
    iterations: usize,
    /// Oldest first.
    batches: Vec<Buffered>,
    rng: Generator,
}

#[derive(Debug, Clone)]
struct Buffered {
    data: ModuleData,
    /// The version of the weights when the batch was added.
    version: u64,
    /// The number of times that it may still be drawn.
    left: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedBuffer {
    left: Vec<usize>,
    /// Absent in older checkpoints.
    #[serde(default)]
    versions: Vec<u64>,
    rng: Generator,
}

impl CircularBuffer {
    pub(super) fn new(capacity: usize, iterations: usize, seed: u64) -> Self {
        let rng = stream(seed, 0, 0, Purpose::CircularBuffer);
        Self { capacity: capacity.max(1), iterations, batches: Vec::new(), rng }
    }

    /// Adds a batch that was prepared with weights of this version. The caller then draws until [`draw`](Self::draw) returns nothing.
    pub(super) fn push(&mut self, data: ModuleData, version: u64) {
        if self.iterations > 0 {
            self.batches.push(Buffered { data, version, left: self.iterations });
        }
    }

    /// Draws a batch after a push: one while the buffer fills, and from then on as many as a push adds,
    /// so that no batch is dropped before its last draw. `drawn` is the number of draws since the push.
    /// Returns the batch with the version of the weights when it was added.
    pub(super) fn draw(&mut self, drawn: usize) -> Option<(ModuleData, u64)> {
        let left = self.batches.iter().fold(0, |all: usize, batch| all.saturating_add(batch.left));
        let waits = (self.capacity - 1).saturating_mul(self.iterations);
        let (due, must) = (left > waits, self.batches.len() > self.capacity);
        if !due && !must && (drawn > 0 || left == 0) {
            return None;
        }
        // The oldest batch leaves before there are too many.
        let index = match must {
            true => 0,
            false => self.rng.integers(0, self.batches.len() as i64) as usize,
        };
        let batch = self.batches.get_mut(index)?;
        batch.left -= 1;
        if batch.left > 0 {
            return Some((batch.data.clone(), batch.version));
        }
        let Buffered { data, version, .. } = self.batches.remove(index);
        Some((data, version))
    }

    pub(super) fn get_state(&self) -> Result<State> {
        let left = self.batches.iter().map(|batch| batch.left).collect();
        let versions = self.batches.iter().map(|batch| batch.version).collect();
        let mut state = State::from_data(&SavedBuffer { left, versions, rng: self.rng.clone() })?;
        for (index, batch) in self.batches.iter().enumerate() {
            state.insert_component(index.to_string(), data_state(&batch.data)?);
        }
        Ok(state)
    }

    pub(super) fn set_state(&mut self, state: &State) -> Result<()> {
        let saved: SavedBuffer = state.data_as()?;
        if saved.left.contains(&0) {
            let reason = "a batch has no draw left".into();
            let component = "circular buffer".into();
            return Err(LearnerError::InvalidState { component, reason }.into());
        }
        let mut batches = Vec::with_capacity(saved.left.len());
        for (index, left) in saved.left.into_iter().enumerate() {
            let data = data_from(state.component(&index.to_string())?)?;
            let version = saved.versions.get(index).copied().unwrap_or_default();
            batches.push(Buffered { data, version, left });
        }
        (self.batches, self.rng) = (batches, saved.rng);
        Ok(())
    }
}

/// Returns the data of all modules as state.
pub(crate) fn data_state(data: &ModuleData) -> Result<State> {
    let mut state = State::new();
    for (id, data) in data {
        state.insert_component(id.clone(), data.get_state()?);
    }
    Ok(state)
}

/// Returns the data that a state describes.
pub(crate) fn data_from(state: &State) -> Result<ModuleData> {
    let data = state
        .components
        .iter()
        .map(|(id, state)| Ok::<_, LearnerError>((id.clone(), TrainData::from_state(state)?)));
    Ok(data.collect::<Result<_, LearnerError>>()?)
}

#[cfg(test)]
mod tests {
    use rekindle_core::HostBatch;

    use super::*;

    fn batch(number: usize) -> ModuleData {
        let mut columns = HostBatch::new();
        columns.insert_f32("number", vec![number as f32]).unwrap();
        ModuleData::from([("a".to_owned(), columns.into())])
    }

    fn number(batch: &ModuleData) -> usize {
        batch["a"].as_f32("number").unwrap()[0] as usize
    }

    /// Pushes batches, and returns how often and in which order each was drawn.
    fn run(buffer: &mut CircularBuffer, batches: std::ops::Range<usize>) -> Vec<usize> {
        let mut order = Vec::new();
        for n in batches {
            buffer.push(batch(n), n as u64);
            let mut drawn = 0;
            while let Some((batch, version)) = buffer.draw(drawn) {
                assert_eq!(version as usize, number(&batch));
                order.push(number(&batch));
                drawn += 1;
            }
            assert!(drawn >= 1, "the learner does not wait");
            assert!(buffer.batches.len() <= buffer.capacity);
        }
        order
    }

    #[test]
    fn every_batch_is_drawn_exactly_as_often_as_asked_and_in_a_mixed_order() {
        for (capacity, iterations) in [(1, 1), (1, 3), (4, 2), (8, 2), (3, 5)] {
            let mut buffer = CircularBuffer::new(capacity, iterations, 0);
            let order = run(&mut buffer, 0..200);
            let of = |n: usize| order.iter().filter(|&&drawn| drawn == n).count();
            // The last ones may still be in the buffer.
            for n in 0..200 - capacity {
                let waiting = buffer.batches.iter().any(|batch| number(&batch.data) == n);
                assert!(waiting || of(n) == iterations, "{n}: {}", of(n));
            }
            let left: usize = buffer.batches.iter().map(|batch| batch.left).sum();
            assert_eq!(order.len() + left, 200 * iterations);
            let sorted = order.is_sorted();
            assert_eq!(sorted, capacity == 1, "{capacity} {iterations}");
        }
    }

    #[test]
    fn a_state_with_a_batch_that_was_used_up_is_refused() {
        let mut buffer = CircularBuffer::new(4, 2, 7);
        run(&mut buffer, 0..3);
        let mut state = buffer.get_state().unwrap();
        state.data["left"][0] = 0.into();
        let message = buffer.set_state(&state).unwrap_err().to_string();
        assert!(message.contains("a batch has no draw left"), "{message}");
        run(&mut buffer, 3..10);
    }

    #[test]
    fn a_saved_buffer_continues_exactly() {
        let mut buffer = CircularBuffer::new(4, 2, 7);
        run(&mut buffer, 0..20);
        let mut restored = CircularBuffer::new(4, 2, 8);
        restored.set_state(&buffer.get_state().unwrap()).unwrap();
        assert_eq!(run(&mut buffer, 20..60), run(&mut restored, 20..60));
    }
}
