//! NumPy's `SeedSequence`, which spreads a seed of any size evenly over a generator's state.

use serde::{Deserialize, Serialize};

const POOL_SIZE: usize = 4;
const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_MULT_L: u32 = 0xca01_f9dd;
const MIX_MULT_R: u32 = 0x4973_f715;
const XSHIFT: u32 = 16;

/// A pool of 128 bits mixed from a seed, equal to `np.random.SeedSequence`.
///
/// Similar seeds give unrelated pools, so seeds may be small and consecutive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedSequence {
    pool: [u32; POOL_SIZE],
}

impl SeedSequence {
    /// Creates `SeedSequence(entropy)` for a list of integers below `2^32`.
    #[must_use]
    pub fn new(entropy: &[u32]) -> Self {
        Self { pool: mix_entropy(entropy) }
    }

    /// Creates `SeedSequence(entropy, spawn_key=spawn_key)`, an independent pool for each spawn
    /// key.
    #[must_use]
    pub fn with_spawn_key(entropy: &[u32], spawn_key: &[u32]) -> Self {
        let mut words = entropy.to_vec();
        // NumPy pads a short seed first, so that a spawn key never equals a longer seed.
        if !spawn_key.is_empty() && words.len() < POOL_SIZE {
            words.resize(POOL_SIZE, 0);
        }
        words.extend_from_slice(spawn_key);
        Self::new(&words)
    }

    /// Creates `SeedSequence(seed)` for an integer.
    #[must_use]
    pub fn from_u64(seed: u64) -> Self {
        Self::from_u128(u128::from(seed))
    }

    /// Creates `SeedSequence(seed)` for an integer of up to 128 bits.
    #[must_use]
    pub fn from_u128(seed: u128) -> Self {
        let mut words = Vec::with_capacity(POOL_SIZE);
        push_words(&mut words, seed);
        Self::new(&words)
    }

    /// Creates `SeedSequence(key)` for a list of integers of up to 64 bits.
    #[must_use]
    pub fn from_key(key: &[u64]) -> Self {
        let mut words = Vec::with_capacity(2 * key.len());
        for &number in key {
            push_words(&mut words, u128::from(number));
        }
        Self::new(&words)
    }

    /// Returns `generate_state(n, np.uint32)`.
    #[must_use]
    pub fn generate_state_u32(&self, n: usize) -> Vec<u32> {
        self.words().take(n).collect()
    }

    /// Returns `generate_state(n, np.uint64)`.
    #[must_use]
    pub fn generate_state_u64(&self, n: usize) -> Vec<u64> {
        let mut words = self.words();
        (0..n).map(|_| next_u64(&mut words)).collect()
    }

    /// The first four 64-bit words, which seed a PCG64.
    pub(crate) fn pcg64_words(&self) -> [u64; 4] {
        let mut words = self.words();
        std::array::from_fn(|_| next_u64(&mut words))
    }

    /// The endless sequence of 32-bit words hashed from the pool.
    fn words(&self) -> impl Iterator<Item = u32> + '_ {
        let mut hash = INIT_B;
        self.pool.iter().cycle().map(move |&word| {
            let mut word = word ^ hash;
            hash = hash.wrapping_mul(MULT_B);
            word = word.wrapping_mul(hash);
            word ^ (word >> XSHIFT)
        })
    }
}

/// Two 32-bit words, low word first.
fn next_u64(words: &mut impl Iterator<Item = u32>) -> u64 {
    let mut word = || u64::from(words.next().unwrap_or_default());
    word() | (word() << 32)
}

/// Appends the 32-bit words of an integer, low word first; zero has one word.
fn push_words(words: &mut Vec<u32>, mut number: u128) {
    loop {
        words.push(number as u32);
        number >>= 32;
        if number == 0 {
            return;
        }
    }
}

fn mix_entropy(entropy: &[u32]) -> [u32; POOL_SIZE] {
    let mut hash = INIT_A;
    let mut hashmix = |word: u32| {
        let mut word = word ^ hash;
        hash = hash.wrapping_mul(MULT_A);
        word = word.wrapping_mul(hash);
        word ^ (word >> XSHIFT)
    };
    let mix = |x: u32, y: u32| {
        let mixed = x.wrapping_mul(MIX_MULT_L).wrapping_sub(y.wrapping_mul(MIX_MULT_R));
        mixed ^ (mixed >> XSHIFT)
    };

    let mut pool: [u32; POOL_SIZE] =
        std::array::from_fn(|i| hashmix(entropy.get(i).copied().unwrap_or(0)));
    for source in 0..POOL_SIZE {
        for target in (0..POOL_SIZE).filter(|&target| target != source) {
            pool[target] = mix(pool[target], hashmix(pool[source]));
        }
    }
    for &word in entropy.iter().skip(POOL_SIZE) {
        for slot in &mut pool {
            *slot = mix(*slot, hashmix(word));
        }
    }
    pool
}
