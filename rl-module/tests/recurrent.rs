//! The default actor-critic with memory: every recurrent setting has an effect, in any combination.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::collections::BTreeMap;

use burn::prelude::*;
use proptest::prelude::*;
use rekindle_core::host_batch::upload;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Buffer, Space};
use rekindle_rl_module::{AnyRLModule, ExplorationContext, RLModuleSpec};
use serde_json::{Value as Json, json};

fn build(observations: &Space, actions: &Space, config: Json) -> AnyRLModule {
    RLModuleSpec::default()
        .observation_space(observations.clone())
        .action_space(actions.clone())
        .model_config(config)
        .build_seeded(&Device::flex(), Generator::from_seed(0))
        .unwrap()
}

/// `sequences` sequences of `steps` random observations from the initial state.
fn batch(module: &AnyRLModule, space: &Space, sequences: usize, steps: usize) -> Batch {
    let mut rng = Generator::from_seed(5);
    let mut buffer = Buffer::with_capacity(space, sequences * steps);
    (0..sequences * steps).for_each(|_| buffer.push_value(&space.sample(&mut rng)).unwrap());
    let states = module.initial_state().unwrap().unwrap().gather(&vec![0; sequences]).unwrap();
    Batch::new()
        .with(Columns::OBS, upload(&buffer, &Device::flex()).unwrap())
        .with(Columns::STATE_IN, upload(&states, &Device::flex()).unwrap())
}

fn inputs(module: &AnyRLModule, batch: &Batch) -> Vec<f32> {
    let outputs = module.forward_train(batch).unwrap();
    outputs.column(Columns::ACTION_DIST_INPUTS).unwrap().tensor().unwrap().to_f32().unwrap()
}

fn shapes(module: &AnyRLModule) -> BTreeMap<String, Vec<usize>> {
    let weights = module.state_dict().unwrap();
    weights.into_iter().map(|(name, w)| (name, w.shape().to_vec())).collect()
}

fn with(base: &Json, field: &str, value: Json) -> Json {
    let mut config = base.clone();
    config[field] = value;
    config
}

#[test]
fn every_recurrent_setting_has_an_effect() {
    let (space, actions) = (Space::unbounded(&[3]).unwrap(), Space::discrete(2).unwrap());
    let base = json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6});
    let module = build(&space, &actions, base.clone());
    let expected = inputs(&module, &batch(&module, &space, 2, 3));
    for (field, value) in [
        ("recurrent_layer_type", json!("gru")),
        ("recurrent_num_layers", json!(2)),
        ("lstm_cell_size", json!(7)),
        ("lstm_kernel_initializer", json!({"type": "xavier_uniform", "gain": 1.0})),
        ("lstm_bias_initializer", json!({"type": "zeros"})),
    ] {
        let other = build(&space, &actions, with(&base, field, value));
        assert_ne!(inputs(&other, &batch(&other, &space, 2, 3)), expected, "{field}");
    }
    assert_eq!(module.max_seq_len(), 20);
    assert_eq!(build(&space, &actions, with(&base, "max_seq_len", json!(7))).max_seq_len(), 7);
    let plain = build(&space, &actions, json!({"fcnet_hiddens": [8]}));
    assert!(plain.initial_state().unwrap().is_none() && module.initial_state().unwrap().is_some());

    // Previous actions and rewards widen the input of the recurrent layer.
    let seen = Space::dict([
        ("_orig_obs", space.clone()),
        ("prev_n_actions", Space::unbounded(&[2]).unwrap()),
        ("prev_n_rewards", Space::unbounded(&[1]).unwrap()),
    ])
    .unwrap();
    for (field, width) in [("lstm_use_prev_action", 8 + 2), ("lstm_use_prev_reward", 8 + 1)] {
        let module = build(&seen, &actions, with(&base, field, json!(true)));
        assert_eq!(shapes(&module)["encoder.rnn.weight_ih_l0"], [24, width], "{field}");
        inputs(&module, &batch(&module, &seen, 2, 3));
    }
}

#[test]
fn previous_actions_that_the_observation_lacks_are_asked_for_by_name() {
    let spec = RLModuleSpec::default()
        .observation_space(Space::unbounded(&[3]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .model_config(json!({"use_lstm": true, "lstm_use_prev_action": true}));
    let message = spec.build(&Device::flex()).unwrap_err().to_string();
    assert!(message.contains("`lstm_use_prev_action`"), "{message}");
    assert!(message.contains("PrevActionsPrevRewards"), "{message}");
}

#[test]
fn a_free_log_std_works_with_memory() {
    let (space, actions) = (Space::unbounded(&[3]).unwrap(), Space::unbounded(&[2]).unwrap());
    let config =
        json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6, "free_log_std": true});
    let module = build(&space, &actions, config);
    assert_eq!(shapes(&module)["pi.log_std"], [2]);
    let out = inputs(&module, &batch(&module, &space, 2, 3));
    assert_eq!(out.len(), 2 * 3 * 4);
    assert!(out.chunks(4).all(|row| row[2..] == [0.0, 0.0]));
}

#[test]
fn a_state_that_is_missing_is_named() {
    let (space, actions) = (Space::unbounded(&[3]).unwrap(), Space::discrete(2).unwrap());
    let module = build(&space, &actions, json!({"use_lstm": true, "lstm_cell_size": 6}));
    let mut batch = batch(&module, &space, 2, 3);
    batch.remove(Columns::STATE_IN);
    let message = module
        .forward_exploration(&batch, &mut ExplorationContext::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("column `state_in` is not in the batch"), "{message}");
}

/// Spaces of any kind, Dicts and Tuples of them.
fn any_space() -> impl Strategy<Value = Space> {
    let leaf = prop_oneof![
        (1usize..4).prop_map(|n| Space::boxed(-1.0, 1.0, &[n]).unwrap()),
        (2usize..5).prop_map(|n| Space::discrete(n).unwrap()),
        prop::collection::vec(2usize..4, 1..3).prop_map(|n| Space::multi_discrete(n).unwrap()),
        (1usize..4).prop_map(|n| Space::multi_binary(n).unwrap()),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|s| Space::tuple(s).unwrap()),
            prop::collection::btree_map("[a-c]", inner, 1..3)
                .prop_map(|parts| Space::dict(parts).unwrap()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any observation and action space: sequences equal steps, saved modules equal built ones.
    #[test]
    fn any_spaces_build_run_and_load_with_memory(
        space in any_space(),
        actions in any_space(),
        gru: bool,
        share: bool,
    ) {
        let layer = if gru { "gru" } else { "lstm" };
        let module = build(&space, &actions, json!({
            "use_lstm": true, "lstm_cell_size": 3, "recurrent_layer_type": layer,
            "vf_share_layers": share,
        }));
        let batch = batch(&module, &space, 2, 3);
        let expected = inputs(&module, &batch);
        let rows = 2 * 3 * module.distribution().required_input_dim();
        prop_assert_eq!(expected.len(), rows);
        let values = module.compute_values(&batch, None).unwrap();
        prop_assert_eq!(values.dims(), [6]);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module");
        rekindle_checkpoint::Checkpointable::save_to_path(&module, &path).unwrap();
        let loaded = AnyRLModule::from_checkpoint(&path, &Device::flex()).unwrap();
        prop_assert_eq!(inputs(&loaded, &batch), expected);
        prop_assert_eq!(loaded.initial_state().unwrap(), module.initial_state().unwrap());
    }
}
