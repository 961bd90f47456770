//! Networks of action values with noisy layers.

use rekindle_checkpoint::Array;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{AnyTensor, Generator};
use rekindle_env::Space;
use serde_json::{Value, json};

use super::*;
use crate::{AnyRLModule, RLModuleSpec};

fn build(config: Value) -> AnyRLModule {
    RLModuleSpec::of::<QNetwork>()
        .observation_space(Space::unbounded(&[3]).unwrap())
        .action_space(Space::discrete(4).unwrap())
        .model_config(config)
        .build_seeded(&Device::flex(), Generator::from_seed(0))
        .unwrap()
}

/// The shapes of the parameters of the main head whose names begin with `part`, by the rest of the names.
fn shapes(module: &AnyRLModule, part: &str) -> Vec<(String, Vec<usize>)> {
    let weights = module.state_dict().unwrap().into_iter();
    let named = |(name, array): (String, Array)| {
        Some((name.strip_prefix(part)?.to_owned(), array.shape().to_vec()))
    };
    weights.filter_map(named).collect()
}

/// Multiplies the parameters of the main head whose names begin with one of `parts`.
fn scale(module: &mut AnyRLModule, parts: &[&str], factor: f32) {
    let mut weights = module.state_dict().unwrap();
    for (name, weight) in &mut weights {
        if parts.iter().any(|part| name.starts_with(part)) {
            let scaled = weight.as_slice::<f32>().unwrap().iter().map(|x| x * factor);
            *weight = Array::new(weight.shape(), scaled.collect::<Vec<_>>()).unwrap();
        }
    }
    module.load_state_dict(&weights).unwrap();
}

fn observations(rows: usize) -> Batch {
    let row = Tensor::<2>::from_floats([[0.5, -1.0, 2.0]], &Device::flex());
    Batch::new().with(Columns::OBS, row.repeat_dim(0, rows))
}

fn inferred(module: &AnyRLModule) -> Vec<i64> {
    let outputs = module.forward_inference(&observations(1)).unwrap();
    AnyTensor::from(outputs.int::<1>(Columns::ACTIONS).unwrap()).to_i64().unwrap()
}

/// The share of exploring actions that are not the greedy one.
fn explored(module: &AnyRLModule) -> f64 {
    const ROWS: usize = 2000;
    let mut cx = ExplorationContext::from_seed(1).with_env_steps(1_000_000);
    let outputs = module.forward_exploration(&observations(ROWS), &mut cx).unwrap();
    let taken = AnyTensor::from(outputs.int::<1>(Columns::ACTIONS).unwrap()).to_i64().unwrap();
    let greedy = inferred(module)[0];
    taken.iter().filter(|action| **action != greedy).count() as f64 / ROWS as f64
}

#[test]
fn each_parameter_of_noisy_heads_has_a_deviation() {
    for dueling in [true, false] {
        let config = json!({
            "fcnet_hiddens": [8], "head_fcnet_hiddens": [6, 5], "noisy": true, "dueling": dueling,
        });
        let module = build(config);
        let means = shapes(&module, "qf.af.");
        assert_eq!(means.len(), 3 * 2);
        assert_eq!(shapes(&module, "qf.af_noise."), means);
        assert_eq!(shapes(&module, "target_qf.af_noise."), means);
        assert_eq!(shapes(&module, "qf.vf_noise."), shapes(&module, "qf.vf."));
        assert_eq!(shapes(&module, "qf.vf_noise.").is_empty(), !dueling);
    }
    assert!(shapes(&build(json!({"head_fcnet_hiddens": [6]})), "qf.af_noise.").is_empty());
}

#[test]
fn noisy_heads_have_a_hidden_layer_unless_they_are_set_to_none() {
    let first = |config| {
        let module = build(config);
        shapes(&module, "qf.af_noise.layers.0.weight")[0].1.clone()
    };
    assert_eq!(first(json!({"fcnet_hiddens": [8], "noisy": true})), [256, 8]);
    let config = json!({"fcnet_hiddens": [8], "head_fcnet_hiddens": [6], "noisy": true});
    assert_eq!(first(config), [6, 8]);
    let config = json!({"fcnet_hiddens": [8], "vf_head_fcnet_hiddens": [], "noisy": true});
    assert_eq!(first(config), [4, 8]);
    let means = shapes(&build(json!({"fcnet_hiddens": [8]})), "qf.af.layers.0.weight");
    assert_eq!(means[0].1, [4, 8], "other heads have none");
}

#[test]
fn noise_of_hidden_layers_alone_explores_and_inference_is_without_it() {
    let mut module =
        build(json!({"fcnet_hiddens": [8], "head_fcnet_hiddens": [16], "noisy": true}));
    let means = |module: &AnyRLModule| {
        let outputs = module.compute_q_values(&observations(1)).unwrap();
        to_f32(outputs.float::<2>(Columns::QF_PREDS).unwrap()).unwrap()
    };
    let (values, greedy) = (means(&module), inferred(&module));
    scale(&mut module, &["qf.af_noise.layers.1.", "qf.vf_noise."], 0.0);
    assert!(explored(&module) > 0.05, "{}", explored(&module));
    scale(&mut module, &["qf.af_noise.layers.0."], 100.0);
    assert_eq!((means(&module), inferred(&module)), (values, greedy));
    scale(&mut module, &["qf.af_noise.layers.0."], 0.0);
    assert_eq!(explored(&module), 0.0);
}

#[test]
fn noise_of_hidden_layers_grows_with_the_values_that_are_learned() {
    let share = |heads: &str, hiddens: Value, output: &str| {
        let mut module = build(json!({"fcnet_hiddens": [8], heads: hiddens, "noisy": true}));
        // Learned values are many times as large as initial ones.
        scale(
            &mut module,
            &[&format!("qf.af.layers.{output}."), &format!("qf.vf.layers.{output}.")],
            30.0,
        );
        explored(&module)
    };
    let (with, without) = (
        share("head_fcnet_hiddens", json!([16]), "1"),
        share("vf_head_fcnet_hiddens", json!([]), "0"),
    );
    assert!(with > 0.1 && without < 0.05, "{with} {without}");
}
