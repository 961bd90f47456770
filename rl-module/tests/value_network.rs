//! A value function with its own layer sizes.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env::Space;
use rekindle_rl_module::{AnyRLModule, RLModuleSpec, Result};
use serde_json::{Value, json};

fn build_on(observations: Space, config: Value) -> Result<AnyRLModule> {
    RLModuleSpec::default()
        .observation_space(observations)
        .action_space(Space::discrete(2)?)
        .model_config(config)
        .build(&Device::flex().autodiff())
}

fn build(config: Value) -> Result<AnyRLModule> {
    build_on(Space::unbounded(&[3])?, config)
}

/// The shapes of the weight matrices below a prefix.
fn shapes(module: &AnyRLModule, prefix: &str) -> Vec<Vec<usize>> {
    let weights = module.state_dict().unwrap();
    let below = |name: &&String| name.starts_with(prefix) && name.ends_with("weight");
    weights.keys().filter(below).map(|name| weights[name].shape().to_vec()).collect()
}

#[test]
fn the_value_functions_own_encoder_has_widths_of_its_own() {
    let config = json!({
        "fcnet_hiddens": [24, 16], "vf_fcnet_hiddens": [18], "vf_share_layers": false,
    });
    let module = build(config).unwrap();
    assert_eq!(shapes(&module, "encoder."), [[24, 3], [16, 24]]);
    assert_eq!(shapes(&module, "pi."), [[2, 16]]);
    assert_eq!(shapes(&module, "critic_encoder."), [[18, 3]]);
    assert_eq!(shapes(&module, "vf."), [[1, 18]]);
    let batch = Batch::new().with(Columns::OBS, Tensor::<2>::ones([5, 3], &Device::flex()));
    assert_eq!(module.compute_values(&batch, None).unwrap().dims(), [5]);
}

#[test]
fn no_layers_are_a_width_of_its_own_too() {
    let config = json!({
        "fcnet_hiddens": [24], "vf_fcnet_hiddens": [], "vf_share_layers": false,
    });
    let module = build(config).unwrap();
    assert!(shapes(&module, "critic_encoder.").is_empty());
    assert_eq!(shapes(&module, "vf."), [[1, 3]]);
}

#[test]
fn with_memory_the_encoders_below_it_have_widths_of_their_own() {
    let config = json!({
        "fcnet_hiddens": [5], "vf_fcnet_hiddens": [7], "vf_share_layers": false,
        "use_lstm": true, "lstm_cell_size": 4,
    });
    let module = build(config).unwrap();
    assert_eq!(shapes(&module, "encoder.tokenizer."), [[5, 3]]);
    assert_eq!(shapes(&module, "critic_encoder.tokenizer."), [[7, 3]]);
}

#[test]
fn the_value_head_has_hidden_layers_of_its_own_with_a_shared_encoder_too() {
    for share in [true, false] {
        let config = json!({
            "fcnet_hiddens": [8], "head_fcnet_hiddens": [6], "vf_head_fcnet_hiddens": [9, 4],
            "vf_share_layers": share,
        });
        let module = build(config).unwrap();
        assert_eq!(shapes(&module, "pi."), [[6, 8], [2, 6]]);
        assert_eq!(shapes(&module, "vf."), [[9, 8], [4, 9], [1, 4]]);
    }
}

#[test]
fn widths_of_an_encoder_that_the_value_function_shares_are_refused() {
    let config = json!({"vf_share_layers": true, "vf_fcnet_hiddens": [18]});
    let message = build(config).unwrap_err().to_string();
    assert!(message.contains("`vf_fcnet_hiddens` does not apply here"), "{message}");
    assert!(message.contains("set `vf_share_layers` to false"), "{message}");
}

#[test]
fn widths_that_no_encoder_of_the_space_has_are_refused() {
    let image = Space::boxed(0.0, 1.0, &[8, 8, 1]).unwrap();
    let config = json!({"vf_fcnet_hiddens": [18], "vf_share_layers": false});
    let message = build_on(image, config).unwrap_err().to_string();
    assert!(message.contains("`vf_fcnet_hiddens` does not apply here"), "{message}");
}

#[test]
fn layers_between_convolutions_and_heads_are_shared_as_the_convolutions_are() {
    let image = || Space::boxed(0.0, 1.0, &[8, 8, 1]).unwrap();
    let filters = json!([[4, 3, 2], [3, 3, 2]]);
    let config =
        json!({"conv_filters": filters, "conv_fcnet_hiddens": [10], "vf_share_layers": true});
    let module = build_on(image(), config).unwrap();
    assert_eq!(shapes(&module, "encoder.mlp."), [[10, 12]]);
    assert_eq!(shapes(&module, "vf."), [[1, 10]]);
    assert!(shapes(&module, "critic_encoder.").is_empty());
}
