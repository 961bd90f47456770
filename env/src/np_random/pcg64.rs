//! NumPy's default bit generator.

use serde::{Deserialize, Serialize};

use super::SeedSequence;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// PCG XSL-RR 128/64, equal to NumPy's `PCG64`: fast, small, with a period of `2^128`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcg64 {
    #[serde(with = "decimal")]
    state: u128,
    #[serde(rename = "inc", with = "decimal")]
    increment: u128,
}

impl Pcg64 {
    /// Creates the bit generator `np.random.PCG64(sequence)`.
    #[must_use]
    pub fn new(sequence: &SeedSequence) -> Self {
        let words = sequence.pcg64_words();
        let join = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let mut bits = Self { state: 0, increment: (join(words[2], words[3]) << 1) | 1 };
        bits.advance();
        bits.state = bits.state.wrapping_add(join(words[0], words[1]));
        bits.advance();
        bits
    }

    /// Draws the next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    #[inline]
    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// 128-bit integers as decimal strings, because most readers of JSON would lose digits.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
