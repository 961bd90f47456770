//! NumPy's streams, against recordings of NumPy.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::{f64s, golden};
use rekindle_env::np_random::{Generator, SeedSequence};
use serde_json::{Value as Json, json};

/// Every recording with the sequence and the generator that should reproduce it.
fn recordings() -> Vec<(Json, SeedSequence, Generator)> {
    let key = |record: &Json| serde_json::from_value::<Vec<u64>>(record["key"].clone()).unwrap();
    golden("numpy")
        .into_iter()
        .map(|record| match record["seed"].as_u64() {
            Some(seed) => (record, SeedSequence::from_u64(seed), Generator::from_seed(seed)),
            None => {
                let key = key(&record);
                (record, SeedSequence::from_key(&key), Generator::from_key(&key))
            }
        })
        .collect()
}

#[test]
fn seed_sequences_generate_numpys_words() {
    for (record, sequence, _) in recordings() {
        assert_eq!(json!(sequence.generate_state_u32(9)), record["u32"]);
        assert_eq!(json!(sequence.generate_state_u64(5)), record["u64"]);
    }
}

#[test]
fn spawn_keys_generate_numpys_words() {
    for (record, ..) in recordings() {
        let words = |number: u64| match number >> 32 {
            0 => vec![number as u32],
            high => vec![number as u32, high as u32],
        };
        let entropy: Vec<u32> = match record["seed"].as_u64() {
            Some(seed) => words(seed),
            None => record["key"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|n| words(n.as_u64().unwrap()))
                .collect(),
        };
        let spawned = SeedSequence::with_spawn_key(&entropy, &[3, 1]);
        assert_eq!(json!(spawned.generate_state_u64(4)), record["spawned"]);
    }
}

#[test]
fn generators_follow_numpys_stream_through_every_kind_of_draw() {
    for (record, _, mut rng) in recordings() {
        for word in record["raw"].as_array().unwrap() {
            assert_eq!(rng.next_u64(), word.as_u64().unwrap());
        }
        for number in f64s(&record["random"]) {
            assert_eq!(rng.random(), number);
        }
        let uniform = [(-0.05, 0.05), (-3.0, 1e6), (0.0, 1e-9)];
        assert_eq!(uniform.map(|(low, high)| rng.uniform(low, high)), *f64s(&record["uniform"]));
        for draw in record["integers"].as_array().unwrap() {
            let [low, high, number] = serde_json::from_value(draw.clone()).unwrap();
            assert_eq!(rng.integers(low, high), number, "integers({low}, {high})");
        }
        assert_eq!(rng.random(), record["random_after"].as_f64().unwrap());
        assert_eq!(json!(rng.permutation(20)), record["permutation"]);
        assert_eq!(json!(rng.permutation(3)), record["permutation_after"]);
        let state = json!({
            "bits": { "state": record["state"], "inc": record["inc"] },
            "buffered": record["buffered"],
        });
        assert_eq!(serde_json::to_value(&rng).unwrap(), state);
    }
}

#[test]
fn u128_seeds_equal_their_words() {
    let seed = (5_u128 << 96) | (4 << 64) | (3 << 32) | 2;
    assert_eq!(SeedSequence::from_u128(seed), SeedSequence::new(&[2, 3, 4, 5]));
}

#[test]
fn a_generator_continues_exactly_after_json() {
    let mut rng = Generator::from_seed(5);
    rng.next_u32(); // Leaves half a word in the buffer.
    let text = serde_json::to_string(&rng).unwrap();
    let mut restored: Generator = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, rng);
    for _ in 0..10 {
        assert_eq!(restored.next_u32(), rng.next_u32());
        assert_eq!(restored.random(), rng.random());
    }
}

#[test]
fn generators_without_a_seed_differ() {
    assert_ne!(Generator::from_entropy(), Generator::from_entropy());
}

#[test]
fn reseeding_restarts_the_stream_and_no_seed_continues_it() {
    let mut rng = Generator::from_seed(3);
    let first = rng.random();
    rng.reseed(None);
    assert_ne!(rng.random(), first);
    rng.reseed(Some(3));
    assert_eq!(rng.random(), first);
}

#[test]
fn an_empty_range_of_integers_gives_its_lower_end() {
    let mut rng = Generator::from_seed(0);
    assert_eq!(rng.integers(3, 3), 3);
    assert_eq!(rng.integers(3, -3), 3);
}

#[test]
fn normal_and_exponential_numbers_have_their_moments() {
    let mut rng = Generator::from_seed(0);
    let n = 200_000;
    let moments = |draw: &mut dyn FnMut() -> f64| {
        let numbers: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = numbers.iter().sum::<f64>() / f64::from(n);
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        (mean, variance)
    };
    let (mean, variance) = moments(&mut || rng.standard_normal());
    assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "normal: {mean}, {variance}");
    let (mean, variance) = moments(&mut || rng.standard_exponential());
    assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.05, "{mean}, {variance}");
}

#[test]
fn shuffling_keeps_every_item() {
    let mut items: Vec<u32> = (0..50).collect();
    Generator::from_seed(1).shuffle(&mut items);
    assert_ne!(items, (0..50).collect::<Vec<_>>());
    items.sort_unstable();
    assert_eq!(items, (0..50).collect::<Vec<_>>());
}
