//! Loading some modules, components or renamed weights; changing modules during training.

use crate::support::{
    Cloning, data, device, experience, ids, learner, logits, metrics, saved, weights,
};
use rekindle::core::weights::Weights;
use rekindle::prelude::*;
use serde_json::json;

fn space() -> Space {
    Space::boxed(-1.0, 1.0, &[4]).unwrap()
}

fn spec() -> RLModuleSpec {
    RLModuleSpec::default()
        .observation_space(space())
        .action_space(Space::discrete(2).unwrap())
        .model_config(json!({"fcnet_hiddens": [8]}))
}

fn specs(ids: &[&str]) -> MultiRLModuleSpec {
    MultiRLModuleSpec::new(ids.iter().map(|id| (*id, spec())))
}

fn of(multi: &MultiRLModule, id: &str) -> Weights {
    multi.module(id).unwrap().state_dict().unwrap()
}

fn rows(seed: u64) -> Vec<rekindle::env_runner::Rollout> {
    experience(&space(), 2, 12, seed)
}

const FOUR: &[&str] = &["policy_0", "policy_1", "policy_2", "policy_3"];

#[test]
fn modules_begin_with_a_checkpoint_with_one_of_their_own_or_afresh() {
    let source = specs(&FOUR[..3]).build(&device(), 0).unwrap();
    let (_folder, path) = saved(&source.get_state().unwrap());
    let swapped = spec().build(&device()).unwrap();
    let (_other, own) = saved(&swapped.get_state().unwrap());

    let a = specs(&FOUR[..3]).load_state_path(&path).build(&device(), 1).unwrap();
    assert_eq!(a.get_state().unwrap(), source.get_state().unwrap());

    let mut with_own = specs(&FOUR[..3]).load_state_path(&path);
    with_own.rl_module_specs.insert("policy_1".into(), spec().load_state_path(&own));
    let b = with_own.build(&device(), 1).unwrap();
    assert_eq!(of(&b, "policy_0"), of(&source, "policy_0"));
    assert_eq!(of(&b, "policy_1"), swapped.state_dict().unwrap());
    assert_eq!(of(&b, "policy_2"), of(&source, "policy_2"));

    let c = with_own.modules_to_load(["policy_0"]).build(&device(), 1).unwrap();
    assert_eq!(of(&c, "policy_0"), of(&source, "policy_0"));
    assert_eq!(of(&c, "policy_1"), swapped.state_dict().unwrap());
    assert_ne!(of(&c, "policy_2"), of(&source, "policy_2"));
    assert_eq!(MultiRLModuleSpec::from_module(&c), specs(&FOUR[..3]), "built specs name no file");

    for multi in [a, b, c] {
        let mut learner = learner(LearnerConfig::default(), multi);
        let before = FOUR[..3].iter().map(|id| weights(&learner, id)).collect::<Vec<_>>();
        learner
            .update(&data(&FOUR[..3].iter().map(|id| (*id, rows(0))).collect::<Vec<_>>()), 0)
            .unwrap();
        for (id, before) in FOUR.iter().zip(before) {
            assert_ne!(weights(&learner, id), before);
        }
    }
}

#[test]
fn two_of_four_modules_are_restored_by_choice_and_act_the_same() {
    let source = specs(FOUR).build(&device(), 0).unwrap();
    let (_folder, path) = saved(&source.get_state().unwrap());
    let two = specs(&["policy_1", "policy_3"]).load_state_path(&path);
    let message = two.build(&device(), 1).unwrap_err().to_string();
    assert!(message.contains("also has the modules [policy_0, policy_2]"), "{message}");
    assert!(message.contains("modules_to_load"), "{message}");

    let restored = two.modules_to_load(["policy_1", "policy_3"]).build(&device(), 1).unwrap();
    for id in ["policy_1", "policy_3"] {
        // A restored module acts like the saved one.
        assert_eq!(logits(restored.module(id).unwrap()), logits(source.module(id).unwrap()));
    }
}

#[test]
fn modules_are_loaded_under_another_id() {
    let source = specs(&["old"]).build(&device(), 0).unwrap();
    let (_folder, path) = saved(&source.get_state().unwrap());
    let self_play = specs(&["main", "opponent"])
        .load_state_path(&path)
        .load_renamed("main", "old")
        .load_renamed("opponent", "old")
        .build(&device(), 1)
        .unwrap();
    assert_eq!(of(&self_play, "main"), of(&source, "old"));
    assert_eq!(of(&self_play, "opponent"), of(&source, "old"));
}

#[test]
fn what_cannot_be_loaded_says_what_there_is() {
    let (_folder, path) =
        saved(&specs(&["a", "b"]).build(&device(), 0).unwrap().get_state().unwrap());
    let message = |spec: MultiRLModuleSpec| spec.build(&device(), 0).unwrap_err().to_string();
    let missing = specs(&["a", "b", "c"]).load_state_path(&path);
    assert!(message(missing).contains("no module is named `c`; available: [a, b]"));
    let unknown = specs(&["a"]).load_state_path(&path).modules_to_load(["z"]);
    assert!(message(unknown).contains("no module is named `z`; available: [a]"));
    let renamed =
        specs(&["a"]).load_state_path(&path).modules_to_load(["a"]).load_renamed("a", "q");
    assert!(message(renamed).contains("no module is named `q`; available: [a, b]"));
    assert!(message(specs(&["a"]).modules_to_load(["a"])).contains("set `load_state_path`"));
    let nowhere = specs(&["a"]).load_state_path(path.join("nowhere"));
    assert!(message(nowhere).contains("nowhere"));

    let mut wide = specs(&["a", "b"]);
    wide.rl_module_specs.insert("a".into(), spec().model_config(json!({"fcnet_hiddens": [9]})));
    let message = message(wide.load_state_path(&path));
    assert!(message.starts_with("the weights at `") && message.contains("shape"), "{message}");

    let mut foreign = specs(&["a"]).build(&device(), 0).unwrap().get_state().unwrap();
    foreign.components.get_mut("a").unwrap().data["module"] = "elsewhere.Policy".into();
    let message = MultiRLModule::from_state(&foreign, &device()).unwrap_err().to_string();
    assert!(message.contains("`elsewhere.Policy`"), "{message}");
    assert!(message.contains("register_module"), "{message}");
}

#[test]
fn modules_come_and_go_with_their_optimizers_and_the_rest_is_saved_and_restored() {
    let learner = |lr, module| Cloning::lr(lr).learner(LearnerConfig::default(), module);
    let mut one = learner(1e-3, specs(&[DEFAULT_MODULE_ID]).build(&device(), 0).unwrap());
    let test = spec().model_config(json!({"fcnet_hiddens": [16]}));
    one.add_module("test", test.build(&device()).unwrap(), false).unwrap();
    one.update(&data(&[(DEFAULT_MODULE_ID, rows(0)), ("test", rows(1))]), 0).unwrap();
    one.remove_module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(ids(one.module()), ["test"]);
    let only = data(&[("test", rows(1))]);
    one.update(&only, 0).unwrap();
    let state = one.get_state().unwrap();
    let optimizers = state.component("optimizer").unwrap();
    assert_eq!(optimizers.components.keys().collect::<Vec<_>>(), ["test"]);
    assert!(
        optimizers.component("test").unwrap().component("default_optimizer").unwrap().data["time"]
            .as_object()
            .unwrap()
            .values()
            .all(|t| t == 2)
    );

    let fresh = MultiRLModuleSpec::new([("test", test.clone())]).build(&device(), 5).unwrap();
    let (_folder, path) = saved(&state);
    for lr in [1e-3, 1e-2] {
        let mut two = learner(lr, fresh.clone());
        two.restore_from_path(&path).unwrap();
        assert_eq!(two.get_state().unwrap(), state);
        let mut again = learner(1e-3, fresh.clone());
        again.restore_from_path(&path).unwrap();
        two.update(&only, 0).unwrap();
        again.update(&only, 0).unwrap();
        assert_eq!(two.get_state().unwrap() == again.get_state().unwrap(), lr == 1e-3);
    }
}

#[test]
fn a_module_is_overridden_with_a_fresh_optimizer() {
    let mut learner = learner(LearnerConfig::default(), specs(&["a"]).build(&device(), 0).unwrap());
    learner.update(&data(&[("a", rows(0))]), 0).unwrap();
    let wide = spec().model_config(json!({"fcnet_hiddens": [9]})).build(&device()).unwrap();
    assert!(learner.add_module("a", wide.clone(), false).is_err());
    learner.add_module("a", wide.clone(), true).unwrap();
    assert_eq!(weights(&learner, "a"), wide.state_dict().unwrap());
    let state = learner.get_state().unwrap();
    assert!(state.component("optimizer/a").unwrap().tensors.is_empty());
    learner.update(&data(&[("a", rows(0))]), 0).unwrap();
}

#[test]
fn a_copy_of_a_module_learns_on_its_own() {
    let mut learner = learner(LearnerConfig::default(), specs(&["a"]).build(&device(), 0).unwrap());
    learner.update(&data(&[("a", rows(0))]), 0).unwrap();
    let copy = learner.module().module("a").unwrap().clone();
    learner.add_module("copy", copy, false).unwrap();
    let before = weights(&learner, "a");
    assert_eq!(weights(&learner, "copy"), before);
    learner.update(&data(&[("copy", rows(1))]), 0).unwrap();
    assert_eq!(weights(&learner, "a"), before);
    assert_ne!(weights(&learner, "copy"), before);
    let mut twins = MultiRLModule::new();
    let module = spec().build(&device()).unwrap();
    twins.add_module("one", module.clone(), false).unwrap();
    twins.add_module("two", module, false).unwrap();
    let mut learner = crate::support::learner(LearnerConfig::default(), twins);
    learner.update(&data(&[("one", rows(0)), ("two", rows(0))]), 0).unwrap();
    assert_eq!(weights(&learner, "one"), weights(&learner, "two"));
    learner.update(&data(&[("one", rows(0)), ("two", rows(1))]), 0).unwrap();
    assert_ne!(weights(&learner, "one"), weights(&learner, "two"));
}

#[test]
fn one_component_of_a_learner_is_restored_alone() {
    let multi = |seed| specs(&["a", "b"]).build(&device(), seed).unwrap();
    let both = data(&[("a", rows(0)), ("b", rows(1))]);
    let mut source = learner(LearnerConfig::default(), multi(0));
    source.update(&both, 0).unwrap();
    let (_folder, path) = saved(&source.get_state().unwrap());

    let mut target = learner(LearnerConfig::default(), multi(1));
    let before = weights(&target, "b");
    target.restore_component(path.join("rl_module/b"), "rl_module/a").unwrap();
    assert_eq!(weights(&target, "a"), weights(&source, "b"));
    assert_eq!(weights(&target, "b"), before);
    target.restore_component(path.join("rl_module"), "rl_module").unwrap();
    target.restore_component(path.join("optimizer/a"), "optimizer/a").unwrap();
    let optimizer = |learner: &Learner, id: &str| {
        learner.get_state().unwrap().component(&format!("optimizer/{id}")).unwrap().clone()
    };
    assert_eq!(optimizer(&target, "a"), optimizer(&source, "a"));
    assert!(optimizer(&target, "b").tensors.is_empty());
    target.restore_component(path.join("optimizer"), "optimizer").unwrap();
    assert_eq!(optimizer(&target, "b"), optimizer(&source, "b"));
    for wrong in ["optimizer/c", "rl_module/a/b", "replay"] {
        let error = target.restore_component(&path, wrong).unwrap_err().to_string();
        assert!(error.contains("is not a component of a learner"), "{error}");
    }
    let error = target.restore_component(&path, "rl_module/c").unwrap_err().to_string();
    assert!(error.contains("no module is named `c`; available: [a, b]"), "{error}");
}

#[test]
fn only_chosen_modules_learn_and_those_without_rows_are_counted() {
    let mut learner =
        learner(LearnerConfig::default(), specs(&["a", "b"]).build(&device(), 0).unwrap());
    let both = data(&[("a", rows(0)), ("b", rows(1))]);
    learner.set_policies_to_train(Some(["b".to_string()].into())).unwrap();
    let before = weights(&learner, "a");
    learner.update(&both, 0).unwrap();
    assert_eq!(weights(&learner, "a"), before);
    assert!(metrics(&mut learner).get("learner/a/total_loss").is_none());
    let (_folder, path) = saved(&learner.get_state().unwrap());
    learner.set_policies_to_train(None).unwrap();
    learner.update(&both, 0).unwrap();
    assert_ne!(weights(&learner, "a"), before);
    learner.restore_from_path(&path).unwrap();
    assert!(!learner.should_module_be_updated("a"));
    learner.set_policies_to_train(None).unwrap();

    metrics(&mut learner);
    let (a, b) = (weights(&learner, "a"), weights(&learner, "b"));
    let none = experience(&space(), 2, 0, 0);
    learner.update(&data(&[("a", none.clone()), ("b", rows(0))]), 0).unwrap();
    assert_eq!(weights(&learner, "a"), a);
    assert_ne!(weights(&learner, "b"), b);
    let key = "learner/a/num_updates_without_rows_lifetime";
    assert_eq!(metrics(&mut learner).get(key), Some(1.0));
    // Without a row of any module that learns, the update is skipped and counted.
    let (b, version) = (weights(&learner, "b"), learner.weights_seq_no());
    learner.update(&data(&[("a", none), ("b", Vec::new())]), 0).unwrap();
    assert_eq!((weights(&learner, "b"), learner.weights_seq_no()), (b, version));
    let key = "learner/__all_modules__/num_updates_without_rows_lifetime";
    assert_eq!(metrics(&mut learner).get(key), Some(1.0));
}

#[test]
fn learner_only_modules_stay_away_from_runners() {
    let mut specs = specs(&["acts", "learns"]);
    specs.rl_module_specs.insert("learns".into(), spec().learner_only(true));
    let learner = learner(LearnerConfig::default(), specs.build(&device(), 0).unwrap());
    assert_eq!(ids(learner.module()), ["acts", "learns"]);
    assert_eq!(ids(&learner.module().without_learner_only()), ["acts"]);
}

fn ppo(hidden: usize) -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![hidden])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(1)
}

#[test]
fn an_algorithm_goes_on_with_another_module() {
    let mut algo = ppo(8).build(&device()).unwrap();
    algo.train().unwrap();
    let old = algo.module(DEFAULT_MODULE_ID).unwrap().spec().clone();
    let new = old.clone().model_config(json!({"fcnet_hiddens": [12], "vf_share_layers": true}));
    let module = new.build(&device()).unwrap();
    algo.replace_module(DEFAULT_MODULE_ID, module.clone()).unwrap();
    let acting = algo.policy_bundle().unwrap();
    assert_eq!(acting.module().state_dict().unwrap(), module.state_dict().unwrap());
    algo.train().unwrap();

    let (_folder, path) = saved(&algo.get_state().unwrap());
    let mut restored = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    algo.train().unwrap();
    restored.train().unwrap();
    let learner =
        |algo: &Algorithm| algo.get_state().unwrap().component("learner").unwrap().clone();
    assert_eq!(learner(&algo), learner(&restored));

    let other = old.action_space(Space::discrete(3).unwrap()).build(&device()).unwrap();
    let message = algo.replace_module(DEFAULT_MODULE_ID, other).unwrap_err().to_string();
    assert!(message.contains("action space") && message.contains("default_policy"), "{message}");
    assert_eq!(learner(&algo), learner(&restored));
}

#[test]
fn an_algorithm_begins_with_weights_and_restores_without_their_file() {
    let env = make("CartPole-v1").unwrap();
    let spec = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(json!({"fcnet_hiddens": [8], "vf_share_layers": true}));
    let module = spec.build(&device()).unwrap();
    let (folder, path) = saved(&module.get_state().unwrap());
    let config = PpoConfig::new().environment("CartPole-v1").rl_module(spec.load_state_path(&path));
    let algo =
        config.training(|t| t.train_batch_size(64).minibatch_size(32)).build(&device()).unwrap();
    assert_eq!(
        algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap(),
        module.state_dict().unwrap()
    );
    let (_kept, checkpoint) = saved(&algo.get_state().unwrap());
    drop(folder);
    Algorithm::from_checkpoint::<PpoTraining>(&checkpoint, &device()).unwrap();
}

#[test]
fn an_algorithm_takes_fitting_weights_and_an_optimizer_alone() {
    let mut source = ppo(8).build(&device()).unwrap();
    source.train().unwrap();
    let mut target = ppo(8).seed(2).build(&device()).unwrap();
    let mut part = source.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    part.retain(|name, _| name.starts_with("encoder"));
    let report = target.load_module_matching(DEFAULT_MODULE_ID, &part).unwrap();
    assert_eq!(report.loaded, part.keys().cloned().collect::<Vec<_>>());
    assert!(!report.is_complete());
    let acting = target.policy_bundle().unwrap().module().state_dict().unwrap();
    assert!(part.iter().all(|(name, array)| acting[name] == *array));

    let (_folder, path) = saved(&source.get_state().unwrap());
    let component = "learner/optimizer/default_policy";
    target.restore_component(path.join(component), component).unwrap();
    let of = |algo: &Algorithm| algo.get_state().unwrap().component(component).unwrap().clone();
    assert_eq!(of(&target), of(&source));

    // The folder of the whole algorithm, for a part of it.
    for component in ["learner", "learner/rl_module/default_policy", component, "env_runners"] {
        let error = target.restore_component(&path, component).unwrap_err().to_string();
        let expected = format!("pass `{}`", path.join(component).display());
        assert!(
            error.contains("the checkpoint of an algorithm") && error.ends_with(&expected),
            "{error}"
        );
    }
    assert_eq!(of(&target), of(&source));
}
