//! Frames are stored once, and observations are those that the connector stacked.

use proptest::prelude::*;
use rekindle_checkpoint::{read, write};

use super::*;

/// Pixels of a frame.
const PIXELS: usize = 2;

/// What the steps of a test are made of.
#[derive(Debug, Clone, Copy)]
struct Stack {
    frames: usize,
    channels: usize,
    bytes: bool,
}

impl Stack {
    /// A frame that no other step has.
    fn frame(self, episode: u64, t: usize) -> Vec<u8> {
        let first = episode as usize * 57 + t * 11 + 1;
        (0..PIXELS * self.channels).map(|i| ((first + i * 131) % 255 + 1) as u8).collect()
    }

    /// The observation at a step, stacked by the definition.
    fn observation(self, episode: u64, t: usize) -> Vec<u8> {
        let frames: Vec<Vec<u8>> = (0..self.frames)
            .map(|index| match (t + index + 1).checked_sub(self.frames) {
                Some(t) => self.frame(episode, t),
                None => vec![0; PIXELS * self.channels],
            })
            .collect();
        let of_pixel = |pixel: usize| {
            let channels = pixel * self.channels..(pixel + 1) * self.channels;
            frames.iter().flat_map(move |frame| frame[channels.clone()].to_vec())
        };
        (0..PIXELS).flat_map(of_pixel).collect()
    }

    fn buffer(self, observations: &[Vec<u8>]) -> Buffer {
        let (data, shape) = (observations.concat(), [PIXELS, self.channels * self.frames]);
        match self.bytes {
            true => Buffer::from_u8(data, &shape).unwrap(),
            false => Buffer::from_f32(data.into_iter().map(f32::from).collect(), &shape).unwrap(),
        }
    }

    /// A fragment whose rewards say which step each row is.
    fn rollout(self, env: usize, episode: u64, t: usize, len: usize, end: SegmentEnd) -> Rollout {
        let steps: Vec<Vec<u8>> = (t..t + len).map(|t| self.observation(episode, t)).collect();
        let rewards: Vec<f32> = (t..t + len).map(|t| (episode * 1000) as f32 + t as f32).collect();
        let mut rollout = rollout(segment(env, episode, t, len, end), 0.0, &rewards, 0.0);
        rollout.observations = self.buffer(&steps);
        rollout.final_observations = self.buffer(&[self.observation(episode, t + len)]);
        rollout
    }

    /// Checks all stored rows, and returns their number.
    fn check(self, buffer: &ReplayBuffer) -> usize {
        let storage = &buffer.storage;
        let rows: Vec<usize> =
            (0..storage.slots()).filter(|row| storage.follows(*row) != Follows::Absent).collect();
        let spec = TransitionSpec::new(0.9);
        let batch = storage.gather(&rows, &spec, &mut Generator::from_seed(0)).unwrap();
        let of_step = |after: usize| {
            let steps = batch.as_f32(Columns::REWARDS).unwrap().iter().map(|reward| {
                let (episode, t) = (*reward as usize / 1000, *reward as usize % 1000);
                self.observation(episode as u64, t + after)
            });
            self.buffer(&steps.collect::<Vec<_>>())
        };
        assert_eq!(batch.column(Columns::OBS).unwrap(), &of_step(0));
        assert_eq!(batch.column(Columns::NEXT_OBS).unwrap(), &of_step(1));
        rows.len()
    }

    /// Stores fragments of random lengths of three environments. Some are lost.
    fn fill(self, buffer: &mut ReplayBuffer, rng: &mut Generator, running: &mut [(u64, usize); 3]) {
        for _ in 0..40 {
            let env = rng.integers(0, 3) as usize;
            let (episode, t) = running[env];
            let len = rng.integers(1, 7) as usize;
            let end = match rng.integers(0, 6) {
                0 => SegmentEnd::Terminated,
                1 => SegmentEnd::Truncated,
                _ => SegmentEnd::Cut,
            };
            if rng.integers(0, 10) > 0 {
                buffer.push(&self.rollout(env, episode, t, len, end)).unwrap();
            }
            running[env] = match end {
                SegmentEnd::Cut => (episode, t + len),
                _ => (episode + 3, 0),
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn observations_are_those_that_were_stacked(
        frames in 2..6usize,
        channels in 1..3usize,
        bytes: bool,
        capacity in 12..150usize,
        seed in 0..1000u64,
    ) {
        let stack = Stack { frames, channels, bytes };
        let config = ReplayConfig::default().capacity(capacity);
        let mut buffer = ReplayBuffer::new(config.clone(), [""; 0], 3).num_frames(frames);
        let mut rng = Generator::from_seed(seed);
        let mut running = [(0, 0), (1, 0), (2, 0)];
        let folder = tempfile::tempdir().unwrap();
        for round in 0..4 {
            stack.fill(&mut buffer, &mut rng, &mut running);
            prop_assert!(stack.check(&buffer) <= capacity);
            if round % 2 == 1 {
                let state = buffer.get_state().unwrap();
                write(folder.path().join("a"), &state).unwrap();
                let read = read(folder.path().join("a")).unwrap();
                buffer = ReplayBuffer::from_state(config.clone(), read).unwrap();
                prop_assert!(buffer.get_state().unwrap() == state);
                stack.check(&buffer);
            }
        }
        let chunk = &buffer.storage.chunks[0];
        let stored = &chunk.columns[buffer.storage.obs];
        prop_assert_eq!(stored.shape().unwrap(), [PIXELS, channels]);
        prop_assert_eq!(stored.as_u8().is_ok(), bytes);
    }
}

#[test]
fn draws_equal_those_of_a_buffer_of_stacked_observations() {
    let stack = Stack { frames: 4, channels: 1, bytes: true };
    let config = prioritized(LargestWeight::Buffer).capacity(60);
    let whole = || ReplayBuffer::new(config.clone(), [""; 0], 1);
    let mut buffers = [whole(), whole().num_frames(4)];
    for episode in 0..40 {
        let len = 1 + (episode % 9) as usize;
        let steps = [(0, len, SegmentEnd::Cut), (len, 2, SegmentEnd::Truncated)];
        for (t, len, end) in steps {
            let steps = stack.rollout(0, episode, t, len, end);
            buffers.iter_mut().for_each(|buffer| buffer.push(&steps).unwrap());
        }
    }
    let spec = TransitionSpec::new(0.9).n_step(1..=3);
    let draws = buffers.map(|buffer| {
        let batch = buffer.sample(200, &spec, 0, &mut Generator::from_seed(3)).unwrap();
        batch.host().unwrap().clone()
    });
    assert_eq!(draws[0], draws[1]);
}

#[test]
fn observations_that_cannot_be_stacked_are_stored_whole() {
    let mut numbers = ReplayBuffer::new(ReplayConfig::default(), [""; 0], 1).num_frames(3);
    numbers.push(&rollout(segment(0, 0, 0, 3, SegmentEnd::Cut), 0.0, &[1.0; 3], 3.0)).unwrap();
    assert_eq!(numbers.storage.frames, None);
    assert_eq!(transitions(&numbers, &[0, 1, 2], 1)[2], [1.0, 2.0, 3.0]);
}
