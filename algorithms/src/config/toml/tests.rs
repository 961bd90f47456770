use serde_json::json;

use super::*;
use crate::PpoConfig;

#[test]
fn every_kind_of_value_comes_back() {
    let value = json!({
        "null": null,
        "list": [null, [1, 2.5], [], {"a": null}],
        "texts": ["none", "'none'", "''none''", "'none", "None", "", "inf", "a\nb"],
        "numbers": [0, -1, 18_446_744_073_709_551_615_u64, 0.1, 1e300, 5e-324, 10.0, -0.0],
        "flags": [true, false],
        "nested": {"a.b": {"": 1}, "ö": {}},
    });
    let text = write(&value).unwrap();
    let read = parse(&text).unwrap();
    assert_eq!(read, value, "{text}");
    // Whole floats stay floats.
    assert!(read["numbers"][6].is_f64() && read["numbers"][0].is_u64());
}

#[test]
fn infinity_is_no_bound_and_nan_is_refused() {
    assert_eq!(parse("a = inf\nb = \"none\"").unwrap(), json!({"a": null, "b": null}));
    for (text, part) in [
        ("a = nan", "no setting may be NaN"),
        ("a = -inf", "no setting may be -inf"),
        ("a = 2026-01-01", "no setting is a date"),
        ("a = ", "line 1"),
        ("a = 1\na = 2", "duplicate key"),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_wrong_setting_is_named_with_its_section() {
    for (text, part) in [
        ("trainig.lr = 1", "did you mean `training`"),
        ("training.clip_parm = 1", "did you mean `clip_param`"),
        (
            "training.gamma = \"x\"",
            "`training.gamma`: invalid type: string \"x\", expected a number",
        ),
        ("training.minibatch_size = 1.5", "`training.minibatch_size`"),
    ] {
        let message = PpoConfig::from_toml(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn keys_are_split_at_dots_outside_quotes() {
    assert_eq!(parse_key("training.lr").unwrap(), ["training", "lr"]);
    assert_eq!(parse_key("a.\"b.c\"").unwrap(), ["a", "b.c"]);
    for text in ["", ".", "a..b", "a = 1\nb", "a b", "a #"] {
        parse_key(text).unwrap_err();
    }
}

#[test]
fn merging_replaces_objects_of_another_type() {
    let mut value = json!({"optimizer": {"type": "adam", "beta_1": 0.5}, "lr": 1, "list": [1]});
    merge(&mut value, &json!({"optimizer": {"type": "sgd"}, "list": [2], "new": {"a": 1}}));
    let expected = json!({"optimizer": {"type": "sgd"}, "lr": 1, "list": [2], "new": {"a": 1}});
    assert_eq!(value, expected);
    merge(&mut value, &json!({"optimizer": {"momentum": 0.9}}));
    assert_eq!(value["optimizer"], json!({"type": "sgd", "momentum": 0.9}));
}

#[test]
fn the_difference_from_the_defaults_restores_the_value() {
    let default = json!({"a": 1, "b": {"c": 2, "d": null}, "o": {"type": "x", "p": 1}});
    let value = json!({"a": 1, "b": {"c": 3, "d": null}, "o": {"type": "y"}, "e": 5});
    let changes = difference(&value, &default);
    assert_eq!(changes, json!({"b": {"c": 3}, "o": {"type": "y"}, "e": 5}));
    let mut restored = default;
    merge(&mut restored, &changes);
    assert_eq!(restored, value);
}
