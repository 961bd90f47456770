//! Properties of all spaces, values and buffers, on random spaces nested up to three deep.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

use proptest::prelude::*;
use rekindle_env::np_random::Generator;
use rekindle_env::{Buffer, Space, Value};

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..4, 0..3)
}

/// A float box with its own finite or infinite bounds for every element.
fn float_box() -> impl Strategy<Value = Space> {
    let bound = || prop_oneof![3 => (-100.0_f32..100.0).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((bound(), bound()), 1..5).prop_map(|bounds| {
        let (low, high): (Vec<f32>, Vec<f32>) = bounds
            .into_iter()
            .map(|bounds| match bounds {
                (Some(a), Some(b)) => (a.min(b), a.max(b)),
                (a, b) => (a.unwrap_or(f32::NEG_INFINITY), b.unwrap_or(f32::INFINITY)),
            })
            .unzip();
        Space::box_between(low, high).unwrap()
    })
}

fn leaf() -> impl Strategy<Value = Space> {
    prop_oneof![
        float_box(),
        shape().prop_map(|shape| Space::boxed(-1.0, 1.0, &shape).unwrap()),
        shape().prop_map(|shape| Space::image(&shape).unwrap()),
        (shape(), -9..9, 0..9)
            .prop_map(|(shape, low, n)| Space::int_box(low, low + n, &shape).unwrap()),
        (1_usize..6, -5_i64..5)
            .prop_map(|(n, start)| Space::discrete_with_start(n, start).unwrap()),
        prop::collection::vec(1_usize..5, 1..4)
            .prop_map(|nvec| Space::multi_discrete(nvec).unwrap()),
        (1_usize..9).prop_map(|n| Space::multi_binary(n).unwrap()),
    ]
}

fn space() -> impl Strategy<Value = Space> {
    leaf().prop_recursive(3, 16, 3, |part| {
        prop_oneof![
            prop::collection::btree_map("[a-z]{1,3}", part.clone(), 1..4)
                .prop_map(|parts| Space::dict(parts).unwrap()),
            prop::collection::vec(part, 1..4).prop_map(|parts| Space::tuple(parts).unwrap()),
        ]
    })
}

/// A space with some of its elements, as values and as a buffer.
fn elements() -> impl Strategy<Value = (Space, Vec<Value>, Buffer)> {
    (space(), any::<u64>(), 1_usize..6).prop_map(|(space, seed, rows)| {
        let mut rng = Generator::from_seed(seed);
        let values: Vec<Value> = (0..rows).map(|_| space.sample(&mut rng)).collect();
        let mut buffer = Buffer::with_capacity(&space, 0);
        values.iter().for_each(|value| buffer.push_value(value).unwrap());
        (space, values, buffer)
    })
}

fn values(buffer: &Buffer) -> Vec<Value> {
    (0..buffer.rows()).map(|row| buffer.row(row).to_value().unwrap()).collect()
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(item: &T) -> T {
    serde_json::from_str(&serde_json::to_string(item).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn samples_are_contained((space, values, buffer) in elements(), seed: u64) {
        let mut sampler = space.sampler(seed);
        prop_assert!(space.contains(&sampler.sample()));
        for (row, value) in values.iter().enumerate() {
            prop_assert!(space.contains(value));
            prop_assert!(space.contains_row(buffer.row(row)));
        }
    }

    #[test]
    fn sampling_into_rows_draws_the_same_elements(space in space(), seed: u64) {
        let (mut a, mut b) = (Generator::from_seed(seed), Generator::from_seed(seed));
        let mut buffer = Buffer::zeros(&space, 1);
        space.sample_into(&mut a, buffer.row_mut(0)).unwrap();
        prop_assert_eq!(buffer.row(0).to_value().unwrap(), space.sample(&mut b));
        prop_assert_eq!(a, b);
    }

    #[test]
    fn flattened_elements_unflatten_to_themselves((space, values, buffer) in elements()) {
        for (row, value) in values.iter().enumerate() {
            let mut flat = vec![f32::NAN; space.flat_dim()];
            space.flatten(buffer.row(row), &mut flat).unwrap();
            prop_assert!(space.flatten_space().contains(&Value::Float(flat.clone())));
            prop_assert_eq!(&space.unflatten(&flat).unwrap(), value);
        }
    }

    #[test]
    fn json_keeps_spaces_values_and_buffers((space, values, buffer) in elements()) {
        prop_assert_eq!(&through_json(&space), &space);
        prop_assert_eq!(&through_json(&values), &values);
        prop_assert_eq!(&through_json(&buffer), &buffer);
    }

    #[test]
    fn buffers_hold_what_was_put_in(
        (space, expected, buffer) in elements(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        range in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        prop_assert!(buffer.is_compatible(&space));
        prop_assert_eq!(&values(&buffer), &expected);

        let indices: Vec<usize> = picks.iter().map(|pick| pick.index(expected.len())).collect();
        let gathered: Vec<Value> = indices.iter().map(|&i| expected[i].clone()).collect();
        prop_assert_eq!(values(&buffer.gather(&indices).unwrap()), gathered);

        let ends = [range.0.index(expected.len() + 1), range.1.index(expected.len() + 1)];
        let (start, end) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        prop_assert_eq!(values(&buffer.slice(start..end).unwrap()), &expected[start..end]);

        let mut grown = buffer.clone();
        grown.extend_from(&buffer, start..end).unwrap();
        prop_assert_eq!(values(&grown), [&expected[..], &expected[start..end]].concat());

        let mut copied = Buffer::zeros(&space, expected.len());
        for row in 0..expected.len() {
            copied.row_mut(row).copy_from(buffer.row(row)).unwrap();
        }
        prop_assert_eq!(copied, buffer);
    }

    #[test]
    fn every_element_has_zeros_of_its_layout(space in space()) {
        let buffer = Buffer::zeros(&space, 1);
        prop_assert_eq!(buffer.row(0).to_value().unwrap(), space.zeros());
    }

    #[test]
    fn integers_stay_in_their_range(seed: u64, low: i64, high: i64) {
        prop_assume!(low < high);
        let number = Generator::from_seed(seed).integers(low, high);
        prop_assert!((low..high).contains(&number));
    }

    #[test]
    fn streams_continue_exactly_after_json(key: Vec<u64>, draws in 0_usize..5) {
        let mut rng = Generator::from_key(&key);
        (0..draws).for_each(|_| { rng.next_u32(); });
        let mut restored = through_json(&rng);
        prop_assert_eq!(restored.next_u32(), rng.next_u32());
        prop_assert_eq!(restored.random(), rng.random());
    }
}
