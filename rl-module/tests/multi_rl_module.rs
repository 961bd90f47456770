//! `MultiRLModule` and its specs: assertions 1 to 5, 9 and 12.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::prelude::*;
use rekindle_checkpoint::Checkpointable;
use rekindle_core::weights::Weights;
use rekindle_core::{Batch, Columns, DEFAULT_MODULE_ID, Generator};
use rekindle_env::Space;
use rekindle_rl_module::{
    AnyRLModule, ModuleError, MultiRLModule, MultiRLModuleSpec, RLModuleSpec, Role,
};
use serde_json::json;

fn spec(hidden: usize) -> RLModuleSpec {
    RLModuleSpec::default()
        .observation_space(Space::boxed(-1.0, 1.0, &[4]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .model_config(json!({"fcnet_hiddens": [hidden]}))
}

fn build(hidden: usize, seed: u64) -> AnyRLModule {
    spec(hidden).build_seeded(&Device::flex(), Generator::from_seed(seed)).unwrap()
}

fn weights(multi: &MultiRLModule) -> Vec<Weights> {
    multi.iter().map(|(_, module)| module.state_dict().unwrap()).collect()
}

fn keys(multi: &MultiRLModule) -> Vec<&str> {
    multi.keys().map(String::as_str).collect()
}

#[test]
fn a_single_module_becomes_a_multi_module_with_the_default_key() {
    let multi = build(8, 0).as_multi_rl_module().unwrap();
    assert_eq!(keys(&multi), [DEFAULT_MODULE_ID]);
    assert_eq!(multi.len(), 1);
}

#[test]
fn states_of_fresh_modules_differ_and_set_state_makes_them_equal() {
    let one = build(8, 0).as_multi_rl_module().unwrap();
    let mut two = build(8, 1).as_multi_rl_module().unwrap();
    let state = one.get_state().unwrap();
    assert_eq!(state.components.keys().collect::<Vec<_>>(), one.keys().collect::<Vec<_>>());
    assert_ne!(weights(&one), weights(&two));
    two.set_state(&state).unwrap();
    assert_eq!(weights(&one), weights(&two));
}

#[test]
fn modules_are_added_removed_and_overridden() {
    let mut multi = build(8, 0).as_multi_rl_module().unwrap();
    multi.add_module("test", build(8, 1), false).unwrap();
    assert_eq!(keys(&multi), [DEFAULT_MODULE_ID, "test"]);
    let error = multi.add_module("test", build(8, 2), false).unwrap_err();
    assert!(matches!(error, ModuleError::DuplicateModule(ref id) if id == "test"), "{error}");
    multi.add_module("test", build(8, 2), true).unwrap();
    multi.remove_module("test").unwrap();
    assert_eq!(keys(&multi), [DEFAULT_MODULE_ID]);
    let message = multi.remove_module("test").unwrap_err().to_string();
    assert_eq!(message, "no module is named `test`; available: [default_policy]");
    for bad in ["", "a/b", "a.", ".a", "a:b", "__all_modules__"] {
        let error = multi.add_module(bad, build(8, 0), false).unwrap_err();
        assert!(matches!(error, ModuleError::InvalidModuleId(_)), "{bad}");
    }
}

#[test]
fn a_checkpoint_restores_keys_and_weights_of_modules_of_different_size() {
    let mut multi = build(16, 0).as_multi_rl_module().unwrap();
    multi.add_module("test", build(32, 1), false).unwrap();
    multi.add_module("test2", build(128, 2), false).unwrap();
    multi.remove_module("test").unwrap();
    multi.add_module("test3", build(120, 3), false).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("multi");
    multi.save_to_path(&path).unwrap();
    let restored = MultiRLModule::from_checkpoint(&path, &Device::flex()).unwrap();
    assert_eq!(keys(&restored), keys(&multi));
    assert_eq!(weights(&restored), weights(&multi));

    let alone = AnyRLModule::from_checkpoint(path.join("test3"), &Device::flex()).unwrap();
    assert_eq!(alone.state_dict().unwrap(), multi.module("test3").unwrap().state_dict().unwrap());
    assert_eq!(alone.spec(), multi.module("test3").unwrap().spec());
}

#[test]
fn specs_round_trip_through_modules_and_json() {
    let module = build(8, 0);
    assert_eq!(RLModuleSpec::from_module(&module), spec(8));
    let json = serde_json::to_string(&spec(8)).unwrap();
    assert_eq!(serde_json::from_str::<RLModuleSpec>(&json).unwrap(), spec(8));

    let multi_spec = MultiRLModuleSpec::new([("a", spec(8)), ("b", spec(16))]);
    let multi = multi_spec.build(&Device::flex(), 0).unwrap();
    assert_eq!(MultiRLModuleSpec::from_module(&multi), multi_spec);
    assert_eq!(spec(8).as_multi_rl_module_spec().rl_module_specs[DEFAULT_MODULE_ID], spec(8));
}

#[test]
fn update_replaces_set_fields_or_fills_open_ones() {
    let wide = RLModuleSpec::default().model_config(json!({"fcnet_hiddens": [64]}));
    let mut replaced = spec(8);
    replaced.update(&wide, true);
    assert_eq!(replaced, spec(64));
    let mut filled = wide.clone();
    filled.update(&spec(8), false);
    assert_eq!(filled, spec(64));

    let mut multi = MultiRLModuleSpec::new([("agent_1", spec(8))]);
    multi.add_modules([("agent_2".to_string(), spec(16))], false);
    multi.add_modules([("agent_1".to_string(), wide.clone())], false);
    assert_eq!(multi.rl_module_specs["agent_1"], spec(64));
    multi.add_modules([("agent_1".to_string(), wide.clone())], true);
    assert_eq!(multi.rl_module_specs["agent_1"], wide);
    multi.fill(&spec(8));
    assert_eq!(multi.rl_module_specs["agent_1"], spec(64));
    multi.remove_modules(["agent_1"]);
    assert_eq!(multi.rl_module_specs.len(), 1);
}

#[test]
fn an_inference_only_module_has_no_critic_and_loads_the_full_modules_weights() {
    let device = Device::flex();
    let config = json!({"fcnet_hiddens": [8], "vf_share_layers": false});
    let spec = spec(8).model_config(config);
    let full = spec.build(&device).unwrap();
    let mut acting = spec.clone().inference_only(true).build(&device).unwrap();

    let names = |weights: Weights| weights.into_keys().collect::<Vec<_>>();
    let acting_names = names(acting.state_dict().unwrap());
    assert!(acting_names.iter().all(|n| !n.starts_with("vf") && !n.starts_with("critic")));
    assert_eq!(names(full.inference_state_dict().unwrap()), acting_names);
    assert!(names(full.state_dict().unwrap()).len() > acting_names.len());

    acting.load_state_dict(&full.state_dict().unwrap()).unwrap();
    let obs = Tensor::<2>::from_floats([[0.1, -0.2, 0.3, 0.4]], &device);
    let batch = Batch::new().with(Columns::OBS, obs);
    let logits = |module: &AnyRLModule| {
        let out = module.forward_inference(&batch).unwrap();
        rekindle_core::any_tensor::to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap())
            .unwrap()
    };
    assert_eq!(logits(&full), logits(&acting));
    let error = acting.forward_train(&batch).unwrap_err();
    assert!(matches!(error, ModuleError::InferenceOnly { .. }), "{error}");
    assert!(full.has_role(Role::ValueFunction));
}

#[test]
fn the_multi_module_of_a_module_has_its_weights() {
    let module = build(8, 0);
    let multi = module.as_multi_rl_module().unwrap();
    let inner = multi.module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(inner.state_dict().unwrap(), module.state_dict().unwrap());
}

#[test]
fn the_same_seed_builds_the_same_modules_and_ids_draw_from_streams_of_their_own() {
    let spec = MultiRLModuleSpec::new([("a", spec(8)), ("b", spec(8))]);
    let one = weights(&spec.build(&Device::flex(), 5).unwrap());
    assert_eq!(one, weights(&spec.build(&Device::flex(), 5).unwrap()));
    assert_ne!(one, weights(&spec.build(&Device::flex(), 6).unwrap()));
    assert_ne!(one[0], one[1]);
}
