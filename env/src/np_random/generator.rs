//! Random numbers from random bits.

use std::collections::hash_map::RandomState;
use std::f64::consts::TAU;
use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};

use super::{Pcg64, SeedSequence};

/// A stream of random numbers, equal to `np.random.Generator(np.random.PCG64(seed))`.
///
/// Raw words, [`random`](Self::random), [`uniform`](Self::uniform), [`integers`](Self::integers),
/// [`shuffle`](Self::shuffle) and [`permutation`](Self::permutation) follow NumPy's stream exactly.
/// [`standard_normal`](Self::standard_normal) and
/// [`standard_exponential`](Self::standard_exponential) have the same distributions but another
/// stream, because NumPy's ziggurat tables are not part of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    bits: Pcg64,
    /// The unused upper half of the last word split by `next_u32`.
    buffered: Option<u32>,
}

impl Generator {
    /// Creates the generator `np.random.default_rng(seed)`, which is Gymnasium's `np_random(seed)`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::new(&SeedSequence::from_u64(seed))
    }

    /// Creates the generator `np.random.default_rng(key)` for a list of integers.
    ///
    /// A key such as `[seed, worker, episode]` gives each part of a program its own stream.
    #[must_use]
    pub fn from_key(key: &[u64]) -> Self {
        Self::new(&SeedSequence::from_key(key))
    }

    /// Creates the generator of a seed sequence.
    #[must_use]
    pub fn new(sequence: &SeedSequence) -> Self {
        Self { bits: Pcg64::new(sequence), buffered: None }
    }

    /// Creates a generator that the operating system seeds.
    #[must_use]
    pub fn from_entropy() -> Self {
        // The standard library keys every `RandomState` with the system's random source.
        let state = RandomState::new();
        Self::from_key(&[state.hash_one(0_u8), state.hash_one(1_u8)])
    }

    /// Starts the stream of `seed`. Without a seed, the current stream continues.
    ///
    /// An environment calls this with the seed of its `reset`.
    pub fn reseed(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            *self = Self::from_seed(seed);
        }
    }

    /// Draws the next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.bits.next_u64()
    }

    /// Draws the next 32 bits: the lower half of a word, and in the next call its upper half.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.buffered.take() {
            return half;
        }
        let word = self.next_u64();
        self.buffered = Some((word >> 32) as u32);
        word as u32
    }

    /// Draws a number uniformly from `[0, 1)`, with 53 random bits.
    #[inline]
    pub fn random(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * SCALE
    }

    /// Draws a number uniformly from `[low, high)`.
    #[inline]
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }

    /// Draws an integer uniformly from `[low, high)`, or returns `low` if that range is empty.
    #[inline]
    pub fn integers(&mut self, low: i64, high: i64) -> i64 {
        if high <= low {
            return low;
        }
        // Wrapping arithmetic covers the widest range, 2^64 - 1, as well.
        let span = (high as u64).wrapping_sub(low as u64) - 1;
        low.wrapping_add(self.at_most(span) as i64)
    }

    /// Uniform in `0..=max` by Lemire's multiplication, with NumPy's choice of word size.
    #[inline]
    fn at_most(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        match u32::try_from(max) {
            Ok(u32::MAX) => u64::from(self.next_u32()),
            Ok(max) => {
                let count = max + 1;
                let mut product = u64::from(self.next_u32()) * u64::from(count);
                if (product as u32) < count {
                    let threshold = count.wrapping_neg() % count;
                    while (product as u32) < threshold {
                        product = u64::from(self.next_u32()) * u64::from(count);
                    }
                }
                product >> 32
            }
            Err(_) if max == u64::MAX => self.next_u64(),
            Err(_) => {
                let count = max + 1;
                let mut product = u128::from(self.next_u64()) * u128::from(count);
                if (product as u64) < count {
                    let threshold = count.wrapping_neg() % count;
                    while (product as u64) < threshold {
                        product = u128::from(self.next_u64()) * u128::from(count);
                    }
                }
                (product >> 64) as u64
            }
        }
    }

    /// Fills `out` with fair coin tosses, as `integers(0, 2, size=n, dtype=np.int8)`.
    pub(crate) fn fill_bits(&mut self, out: &mut [u8]) {
        // NumPy takes the top bit of each byte of a word, lowest byte first.
        for chunk in out.chunks_mut(4) {
            for (bit, byte) in chunk.iter_mut().zip(self.next_u32().to_le_bytes()) {
                *bit = byte >> 7;
            }
        }
    }

    /// Draws from the normal distribution with mean 0 and variance 1, by the Box-Muller method. Not
    /// NumPy's stream.
    #[inline]
    pub fn standard_normal(&mut self) -> f64 {
        let radius = (2.0 * self.standard_exponential()).sqrt();
        radius * (TAU * self.random()).cos()
    }

    /// Draws from the exponential distribution with mean 1, by inversion. Not NumPy's stream.
    #[inline]
    pub fn standard_exponential(&mut self) -> f64 {
        -(-self.random()).ln_1p()
    }

    /// Shuffles the items by the Fisher-Yates method.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.interval(last));
        }
    }

    /// Uniform in `0..=max` for a `max` of at least 1, by rejection, as in NumPy's shuffle.
    #[inline]
    fn interval(&mut self, max: usize) -> usize {
        let max = max as u64;
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let wide = max > u64::from(u32::MAX);
            let word = if wide { self.next_u64() } else { u64::from(self.next_u32()) };
            if word & mask <= max {
                return (word & mask) as usize;
            }
        }
    }

    /// Returns the numbers `0..n` in random order.
    #[must_use]
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}
