//! NumPy's seeded random streams, bit for bit.
//!
//! A seed must give the same episode here as in Gymnasium. Environments therefore draw from
//! [`Generator`], which equals `np.random.default_rng(seed)`: a [`SeedSequence`] spreads the seed
//! over the state of a [`Pcg64`], and the generator turns its words into numbers as NumPy does.
//!
//! ```
//! use rekindle_env::np_random::Generator;
//!
//! let mut rng = Generator::from_seed(123);
//! assert_eq!(rng.random(), 0.6823518632481435); // np.random.default_rng(123).random()
//! ```
//!
//! A generator serializes to JSON without loss, so that a stream can be saved and continued.

mod generator;
mod pcg64;
mod seed_sequence;

pub use generator::Generator;
pub use pcg64::Pcg64;
pub use seed_sequence::SeedSequence;
