use serde_json::json;

use super::*;
use crate::config::toml;

/// The property that files of settings rely on, for every setting of every algorithm.
#[test]
fn every_setting_of_every_algorithm_comes_back_from_toml() {
    for name in registered_algorithms() {
        let spec = algorithm(&name).unwrap();
        let defaults = spec.defaults().unwrap();
        let text = toml::write(&defaults).unwrap();
        assert_eq!(spec.complete(&toml::parse(&text).unwrap()).unwrap(), defaults, "{name}");
        let mut tried = 0;
        for (path, default) in leaves(&defaults, &mut Vec::new()) {
            for value in variants(&default) {
                let mut settings = json!({});
                toml::set(&mut settings, &path, value.clone());
                // A value of another type is refused, so there is nothing to compare.
                let Ok(complete) = spec.complete(&settings) else { continue };
                tried += 1;
                let read = toml::parse(&toml::write(&complete).unwrap()).unwrap();
                let again = spec.complete(&read).unwrap();
                assert_eq!(again, complete, "{name} {path:?} {value}");
                let at = path.iter().fold(&again, |at, name| &at[name.as_str()]);
                assert!(same(at, &value), "{name} {path:?}: {value} became {at}");
            }
        }
        assert!(tried > 60, "{name}: {tried}");
    }
}

/// Returns whether two values are the same setting. A float without a fraction may be written as an integer.
fn same(a: &Value, b: &Value) -> bool {
    a == b
        || a.as_f64().is_some_and(|a| {
            b.as_f64() == Some(a) || b.as_f64().map(|b| b as f32) == Some(a as f32)
        })
}

/// Returns the paths of all values that are not objects, and the values.
fn leaves(value: &Value, path: &mut Vec<String>) -> Vec<(Vec<String>, Value)> {
    match value {
        // The fields of a choice depend on each other.
        Value::Object(fields) if !fields.is_empty() && !fields.contains_key("type") => {
            let mut found = Vec::new();
            for (key, value) in fields {
                path.push(key.clone());
                found.extend(leaves(value, path));
                path.pop();
            }
            found
        }
        other => vec![(path.clone(), other.clone())],
    }
}

/// Returns other values that a setting may have. `null` is tried for all.
fn variants(default: &Value) -> Vec<Value> {
    let mut values = vec![Value::Null];
    match default {
        Value::Bool(flag) => values.push((!flag).into()),
        Value::Number(number) if number.is_f64() => {
            values.extend([json!(0.1), json!(1e-7), json!(3.0)]);
        }
        Value::Number(_) => values.extend([json!(3), json!(1_000_000_007)]),
        Value::String(_) => values.extend([json!("none"), json!("'none'"), json!("auto")]),
        Value::Null => values.extend([json!(2), json!(0.5), json!("none"), json!("cpu")]),
        Value::Array(_) => values.push(json!([])),
        Value::Object(_) => values.extend([json!({"a": null, "b": "none"}), json!({})]),
    }
    values
}

#[test]
fn no_minibatches_and_no_clipping_are_written() {
    let spec = algorithm("ppo").unwrap();
    let settings = json!({"training": {"minibatch_size": null, "vf_clip_param": null}});
    let text = toml::write(&spec.complete(&settings).unwrap()).unwrap();
    assert!(text.contains("minibatch_size = \"none\""), "{text}");
    let training = &spec.complete(&toml::parse(&text).unwrap()).unwrap()["training"];
    assert_eq!(
        (&training["minibatch_size"], &training["vf_clip_param"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn names_are_found_in_any_case_and_others_are_suggested() {
    assert_eq!(algorithm("Sac").unwrap().name(), "SAC");
    let message = algorithm("impalla").unwrap_err().to_string();
    assert!(
        message.starts_with("unknown algorithm `impalla`; did you mean `IMPALA`?"),
        "{message}"
    );
}

#[test]
fn settings_are_added_to_those_of_a_variant() {
    let config = PpoConfig::new()
        .with_name("registry/Variant")
        .environment("CartPole-v1")
        .training(|t| t.lr(0.5).optimizer(rekindle_learner::OptimizerConfig::sgd()))
        .stats(|_, _| Ok(Vec::new()));
    register_algorithm(config);
    let spec = algorithm("registry/variant").unwrap();
    let complete = spec.complete(&json!({"training": {"gamma": 0.5}})).unwrap();
    assert_eq!(complete["training"]["lr"], 0.5);
    assert_eq!(complete["training"]["gamma"], 0.5);
    assert_eq!(complete["training"]["optimizer"]["type"], "sgd");
    spec.validate(&json!({})).unwrap();
    let adam = json!({"training": {"optimizer": {"type": "adam"}}});
    assert_eq!(spec.complete(&adam).unwrap()["training"]["optimizer"]["type"], "adam");
    let message = spec.validate(&json!({"training": {"gamma": 2}})).unwrap_err().to_string();
    assert!(message.contains("`gamma` is 2"), "{message}");
}
