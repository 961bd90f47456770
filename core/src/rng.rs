//! Random streams that live on the host and can be saved.
//!
//! Every random number that influences training (action noise, permutations, environment seeds) comes
//! from a stream keyed by *(seed, runner, env, purpose)*. The key alone decides the numbers of a stream:
//! the number of threads, the order in which runners work and the use of other streams have no influence.
//! Streams are PCG64 generators seeded by NumPy's `SeedSequence`. They are serialized with their exact
//! position.

use rekindle_env::np_random::Generator;

/// The purpose of a stream, which is part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Seeds of environments.
    EnvSeed = 1,
    /// Sampling of actions.
    Action = 2,
    /// Order of rows in minibatches.
    Shuffle = 4,
    /// Initial parameters of modules.
    Init = 5,
    /// All random numbers of an evaluation.
    Evaluation = 6,
    /// Seeds of environments that are restarted after a failure.
    EnvRestart = 7,
    /// Seeds of runners that are recreated after a failure; `env` is the number of restarts.
    RunnerRestart = 8,
    /// Random numbers of a module's loss; `env` is a hash of the module's id.
    Loss = 9,
    /// Draws from a circular buffer of batches.
    CircularBuffer = 10,
    /// Random numbers of exploration passes; `env` is the number of the environment or agent.
    Exploration = 11,
    /// Draws from replay buffers.
    Replay = 12,
    /// Order of recorded data; `env` is the number of the pass over the data.
    Offline = 13,
}

/// Returns the stream of a key. `runner` and `env` are 0 for streams without them.
#[must_use]
pub fn stream(seed: u64, runner: u64, env: u64, purpose: Purpose) -> Generator {
    // The constant first word separates these streams from `Generator::from_seed(seed)`, which
    // environments use for themselves.
    Generator::from_key(&[0x7265_6b69, seed, runner, env, purpose as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fixes_its_stream_and_every_part_of_the_key_counts() {
        let first = |mut g: Generator| g.next_u64();
        let base = first(stream(1, 2, 3, Purpose::Action));
        assert_eq!(base, first(stream(1, 2, 3, Purpose::Action)));
        for other in [
            stream(2, 2, 3, Purpose::Action),
            stream(1, 3, 3, Purpose::Action),
            stream(1, 2, 4, Purpose::Action),
            stream(1, 2, 3, Purpose::Shuffle),
        ] {
            assert_ne!(base, first(other));
        }
    }

    #[test]
    fn a_saved_stream_continues_exactly() {
        let mut stream = stream(7, 0, 0, Purpose::Shuffle);
        stream.next_u32();
        let json = serde_json::to_string(&stream).unwrap();
        let mut restored: Generator = serde_json::from_str(&json).unwrap();
        for _ in 0..10 {
            assert_eq!(stream.next_u32(), restored.next_u32());
        }
    }
}
