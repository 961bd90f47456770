//! Every setting of a model has an effect or is rejected, and the message says what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_checkpoint::Checkpointable;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{BoxSpace, Buffer, Discrete, Space};
use rekindle_rl_module::{
    AnyRLModule, ModuleError, MultiRLModuleSpec, RLModuleSpec, SharedContext, SharedRLModule,
};
use serde_json::{Value, json};

fn vector() -> Space {
    Space::boxed(-1.0, 1.0, &[4]).unwrap()
}

fn spec(observations: Space, actions: Space, config: Value) -> RLModuleSpec {
    RLModuleSpec::default()
        .observation_space(observations)
        .action_space(actions)
        .model_config(config)
}

fn build(observations: &Space, actions: &Space, config: Value) -> Result<AnyRLModule, ModuleError> {
    spec(observations.clone(), actions.clone(), config)
        .build_seeded(&Device::flex(), Generator::from_seed(0))
}

/// The inputs of the action distribution for one observation.
fn outputs(module: &AnyRLModule, observation: &Buffer) -> Vec<f32> {
    let obs = upload(observation, &Device::flex()).unwrap();
    let out = module.forward_inference(&Batch::new().with(Columns::OBS, obs)).unwrap();
    to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap()
}

#[test]
fn settings_that_others_leave_nothing_to_shape_are_refused_by_name() {
    let two = Space::discrete(2).unwrap();
    let torque = Space::boxed(-1.0, 1.0, &[1]).unwrap();
    let dict = Space::dict([("a", vector()), ("b", vector())]).unwrap();
    let zeros = json!({"type": "zeros"});
    let cases = [
        (&vector(), &two, json!({"log_std_clip_param": 1.0}), "log_std_clip_param"),
        (&vector(), &two, json!({"free_log_std": true}), "free_log_std"),
        (&vector(), &two, json!({"head_fcnet_activation": "tanh"}), "head_fcnet_activation"),
        (&vector(), &torque, json!({"head_fcnet_use_layernorm": true}), "head_fcnet_use_layernorm"),
        (
            &vector(),
            &two,
            json!({"fcnet_hiddens": [], "fcnet_activation": "relu"}),
            "fcnet_activation",
        ),
        (
            &vector(),
            &two,
            json!({"fcnet_hiddens": [], "fcnet_kernel_initializer": zeros}),
            "fcnet_kernel_initializer",
        ),
        (
            &vector(),
            &two,
            json!({"fcnet_hiddens": [], "fcnet_bias_initializer": zeros}),
            "fcnet_bias_initializer",
        ),
        (
            &vector(),
            &two,
            json!({"fcnet_hiddens": [], "fcnet_use_layernorm": true}),
            "fcnet_use_layernorm",
        ),
        (
            &dict,
            &two,
            json!({"fusionnet_hiddens": [], "fusionnet_activation": "relu"}),
            "fusionnet_activation",
        ),
        (
            &dict,
            &two,
            json!({"fusionnet_hiddens": [], "fusionnet_kernel_initializer": zeros}),
            "fusionnet_kernel_initializer",
        ),
        (
            &dict,
            &two,
            json!({"fusionnet_hiddens": [], "fusionnet_bias_initializer": zeros}),
            "fusionnet_bias_initializer",
        ),
    ];
    for (observations, actions, config, field) in cases {
        let built = build(observations, actions, config.clone());
        let Err(error) = built else { panic!("{config} was accepted") };
        assert!(error.to_string().contains(&format!("`{field}` does not apply")), "{error}");
    }
    // The same settings are accepted where they have an effect.
    for (observations, actions, config) in [
        (&vector(), &torque, json!({"log_std_clip_param": 1.0, "free_log_std": true})),
        (&vector(), &two, json!({"head_fcnet_hiddens": [4], "head_fcnet_activation": "tanh"})),
        (&vector(), &two, json!({"fcnet_hiddens": [4], "fcnet_activation": "relu"})),
        (&dict, &two, json!({"fusionnet_hiddens": [4], "fusionnet_activation": "relu"})),
    ] {
        build(observations, actions, config).unwrap();
    }
}

#[test]
fn an_initializer_of_another_form_is_answered_with_the_valid_forms_and_its_field() {
    for value in [json!("zeros"), json!({"type": "zero"}), json!({"type": "orthogonal"}), json!(0)]
    {
        let config = json!({ "fcnet_kernel_initializer": value });
        let message = build(&vector(), &Space::discrete(2).unwrap(), config).unwrap_err();
        let message = message.to_string();
        for part in [
            "fcnet_kernel_initializer",
            &value.to_string(),
            r#"{"type": "zeros"}"#,
            r#"{"type": "orthogonal", "gain": 1.0}"#,
        ] {
            assert!(message.contains(part), "no {part} in: {message}");
        }
        assert!(!message.contains("tagged"), "{message}");
    }
}

#[test]
fn a_value_of_the_wrong_type_names_its_field() {
    for (field, value) in [("fcnet_hiddens", json!("64")), ("free_log_std", json!(1))] {
        let config = json!({ "max_seq_len": 20, field: value });
        let message = build(&vector(), &Space::discrete(2).unwrap(), config).unwrap_err();
        assert!(message.to_string().contains(&format!("`{field}`")), "{message}");
    }
}

#[test]
fn bytes_between_other_bounds_reach_the_layers_between_0_and_1() {
    let actions = Space::discrete(2).unwrap();
    let floats = build(&Space::boxed(0.0, 1.0, &[2]).unwrap(), &actions, Value::Null).unwrap();
    for (low, high) in [(0, 1), (0, 255), (3, 7)] {
        let space = Space::Box(BoxSpace::bytes(low, high, &[2]).unwrap());
        let mut bytes = build(&space, &actions, Value::Null).unwrap();
        bytes.load_state_dict(&floats.state_dict().unwrap()).unwrap();
        let observation = Buffer::from_u8(vec![low, high], &[2]).unwrap();
        let expected = outputs(&floats, &Buffer::from_f32(vec![0.0, 1.0], &[2]).unwrap());
        assert_eq!(outputs(&bytes, &observation), expected, "[{low}, {high}]");
    }
}

#[test]
fn a_module_that_cannot_be_built_is_named_by_its_id() {
    let complete = spec(vector(), Space::discrete(2).unwrap(), Value::Null);
    let specs = MultiRLModuleSpec::new([("player", complete), ("playr1", RLModuleSpec::default())]);
    let message = specs.build(&Device::flex(), 0).unwrap_err().to_string();
    assert!(message.contains("`playr1`") && message.contains("observation_space"), "{message}");
}

#[test]
fn a_module_is_not_restored_into_one_for_other_spaces_of_the_same_shapes() {
    let two = || Space::discrete(2).unwrap();
    let seven = Space::Discrete(Discrete::with_start(2, 7).unwrap());
    let arm = |high: f32| Space::boxed(-high, high, &[2]).unwrap();
    let bytes = |high: u8| Space::Box(BoxSpace::bytes(0, high, &[4]).unwrap());
    for (saved, here, what) in [
        ((vector(), two()), (vector(), seven), "action_space"),
        ((vector(), arm(1.0)), (vector(), arm(100.0)), "action_space"),
        ((bytes(255), two()), (bytes(1), two()), "observation_space"),
        ((vector(), two()), (bytes(1), two()), "observation_space"),
    ] {
        let saved = build(&saved.0, &saved.1, Value::Null).unwrap();
        let mut module = build(&here.0, &here.1, Value::Null).unwrap();
        let before = module.state_dict().unwrap();
        let message = module.set_state(&saved.get_state().unwrap()).unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("load_state_dict"), "{message}");
        assert_eq!(module.state_dict().unwrap(), before);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module");
        saved.save_to_path(&path).unwrap();
        let spec = module.spec().clone().load_state_path(&path);
        let message = spec.build(&Device::flex()).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
    // The bounds of float observations are not part of what a network computes.
    let wide = Space::boxed(-5.0, 5.0, &[4]).unwrap();
    let saved = build(&wide, &two(), Value::Null).unwrap();
    let mut module = build(&vector(), &two(), Value::Null).unwrap();
    module.set_state(&saved.get_state().unwrap()).unwrap();
    assert_eq!(module.state_dict().unwrap(), saved.state_dict().unwrap());
}

#[test]
fn images_with_their_channels_first_are_refused_with_what_to_do() {
    for shape in [[3, 84, 84], [1, 64, 64], [4, 84, 84]] {
        let message =
            build(&Space::image(&shape).unwrap(), &Space::discrete(2).unwrap(), Value::Null);
        let message = message.unwrap_err().to_string();
        assert!(message.contains("[height, width, channels]"), "{message}");
    }
    for shape in [[84, 84, 3], [3, 2, 1], [4, 4, 16], [64, 64, 64]] {
        build(&Space::image(&shape).unwrap(), &Space::discrete(2).unwrap(), Value::Null).unwrap();
    }
}

#[test]
fn the_default_module_and_the_default_model_config_agree_on_sharing() {
    let module = build(&vector(), &Space::discrete(2).unwrap(), Value::Null).unwrap();
    // PPO's default, which applies everywhere: separate encoders.
    assert!(module.state_dict().unwrap().keys().any(|name| name.starts_with("critic_encoder.")));
}

/// Modules that read their settings from the first of them.
#[derive(Module, Debug)]
struct Shared {
    layer: Mlp,
}

impl SharedRLModule for Shared {
    fn setup(cx: &SharedContext<'_>) -> Result<Self, ModuleError> {
        let first = cx.first()?;
        let config: Value = first.model_config()?;
        let hidden = config["hidden"].as_u64().unwrap_or(1) as usize;
        Ok(Self { layer: first.mlp(4, &[hidden], 2) })
    }

    fn forward_train(&self, _: &str, batch: &Batch) -> Result<Batch, ModuleError> {
        let logits = self.layer.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

#[test]
fn settings_of_one_of_several_modules_that_nothing_reads_are_refused() {
    let part =
        |hidden: usize| spec(vector(), Space::discrete(2).unwrap(), json!({ "hidden": hidden }));
    let device = Device::flex();
    let equal = MultiRLModuleSpec::shared::<Shared>([("a", part(3)), ("b", part(3))]);
    equal.build(&device, 0).unwrap();
    let differ = MultiRLModuleSpec::shared::<Shared>([("a", part(3)), ("b", part(5))]);
    let message = differ.build(&device, 0).unwrap_err().to_string();
    assert!(message.contains("was given a model config"), "{message}");
}

#[test]
fn parts_of_a_shared_module_are_not_restored_into_ones_for_other_spaces() {
    let part = |start| {
        let actions = Space::Discrete(Discrete::with_start(2, start).unwrap());
        spec(vector(), actions, json!({ "hidden": 3 }))
    };
    let build = |start| {
        let specs = [("a", part(start)), ("b", part(start))];
        MultiRLModuleSpec::shared::<Shared>(specs).build(&Device::flex(), 0).unwrap()
    };
    let message = build(0).set_state(&build(7).get_state().unwrap()).unwrap_err().to_string();
    assert!(message.contains("action_space"), "{message}");
    let mut same = build(7);
    same.set_state(&build(7).get_state().unwrap()).unwrap();
}
