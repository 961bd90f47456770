use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(f32),
    Tuple(u8, f64),
    Struct { x: Option<f64>, name: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Box { low: Vec<f64>, high: f64 },
    Free,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id(u32);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Side {
    Left,
    Right,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    scale: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    untagged: (Untagged, Untagged),
    tagged: [Tagged; 2],
    #[serde(flatten)]
    flat: Flat,
    texts: BTreeMap<String, (char, f64)>,
    numbers: BTreeMap<i64, bool>,
    ids: BTreeMap<Id, Option<Id>>,
    flags: BTreeMap<bool, u64>,
    sides: BTreeMap<Side, Side>,
    unit: (),
    bytes: Vec<u8>,
}

fn everything(x: f64) -> Everything {
    Everything {
        shapes: vec![
            Shape::Unit,
            Shape::New(x as f32),
            Shape::Tuple(7, x),
            Shape::Struct { x: Some(x), name: "x".into() },
            Shape::Struct { x: None, name: String::new() },
        ],
        untagged: (Untagged::Number(x), Untagged::Text("inf".into())),
        tagged: [Tagged::Box { low: vec![-1.0, x], high: x }, Tagged::Free],
        flat: Flat { scale: x },
        texts: BTreeMap::from([("a/b".into(), ('c', x)), ("1".into(), ('d', 0.5))]),
        numbers: BTreeMap::from([(-3, true), (i64::MAX, false)]),
        ids: BTreeMap::from([(Id(4), Some(Id(2))), (Id(5), None)]),
        flags: BTreeMap::from([(true, u64::MAX)]),
        sides: BTreeMap::from([(Side::Left, Side::Right)]),
        unit: (),
        bytes: vec![0, 255],
    }
}

#[test]
fn floats_that_json_lacks_survive_anywhere() {
    for x in [f64::INFINITY, f64::NEG_INFINITY] {
        let value = to_value(&everything(x)).unwrap();
        assert_eq!(from_value::<Everything>(&value).unwrap(), everything(x));
        // Also through the text of a file.
        let text = serde_json::to_string(&value).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(from_value::<Everything>(&value).unwrap(), everything(x));
    }
    let restored: Everything = from_value(&to_value(&everything(f64::NAN)).unwrap()).unwrap();
    assert!(restored.flat.scale.is_nan());
    assert!(matches!(restored.shapes[1], Shape::New(x) if x.is_nan()));
    assert!(matches!(restored.untagged.0, Untagged::Number(x) if x.is_nan()));
}

#[test]
fn a_value_is_not_taken_for_a_float_or_a_float_for_nothing() {
    assert_eq!(to_value(&f64::NEG_INFINITY).unwrap(), json!({"$float": "-inf"}));
    for json in
        [json!("inf"), json!({"$float": "1"}), json!({"$float": "inf", "x": 1}), json!(null)]
    {
        assert!(from_value::<f64>(&json).is_err(), "{json}");
    }
    // The result of `serde_json` for an infinity.
    assert!(from_value::<(u32, f64)>(&json!([1, null])).is_err());
}

/// For example, the state of an environment inside a runner's state inside an algorithm's state.
#[test]
fn values_that_were_converted_before_are_kept() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        inner: Value,
        list: Vec<Option<Value>>,
    }
    let inner = to_value(&(1, f64::NEG_INFINITY)).unwrap();
    let outer = Outer { inner: inner.clone(), list: vec![Some(inner), None] };
    let value = to_value(&to_value(&outer).unwrap()).unwrap();
    let restored: Outer = from_value(&from_value::<Value>(&value).unwrap()).unwrap();
    assert_eq!(restored, outer);
    let inner: (u8, f64) = from_value(&restored.inner).unwrap();
    assert_eq!(inner, (1, f64::NEG_INFINITY));
    let map = BTreeMap::from([("$float".to_owned(), "inf".to_owned())]);
    let value = to_value(&map).unwrap();
    assert_eq!(from_value::<BTreeMap<String, String>>(&value).unwrap(), map);
}

#[test]
fn errors_name_the_place_in_the_value() {
    let bad = BTreeMap::from([("filters", vec![(1, BTreeMap::from([([1, 2], 3)]))])]);
    let message = to_value(&bad).unwrap_err().to_string();
    assert_eq!(message, "filters: 0: 1: a key must be text, not [1,2]");
    let taken = BTreeMap::from([("$float", 1)]);
    assert!(to_value(&taken).unwrap_err().to_string().contains("$float"));
}

#[test]
fn surplus_and_missing_elements_are_errors() {
    assert!(from_value::<(u8, u8)>(&json!([1, 2, 3])).is_err());
    assert!(from_value::<(u8, u8)>(&json!([1])).is_err());
    assert!(from_value::<Shape>(&json!({"New": 1.0, "Unit": null})).is_err());
    assert!(from_value::<Shape>(&json!("New")).is_err());
    assert!(from_value::<Shape>(&json!(7)).is_err());
    assert_eq!(from_value::<Shape>(&json!({"Unit": null})).unwrap(), Shape::Unit);
}

proptest! {
    #[test]
    fn finite_values_are_what_serde_json_makes_of_them(x in -1e30..1e30f64) {
        let everything = everything(x);
        let value = to_value(&everything).unwrap();
        prop_assert_eq!(&value, &serde_json::to_value(&everything).unwrap());
        let ours: Everything = from_value(&value).unwrap();
        let theirs: Everything = serde_json::from_value(value).unwrap();
        prop_assert_eq!(ours, theirs);
    }
}
