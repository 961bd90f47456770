//! Reading a checkpoint returns the saved state.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rekindle_checkpoint::{Array, ArrayData, CheckpointError, State, read, write};
use serde_json::Value;

fn array() -> impl Strategy<Value = Array> {
    let shape = prop::collection::vec(0..4usize, 0..4);
    (shape, 0..6, any::<u64>()).prop_map(|(shape, kind, seed)| {
        let len = shape.iter().product::<usize>() as u64;
        let values = (0..len).map(|i| seed.wrapping_mul(2 * i + 1));
        let data: ArrayData = match kind {
            0 => values.map(|x| x as f32).collect::<Vec<_>>().into(),
            1 => values.map(|x| x as f64 / 3.0).collect::<Vec<_>>().into(),
            2 => values.map(|x| x as i64).collect::<Vec<_>>().into(),
            3 => values.map(|x| x as i32).collect::<Vec<_>>().into(),
            4 => values.map(|x| x as u8).collect::<Vec<_>>().into(),
            _ => values.map(|x| x % 3 == 0).collect::<Vec<_>>().into(),
        };
        Array::new(shape, data).unwrap()
    })
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn state() -> impl Strategy<Value = State> {
    let tensors = || prop::collection::btree_map(".*", array(), 0..3);
    let leaf = (data(), tensors()).prop_map(|(data, tensors)| {
        let mut state = State::new();
        (state.data, state.tensors) = (data, tensors);
        state
    });
    leaf.prop_recursive(3, 8, 3, move |inner| {
        let components = prop::collection::btree_map("[a-zA-Z0-9_é][a-z .-]{0,4}_", inner, 0..3);
        (data(), tensors(), components).prop_map(|(data, tensors, components)| {
            let mut state = State::new();
            (state.data, state.tensors, state.components) = (data, tensors, components);
            state
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn states_round_trip(state in state()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        write(&path, &state).unwrap();
        prop_assert_eq!(read(&path).unwrap(), state);
    }
}

#[test]
fn nesting_is_limited_but_the_limit_works() {
    let nest = |levels| {
        let innermost = State::from_data("innermost").unwrap();
        (0..levels).fold(innermost, |inner, _| State::new().with_component("c", inner))
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    write(&path, &nest(32)).unwrap();
    write(&path, &nest(32)).unwrap();
    assert_eq!(read(&path).unwrap(), nest(32));
    let error = write(&path, &nest(33)).unwrap_err();
    assert!(matches!(error, CheckpointError::LimitExceeded { limit: 32, .. }), "{error}");
}
