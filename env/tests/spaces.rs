//! Spaces, partly against recordings of Gymnasium.
#![allow(clippy::panic, clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::{f32s, golden, value};
use rekindle_env::np_random::Generator;
use rekindle_env::{BoxDType, BoxSpace, Buffer, EnvError, Space, SpaceSampler, Value};
use serde_json::json;

/// The spaces that `scripts/record_gymnasium.py` samples.
fn recorded(name: &str) -> Space {
    match name {
        "box" => Space::boxed(-2.5, 3.0, &[3]),
        "box_per_element" => Space::box_between([-1.0, 0.0, 5.0], [1.0, 0.5, 5.0]),
        "box_uint8" => Space::image(&[2, 3]),
        "box_uint8_narrow" => Space::bytes(3, 9, &[5]),
        "discrete" => Space::discrete(5),
        "discrete_start" => Space::discrete_with_start(3, -1),
        "multi_discrete" => Space::multi_discrete([3, 1, 7]),
        "multi_binary" => Space::multi_binary(6),
        "dict" => Space::dict([
            ("b", Space::discrete(4).unwrap()),
            ("a", Space::boxed(0.0, 1.0, &[2]).unwrap()),
        ]),
        "tuple" => Space::tuple([
            Space::multi_binary(3).unwrap(),
            Space::dict([("x", Space::discrete(9).unwrap()), ("y", Space::discrete(2).unwrap())])
                .unwrap(),
        ]),
        other => panic!("{other} is not recorded"),
    }
    .unwrap()
}

#[test]
fn samplers_draw_gymnasiums_samples() {
    for record in golden("spaces") {
        let space = recorded(record["space"].as_str().unwrap());
        let mut sampler = space.sampler(record["seed"].as_u64().unwrap());
        for sample in record["samples"].as_array().unwrap() {
            assert_eq!(sampler.sample(), value(&space, sample), "{space}");
        }
    }
}

#[test]
fn samples_written_into_rows_equal_owned_samples() {
    for record in golden("spaces") {
        let space = recorded(record["space"].as_str().unwrap());
        let (mut owned, mut written) = (space.sampler(1), space.sampler(1));
        let mut buffer = Buffer::zeros(&space, 1);
        written.sample_into(buffer.row_mut(0)).unwrap();
        assert_eq!(buffer.row(0).to_value().unwrap(), owned.sample());

        let (mut a, mut b) = (Generator::from_seed(1), Generator::from_seed(1));
        space.sample_into(&mut a, buffer.row_mut(0)).unwrap();
        assert_eq!(buffer.row(0).to_value().unwrap(), space.sample(&mut b));
    }
}

#[test]
fn flattened_elements_equal_gymnasiums() {
    for record in golden("spaces") {
        let space = recorded(record["space"].as_str().unwrap());
        let samples = record["samples"].as_array().unwrap();
        for (sample, flat) in samples.iter().zip(record["flat"].as_array().unwrap()) {
            let mut buffer = Buffer::zeros(&space, 1);
            buffer.row_mut(0).write(&value(&space, sample)).unwrap();
            let mut found = vec![0.0; space.flat_dim()];
            space.flatten(buffer.row(0), &mut found).unwrap();
            assert_eq!(found, f32s(flat), "{space}");
        }
    }
}

#[test]
fn spaces_print_as_in_gymnasium() {
    for record in golden("spaces") {
        let name = record["space"].as_str().unwrap();
        if name != "box_per_element" {
            // NumPy pads the numbers of an array into columns.
            assert_eq!(recorded(name).to_string(), record["repr"].as_str().unwrap());
        }
    }
    let mixed = Space::box_between([-1.0, f32::NEG_INFINITY], [1.0, f32::INFINITY]).unwrap();
    assert_eq!(mixed.to_string(), "Box([-1.0 -inf], [1.0 inf], (2,), float32)");
    assert_eq!(Space::unbounded(&[]).unwrap().to_string(), "Box(-inf, inf, (), float32)");
    let long: Vec<f32> = (0_u8..9).map(f32::from).collect();
    let long = Space::box_between(vec![-1.0; 9], long).unwrap();
    assert_eq!(long.to_string(), "Box(-1.0, [0.0 1.0 2.0 ... 6.0 7.0 8.0], (9,), float32)");
}

#[test]
fn impossible_spaces_are_refused() {
    let infinity = f32::INFINITY;
    let spaces = [
        Space::discrete(0),
        Space::discrete(usize::MAX),
        Space::discrete_with_start(2, i64::MAX),
        Space::multi_discrete([]),
        Space::multi_discrete([2, 0]),
        Space::multi_discrete([usize::MAX, 2]),
        Space::multi_binary(0),
        Space::dict::<&str>([]),
        Space::dict([("a", Space::discrete(2).unwrap()), ("a", Space::discrete(3).unwrap())]),
        Space::dict([("a.b", Space::discrete(2).unwrap())]),
        Space::tuple([]),
        Space::boxed(0.0, 1.0, &[0]),
        Space::boxed(0.0, 1.0, &[usize::MAX, 2]),
        Space::boxed(1.0, 0.0, &[1]),
        Space::boxed(f32::NAN, 0.0, &[1]),
        Space::boxed(infinity, infinity, &[1]),
        Space::boxed(-infinity, -infinity, &[1]),
    ];
    for space in spaces {
        let error = space.unwrap_err();
        assert!(matches!(error, EnvError::InvalidSpace { .. }), "{error}");
    }
    let lengths = BoxSpace::new([0.0, 0.0], [1.0], &[2]).unwrap_err();
    assert!(matches!(lengths, EnvError::ShapeMismatch { .. }), "{lengths}");
}

#[test]
fn spaces_contain_exactly_their_elements() {
    let number = Space::boxed(-1.0, 1.0, &[2]).unwrap();
    assert!(number.contains(&Value::from([-1.0, 1.0])));
    assert!(!number.contains(&Value::from([-1.1, 1.0])));
    assert!(!number.contains(&Value::from([f32::NAN, 1.0])));
    assert!(!number.contains(&Value::from([0.0])));
    assert!(!number.contains(&Value::from([0_u8, 1])));

    let choice = Space::discrete_with_start(3, -1).unwrap();
    assert!([-1, 0, 1].iter().all(|&i| choice.contains(&Value::from(i))));
    assert!(![-2, 2].iter().any(|&i| choice.contains(&Value::from(i))));

    let choices = Space::multi_discrete([2, 3]).unwrap();
    assert!(choices.contains(&Value::from([1_i64, 2])));
    assert!(!choices.contains(&Value::from([2_i64, 2])));
    assert!(!choices.contains(&Value::from([1_i64])));

    let bits = Space::multi_binary(2).unwrap();
    assert!(bits.contains(&Value::from([0_u8, 1])));
    assert!(!bits.contains(&Value::from([0_u8, 2])));

    let named = Space::dict([("a", choice.clone())]).unwrap();
    assert!(named.contains(&Value::dict([("a", Value::from(0))])));
    assert!(!named.contains(&Value::dict([("b", Value::from(0))])));
    let pair = Space::tuple([choice.clone(), choice]).unwrap();
    assert!(!pair.contains(&Value::tuple([Value::from(0)])));
}

#[test]
fn rows_of_another_shape_are_not_contained() {
    let square = Space::unbounded(&[2, 2]).unwrap();
    let list = Buffer::from_f32(vec![0.0; 4], &[4]).unwrap();
    assert!(!square.contains_row(list.row(0)));
    let single = Buffer::from_i64(vec![0], &[]).unwrap();
    assert!(!Space::multi_discrete([3]).unwrap().contains_row(single.row(0)));
    assert!(!Space::discrete(3).unwrap().contains_row(single.row(1)));
}

#[test]
fn samples_respect_a_single_bound() {
    let infinity = f32::INFINITY;
    let space =
        Space::box_between([2.0, -infinity, -infinity], [infinity, -3.0, infinity]).unwrap();
    let mut rng = Generator::from_seed(0);
    for _ in 0..1000 {
        assert!(space.contains(&space.sample(&mut rng)));
    }
}

#[test]
fn spaces_as_another_kind_give_typed_errors() {
    let space = Space::discrete(2).unwrap();
    assert_eq!(space.as_discrete().unwrap().n(), 2);
    let errors = [
        space.as_box().unwrap_err(),
        space.as_multi_discrete().unwrap_err(),
        space.as_multi_binary().unwrap_err(),
        space.as_dict().unwrap_err(),
        space.as_tuple().unwrap_err(),
        Space::multi_binary(1).unwrap().as_discrete().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnvError::WrongKind { .. }), "{error}");
    }
}

#[test]
fn unflattening_needs_a_choice_and_the_right_length() {
    let space = Space::discrete(3).unwrap();
    assert_eq!(space.unflatten(&[0.0, 0.7, 0.3]).unwrap(), Value::Discrete(1));
    assert!(matches!(space.unflatten(&[0.0; 3]).unwrap_err(), EnvError::NotInSpace { .. }));
    assert!(matches!(space.unflatten(&[1.0]).unwrap_err(), EnvError::ShapeMismatch { .. }));
}

#[test]
fn flattening_refuses_foreign_elements() {
    let mut out = [0.0; 3];
    let space = Space::discrete(3).unwrap();
    let outside = Buffer::from_i64(vec![3], &[]).unwrap();
    let error = space.flatten(outside.row(0), &mut out).unwrap_err();
    assert!(matches!(error, EnvError::NotInSpace { .. }), "{error}");
    let error = space.flatten(outside.row(0), &mut []).unwrap_err();
    assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");

    let numbers = Space::unbounded(&[3]).unwrap();
    let short = Buffer::from_f32(vec![0.0; 2], &[2]).unwrap();
    let error = numbers.flatten(short.row(0), &mut out).unwrap_err();
    assert!(matches!(error, EnvError::NotInSpace { .. }), "{error}");
}

#[test]
fn boxes_are_compact_and_exact_in_json() {
    let screen = Space::image(&[84, 84, 3]).unwrap();
    let text = serde_json::to_string(&screen).unwrap();
    let expected = r#"{"Box":{"low":[0.0],"high":[255.0],"shape":[84,84,3],"dtype":"uint8"}}"#;
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), screen);

    let infinite = Space::box_between([0.1, f32::NEG_INFINITY], [f32::INFINITY, 1e-30]).unwrap();
    let text = serde_json::to_string(&infinite).unwrap();
    assert!(text.contains(r#""-inf""#), "{text}");
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), infinite);
}

#[test]
fn deserialized_spaces_are_validated() {
    let invalid = [
        json!({ "Discrete": { "n": 0 } }),
        json!({ "MultiDiscrete": { "nvec": [] } }),
        json!({ "MultiBinary": { "n": 0 } }),
        json!({ "Dict": {} }),
        json!({ "Tuple": [] }),
        json!({ "Box": { "low": [1.0], "high": [0.0], "shape": [2], "dtype": "float32" } }),
        json!({ "Box": { "low": [0.5], "high": [9.0], "shape": [2], "dtype": "uint8" } }),
        json!({ "Box": { "low": ["x"], "high": [9.0], "shape": [2], "dtype": "float32" } }),
        json!({ "Box": { "low": [], "high": [], "shape": [0], "dtype": "float32" } }),
        json!({ "Box": { "low": [0.5], "high": [9.0], "shape": [2], "dtype": "int64" } }),
        json!({ "Box": { "low": [0.0], "high": [1.0], "shape": [2], "dtype": "float64" } }),
        json!({ "Discrete": { "n": 2, "start": 2_147_483_648_i64 } }),
    ];
    for json in invalid {
        assert!(serde_json::from_value::<Space>(json.clone()).is_err(), "{json}");
    }
}

#[test]
fn a_sampler_continues_exactly_after_json() {
    let mut sampler = recorded("tuple").sampler(3);
    sampler.sample();
    let text = serde_json::to_string(&sampler).unwrap();
    let mut restored: SpaceSampler = serde_json::from_str(&text).unwrap();
    for _ in 0..5 {
        assert_eq!(restored.sample(), sampler.sample());
    }
}

#[test]
fn choices_beyond_32_bits_are_refused_where_the_space_is_built() {
    let (first, last) = (i64::from(i32::MIN), i64::from(i32::MAX));
    for (n, start) in [(1, last), (2, last - 1), (1 << 31, 0), (1 << 32, first)] {
        let space = Space::discrete_with_start(n, start).unwrap();
        assert_eq!(space.as_discrete().unwrap().start(), start);
    }
    for (n, start) in [(1, last + 1), (2, last), (1, first - 1), ((1 << 31) + 1, 0)] {
        let error = Space::discrete_with_start(n, start).unwrap_err().to_string();
        assert!(error.contains("between -2^31 and 2^31 - 1"), "{error}");
        assert!(error.contains(&format!("Discrete({n}, start={start})")), "{error}");
    }
    assert!(Space::multi_discrete([2, 1 << 31]).is_ok());
    assert!(Space::multi_discrete([2, (1 << 31) + 1]).is_err());
}

/// A box of integers of either type.
fn ints(low: f32, high: f32, shape: &[usize], dtype: BoxDType) -> Space {
    Space::Box(BoxSpace::uniform(low, high, shape).unwrap().with_dtype(dtype).unwrap())
}

#[test]
fn boxes_of_integers_draw_gymnasiums_samples() {
    // Gymnasium draws all integer types in the same way; the recordings are of bytes.
    for record in golden("spaces").iter().filter(|record| record["space"] == "box_uint8_narrow") {
        for dtype in [BoxDType::Int32, BoxDType::Int64] {
            let mut sampler = ints(3.0, 9.0, &[5], dtype).sampler(record["seed"].as_u64().unwrap());
            for sample in record["samples"].as_array().unwrap() {
                let numbers: Vec<i64> = serde_json::from_value(sample.clone()).unwrap();
                assert_eq!(sampler.sample(), Value::Int(numbers));
            }
        }
    }
}

#[test]
fn boxes_of_integers_contain_whole_numbers_within_their_bounds() {
    let space = Space::int_box(-3, 9, &[2]).unwrap();
    assert_eq!(space.to_string(), "Box(-3, 9, (2,), int32)");
    assert!(space.contains(&Value::from([-3_i64, 9])));
    for outside in [Value::from([-4_i64, 9]), Value::from([-3_i64, 10]), Value::from([0_i64])] {
        assert!(!space.contains(&outside), "{outside:?}");
    }
    assert!(!space.contains(&Value::from([0.0, 1.0])));
    assert!(!Space::unbounded(&[2]).unwrap().contains(&Value::from([0_i64, 1])));

    let infinity = f32::INFINITY;
    let wide = i64::from(i32::MAX) + 1;
    assert!(!ints(-infinity, infinity, &[1], BoxDType::Int32).contains(&Value::from([wide])));
    assert!(ints(-infinity, infinity, &[1], BoxDType::Int64).contains(&Value::from([wide])));
    let large = ints(0.0, 16_777_216.0, &[1], BoxDType::Int64);
    assert!(large.contains(&Value::from([16_777_216_i64])));
    assert!(!large.contains(&Value::from([16_777_217_i64])));

    let single = Space::int_box(0, 1, &[]).unwrap();
    assert!(single.contains(&Value::from(1)) && !single.contains(&Value::from(2)));
}

#[test]
fn samples_of_integers_are_elements_and_reach_both_bounds() {
    let mut rng = Generator::from_seed(0);
    let infinity = f32::INFINITY;
    for (low, high) in [(-2.0, 2.0), (5.0, infinity), (-infinity, -5.0), (-infinity, infinity)] {
        let space = ints(low, high, &[3], BoxDType::Int32);
        let mut buffer = Buffer::zeros(&space, 1);
        let mut seen = Vec::new();
        for _ in 0..500 {
            space.sample_into(&mut rng, buffer.row_mut(0)).unwrap();
            assert!(space.contains_row(buffer.row(0)));
            seen.extend_from_slice(buffer.row(0).as_i64().unwrap());
        }
        for bound in [low, high].into_iter().filter(|bound| bound.is_finite()) {
            assert!(seen.contains(&(bound as i64)), "{space}");
        }
        assert!(seen.iter().min() < seen.iter().max());
    }
}

#[test]
fn boxes_of_integers_flatten_and_survive_json() {
    let space = Space::dict([
        ("count", Space::int_box(0, 7, &[]).unwrap()),
        ("grid", Space::int_box(-3, 9, &[2, 2]).unwrap()),
    ])
    .unwrap();
    let element =
        Value::dict([("count", Value::from(7)), ("grid", Value::from([-3_i64, 0, 9, 1]))]);
    let mut buffer = Buffer::zeros(&space, 0);
    buffer.push_value(&element).unwrap();
    assert!(space.contains_row(buffer.row(0)));
    let mut flat = [0.0; 5];
    space.flatten(buffer.row(0), &mut flat).unwrap();
    assert_eq!(flat, [7.0, -3.0, 0.0, 9.0, 1.0]);
    assert_eq!(space.unflatten(&flat).unwrap(), element);
    let flat_space = space.flatten_space();
    assert_eq!(flat_space.as_box().unwrap().low(), [0.0, -3.0, -3.0, -3.0, -3.0]);

    let text = serde_json::to_string(&space).unwrap();
    assert!(text.contains(r#""dtype":"int32""#), "{text}");
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), space);
    let floats = space.with_float_boxes();
    assert_eq!(floats.as_dict().unwrap().get("grid").unwrap().as_box().unwrap().shape(), [2, 2]);
    assert_eq!(floats.with_float_boxes(), floats);
}

#[test]
fn bounds_that_do_not_fit_the_element_type_are_refused() {
    let with = |low, high, dtype| BoxSpace::uniform(low, high, &[1]).unwrap().with_dtype(dtype);
    let boxed = |space: Space| space.as_box().unwrap().clone();
    let refused = [
        (with(0.0, 2.5, BoxDType::Int32), "not a whole number"),
        (with(0.0, 33_554_432.0, BoxDType::Int64), "beyond 2^24"),
        (with(-1.0, 255.0, BoxDType::Uint8), "between 0 and 255"),
        (with(0.0, f32::INFINITY, BoxDType::Uint8), "between 0 and 255"),
        (Space::int_box(0, i32::MAX, &[1]).map(boxed), "beyond 2^24"),
        (Space::int_box(0, 16_777_217, &[1]).map(boxed), "beyond 2^24"),
    ];
    for (space, reason) in refused {
        let error = space.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(Space::int_box(i32::from(i16::MIN), 1 << 24, &[1]).is_ok());
    let torque = BoxSpace::uniform(-2.0, 2.0, &[1]).unwrap();
    assert_eq!(
        torque.clone().with_dtype(BoxDType::Int64).unwrap().to_string(),
        "Box(-2, 2, (1,), int64)"
    );
    assert_eq!(torque.clone().with_dtype(BoxDType::Float32).unwrap(), torque);
}
