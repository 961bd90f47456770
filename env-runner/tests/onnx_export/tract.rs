//! tract runs the files, so that the comparison needs no Python.

use std::collections::BTreeMap;
use std::io::Cursor;

use serde_json::Value;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::DimLike;

use super::{policies, recorded};

/// Largest difference from the recorded outputs, relative to numbers above 1.
const TOLERANCE: f64 = 1e-5;

#[test]
fn tract_computes_the_same_actions() {
    for (name, policy) in policies() {
        let worst = largest_difference(&policy.to_onnx().unwrap(), &recorded(&policy))
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        println!("{name} {worst:.1e}");
        assert!(worst <= TOLERANCE, "{name}: {worst}");
    }
}

/// Plays the recorded episodes. A state is 0 before the first step of an episode, and then what the last step returned.
fn largest_difference(file: &[u8], episodes: &Value) -> TractResult<f64> {
    let model = tract_onnx::onnx().model_for_read(&mut Cursor::new(file))?;
    let label = |outlet: &OutletId| {
        let label = model.outlet_label(*outlet);
        label.unwrap_or(&model.node(outlet.node).name).to_owned()
    };
    let inputs: Vec<String> = model.input_outlets()?.iter().map(label).collect();
    let outputs: Vec<String> = model.output_outlets()?.iter().map(label).collect();
    let model = model.into_optimized()?.into_runnable()?;
    let mut worst = 0.0_f64;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for steps in list(episodes) {
        let mut state = BTreeMap::new();
        for step in list(&steps) {
            let mut feeds = TVec::new();
            for (index, name) in inputs.iter().enumerate() {
                let fact = model.model().input_fact(index)?;
                feeds.push(match (step["inputs"].get(name), state.remove(name)) {
                    (Some(column), _) => tensor(column, fact.datum_type)?.into_tvalue(),
                    (None, Some(state)) => state,
                    (None, None) => {
                        let seen = step["inputs"].as_object().unwrap();
                        let rows = shape(seen.values().next().unwrap())[0];
                        let mut shape = vec![rows];
                        for dim in &fact.shape[1..] {
                            shape.push(dim.to_usize()?);
                        }
                        Tensor::zero_dt(fact.datum_type, &shape)?.into_tvalue()
                    }
                });
            }
            for (name, found) in outputs.iter().zip(model.run(feeds)?) {
                if let Some(expected) = step["outputs"].get(name) {
                    worst = worst.max(difference(&found, expected)?);
                }
                if let Some(part) = name.strip_prefix("state_out.") {
                    state.insert(format!("state_in.{part}"), found);
                }
            }
        }
    }
    Ok(worst)
}

fn difference(found: &Tensor, expected: &Value) -> TractResult<f64> {
    assert_eq!(found.shape(), shape(expected));
    let found = found.cast_to::<f64>()?;
    let found = found.to_plain_array_view::<f64>()?;
    let pairs = found.iter().zip(numbers(expected));
    Ok(pairs.fold(0.0, |worst, (found, expected)| {
        worst.max((found - expected).abs() / expected.abs().max(1.0))
    }))
}

fn tensor(column: &Value, kind: DatumType) -> TractResult<Tensor> {
    let tensor = Tensor::from_shape(&shape(column), &numbers(column))?;
    Ok(tensor.cast_to_dt(kind)?.into_owned())
}

fn shape(column: &Value) -> Vec<usize> {
    let dims = column["shape"].as_array().unwrap();
    dims.iter().map(|dim| dim.as_u64().unwrap() as usize).collect()
}

fn numbers(column: &Value) -> Vec<f64> {
    column["data"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}
