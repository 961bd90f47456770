//! Passes over host memory equal the acting passes with tensors, bit for bit.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_core::host_batch::{download_into, upload};
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Buffer, Space};
use rekindle_rl_module::{
    AnyRLModule, ExplorationContext, ModuleContext, PolicyPass, RLModule, RLModuleSpec, Result,
    SoftActorCritic,
};
use serde_json::{Value, json};

/// A policy of layers of the catalog.
#[derive(Module, Debug)]
struct Policy {
    policy: Mlp,
}

// ANCHOR: policy_pass
impl RLModule for Policy {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let logits = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[64], logits) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn policy_pass(&self) -> Option<PolicyPass> {
        self.policy.host_pass().map(PolicyPass::new)
    }
}
// ANCHOR_END: policy_pass

fn build(spec: RLModuleSpec, seen: &Space, actions: &Space, model: Value) -> AnyRLModule {
    let spec = spec.observation_space(seen.clone()).action_space(actions.clone());
    let spec = if model.is_null() { spec } else { spec.model_config(model) };
    spec.build_seeded(&Device::flex(), Generator::from_seed(3)).unwrap()
}

/// Acts several steps with and without tensors, from the states that the step before returned.
fn compare(name: &str, module: &AnyRLModule, seen: &Space, explore: bool) {
    let device = Device::flex();
    let mut pass =
        module.policy_pass().unwrap().unwrap_or_else(|| unreachable!("{name} has no pass"));
    let mut rng = Generator::from_seed(5);
    for rows in [1, 3, 33] {
        let initial = module.initial_state().unwrap();
        let mut state = initial.map(|initial| initial.gather(&vec![0; rows]).unwrap());
        for step in 0..3 {
            let mut observations = Buffer::zeros(seen, rows);
            for row in 0..rows {
                seen.sample_into(&mut rng, observations.row_mut(row)).unwrap();
            }
            let batch = Batch::new().with(Columns::OBS, upload(&observations, &device).unwrap());
            let batch = match &state {
                Some(state) => batch.with(Columns::STATE_IN, upload(state, &device).unwrap()),
                None => batch,
            };
            let outputs = match explore {
                true => module.forward_exploration(&batch, &mut ExplorationContext::default()),
                false => module.forward_inference(&batch),
            };
            let outputs = outputs.unwrap();
            let expected = outputs.column(Columns::ACTION_DIST_INPUTS).unwrap();
            let expected = expected.tensor().unwrap().to_f32().unwrap();
            let mut inputs = Vec::new();
            let mut after = state.clone();
            let states = state.as_ref().zip(after.as_mut());
            assert!(pass.run(&observations, states, explore, &mut inputs), "{name}");
            assert_eq!(inputs, expected, "{name}, {rows} rows, step {step}");
            if let Some(after) = after {
                let mut expected = after.clone();
                download_into(outputs.column(Columns::STATE_OUT).unwrap(), &mut expected).unwrap();
                assert_eq!(after, expected, "{name}, {rows} rows, step {step}");
                state = Some(after);
            }
        }
    }
}

#[test]
fn default_modules_act_the_same_without_tensors() {
    let vector = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let image = Space::image(&[20, 18, 2]).unwrap();
    let (choice, bounded) = (Space::discrete(3).unwrap(), Space::boxed(-2.0, 2.0, &[2]).unwrap());
    let lstm = |more: Value| {
        let mut model = json!({"fcnet_hiddens": [16], "use_lstm": true, "lstm_cell_size": 12});
        model.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        model
    };
    let filters = json!([[8, 4, 2], [12, 3, 1, "valid"]]);
    for (name, seen, actions, model) in [
        ("mlp", &vector, &choice, json!({"fcnet_hiddens": [16, 16]})),
        ("shared", &vector, &choice, json!({"fcnet_hiddens": [16], "vf_share_layers": true})),
        (
            "relu",
            &vector,
            &choice,
            json!({"fcnet_hiddens": [600, 600], "fcnet_activation": "relu"}),
        ),
        ("gaussian", &vector, &bounded, json!({"fcnet_hiddens": [16]})),
        ("free", &vector, &bounded, json!({"fcnet_hiddens": [16], "free_log_std": true})),
        ("clipped", &vector, &bounded, json!({"fcnet_hiddens": [16], "log_std_clip_param": 0.05})),
        ("cnn", &image, &choice, json!({"conv_filters": filters, "head_fcnet_hiddens": [32]})),
        (
            "cnn_dense",
            &image,
            &choice,
            json!({"conv_filters": filters, "conv_fcnet_hiddens": [16]}),
        ),
        ("lstm", &vector, &choice, lstm(json!({}))),
        ("shared_lstm", &vector, &bounded, lstm(json!({"vf_share_layers": true}))),
        ("gru", &vector, &choice, lstm(json!({"recurrent_layer_type": "gru"}))),
    ] {
        let module = build(RLModuleSpec::default(), seen, actions, model);
        compare(name, &module, seen, true);
        compare(name, &module, seen, false);
    }
    let sac = RLModuleSpec::of::<SoftActorCritic>();
    let module = build(sac, &vector, &bounded, json!({"fcnet_hiddens": [16]}));
    compare("sac", &module, &vector, true);
    let custom = build(RLModuleSpec::of::<Policy>(), &vector, &choice, Value::Null);
    compare("custom", &custom, &vector, true);
}

/// What the layers of a pass do not compute goes through tensors.
#[test]
fn modules_with_other_layers_have_no_pass() {
    let vector = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let choice = Space::discrete(3).unwrap();
    let mask = Space::multi_binary(3).unwrap();
    let masked = Space::dict([("action_mask", mask), ("observations", vector.clone())]).unwrap();
    for (seen, model) in [
        (&vector, json!({"fcnet_hiddens": [16], "fcnet_activation": "silu"})),
        (&vector, json!({"fcnet_hiddens": [16], "fcnet_use_layernorm": true})),
        (&vector, json!({"use_lstm": true, "lstm_cell_size": 12, "recurrent_num_layers": 2})),
        (&masked, json!({"fcnet_hiddens": [16]})),
        (&choice, json!({"fcnet_hiddens": [16]})),
    ] {
        let module = build(RLModuleSpec::default(), seen, &choice, model.clone());
        assert!(module.policy_pass().unwrap().is_none(), "{model}");
    }
}

#[test]
fn observations_of_another_kind_are_refused() {
    let vector = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let module = build(RLModuleSpec::default(), &vector, &Space::discrete(3).unwrap(), json!({}));
    let mut pass = module.policy_pass().unwrap().unwrap();
    let mut inputs = Vec::new();
    for other in [Space::unbounded(&[5]).unwrap(), Space::discrete(4).unwrap()] {
        assert!(!pass.run(&Buffer::zeros(&other, 2), None, false, &mut inputs));
    }
    assert!(pass.run(&Buffer::zeros(&vector, 2), None, false, &mut inputs));
    assert_eq!(inputs.len(), 6);
}

/// A pass without memory must not stand for a module with one, whose states it would not write.
#[test]
fn states_that_the_layers_do_not_have_are_refused() {
    let vector = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let choice = Space::discrete(3).unwrap();
    let of = |model| build(RLModuleSpec::default(), &vector, &choice, model);
    let plain = of(json!({"fcnet_hiddens": [16]}));
    let lstm = of(json!({"fcnet_hiddens": [16], "use_lstm": true, "lstm_cell_size": 12}));
    let state = lstm.initial_state().unwrap().unwrap();
    let part = state.get("actor").unwrap();
    let seen = Buffer::zeros(&vector, 1);
    let refuses = |module: &AnyRLModule, states: Option<&Buffer>| {
        let mut pass = module.policy_pass().unwrap().unwrap();
        let mut after = states.cloned();
        !pass.run(&seen, states.zip(after.as_mut()), true, &mut Vec::new())
    };
    assert!(refuses(&plain, Some(part)) && !refuses(&plain, None));
    assert!(refuses(&lstm, None) && refuses(&lstm, Some(part)) && refuses(&lstm, Some(&seen)));
    assert!(!refuses(&lstm, Some(&state)));
}
