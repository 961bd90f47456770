//! Modules that share parameters: a common encoder and a centralized critic.

use crate::support::{
    Cloning, data, device, experience, ids, learner, logits, metrics, saved, weights,
};
use burn::module::Module;
use burn::prelude::*;
use rekindle::checkpoint::Array;
use rekindle::core::ALL_MODULES;
use rekindle::core::weights::Weights;
use rekindle::env_runner::BundleConfig;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// A shared encoder for the global part of observations, one head per module that also reads the local
/// part, and one critic that reads the global part of every module.
#[derive(Module, Debug)]
struct SharedEncoder {
    encoder: Mlp,
    heads: PerModule<Mlp>,
    critic: Option<Mlp>,
}

impl SharedRLModule for SharedEncoder {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let hidden: usize = first.model_config()?;
        let global = first.observation_space().as_dict()?.get("global")?.flat_dim();
        let heads = PerModule::build(cx, |cx| {
            let local = cx.observation_space().as_dict()?.get("local")?.flat_dim();
            Ok(cx.mlp(hidden + local, &[], cx.action_space().as_discrete()?.n()))
        })?;
        let critic = (!cx.inference_only()).then(|| first.mlp(global, &[16], 1));
        Ok(Self { encoder: first.mlp(global, &[], hidden), heads, critic })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.nested(Columns::OBS)?;
        let features = self.encoder.forward(obs.float::<2>("global")?).tanh();
        let all = Tensor::cat(vec![features, obs.float::<2>("local")?], 1);
        let logits = self.heads.get(module_id)?.forward(all);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn SharedValueFunction> {
        Some(self)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["critic"]
    }

    fn type_name() -> String {
        "tests.SharedEncoder".into()
    }
}

impl SharedValueFunction for SharedEncoder {
    fn compute_values(
        &self,
        _: &str,
        batch: &Batch,
        _: Option<Tensor<2>>,
    ) -> ModuleResult<Tensor<1>> {
        let global = batch.nested(Columns::OBS)?.float::<2>("global")?;
        let critic = self.critic.as_ref().ok_or(ModuleError::custom("built for inference"))?;
        Ok(critic.forward(global).squeeze_dim(1))
    }
}

fn space(local: usize) -> Space {
    let parts = [("global", 10), ("local", local)];
    Space::dict(parts.map(|(k, n)| (k, Space::boxed(-1.0, 1.0, &[n]).unwrap()))).unwrap()
}

fn spec() -> MultiRLModuleSpec {
    MultiRLModuleSpec::shared::<SharedEncoder>([("a", 16, 2), ("b", 32, 4)].map(
        |(id, local, actions)| {
            let spec = RLModuleSpec::default()
                .observation_space(space(local))
                .action_space(Space::discrete(actions).unwrap())
                .model_config(128);
            (id, spec)
        },
    ))
}

fn build(seed: u64) -> MultiRLModule {
    spec().build(&device(), seed).unwrap()
}

/// Returns experience of both modules.
fn both() -> rekindle::learner::ModuleRollouts {
    let (a, b) = (experience(&space(16), 2, 12, 1), experience(&space(32), 4, 20, 2));
    data(&[("a", a), ("b", b)])
}

fn only(id: &str) -> rekindle::learner::ModuleRollouts {
    both().into_iter().filter(|(of, _)| of == id).collect()
}

fn sgd(module: MultiRLModule) -> Learner {
    let optimizer = OptimizerGroup::default().lr(1.0).rule(OptimizerConfig::sgd());
    Cloning { optimizer, ..Cloning::default() }.learner(LearnerConfig::default(), module)
}

fn below(weights: &Weights, prefix: &str) -> Vec<f32> {
    let part = weights.iter().filter(|(name, _)| name.starts_with(prefix));
    part.flat_map(|(_, array)| array.as_slice::<f32>().unwrap().to_vec()).collect()
}

#[test]
fn a_change_of_the_encoder_through_one_module_shows_in_the_other() {
    let mut multi = build(0);
    let mut weights = multi.module("a").unwrap().state_dict().unwrap();
    let name = weights.keys().find(|n| n.starts_with("encoder") && n.ends_with("bias")).unwrap();
    let name = name.clone();
    weights.insert(name.clone(), Array::from(vec![1.0f32; 128]));
    let before = logits(multi.module("b").unwrap());
    multi.load_state_dict("a", &weights).unwrap();
    let of_b = multi.module("b").unwrap().state_dict().unwrap();
    assert_eq!(of_b[&name].as_slice::<f32>().unwrap(), [1.0; 128]);
    assert_ne!(logits(multi.module("b").unwrap()), before);
}

#[test]
fn every_parameter_is_visited_once_and_the_same_stream_draws_the_same() {
    let multi = build(0);
    assert_eq!(multi.num_params(), multi.module("a").unwrap().num_params());
    assert_eq!(multi.parameter_groups().map(|(g, _)| g).collect::<Vec<_>>(), [ALL_MODULES]);
    let of = |seed| build(seed).module("b").unwrap().state_dict().unwrap();
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
    assert!(multi.shared().is_some());
}

#[test]
fn the_gradient_of_a_shared_parameter_is_the_sum_over_the_modules() {
    let step = |data: &rekindle::learner::ModuleRollouts| {
        let mut learner = sgd(build(0));
        let before = weights(&learner, "a");
        learner.update(data, 0).unwrap();
        let after = weights(&learner, "b");
        let delta = |prefix: &str| -> Vec<f32> {
            let pairs = below(&after, prefix).into_iter().zip(below(&before, prefix));
            pairs.map(|(after, before)| after - before).collect()
        };
        ["encoder", "critic", "heads.a", "heads.b"].map(delta)
    };
    let (sum, of_a, of_b) = (step(&both()), step(&only("a")), step(&only("b")));
    for part in 0..4 {
        assert!(sum[part].iter().any(|d| *d != 0.0));
        for ((sum, a), b) in sum[part].iter().zip(&of_a[part]).zip(&of_b[part]) {
            assert!((sum - (a + b)).abs() < 1e-5, "{sum} is not {a} + {b}");
        }
    }
    assert!(of_a[3].iter().all(|d| *d == 0.0) && of_b[2].iter().all(|d| *d == 0.0));
}

#[test]
fn one_optimizer_has_one_moment_per_shared_parameter() {
    let mut learner = learner(LearnerConfig::default(), build(0));
    learner.update(&both(), 0).unwrap();
    let state = learner.get_state().unwrap();
    let optimizers = state.component("optimizer").unwrap();
    assert_eq!(optimizers.components.keys().collect::<Vec<_>>(), [ALL_MODULES]);
    let all = optimizers.component(ALL_MODULES).unwrap();
    let moments = &all.component("default_optimizer").unwrap().tensors;
    let expected: Vec<String> = weights(&learner, "a")
        .into_keys()
        .flat_map(|name| [format!("{name}.moment_1"), format!("{name}.moment_2")])
        .collect();
    assert_eq!(moments.keys().cloned().collect::<Vec<_>>(), expected);
    let result = metrics(&mut learner);
    let norm = format!("learner/{ALL_MODULES}/gradients_default_optimizer_global_norm");
    assert!(result.get(&norm).is_some_and(|norm| norm > 0.0), "{result}");
    assert!(result.get("learner/a/total_loss").is_some());
}

#[test]
fn training_one_module_moves_the_encoder_and_its_own_head_only() {
    let mut learner = learner(LearnerConfig::default(), build(0));
    learner.update(&both(), 0).unwrap(); // now the other head has moments
    learner.set_policies_to_train(Some(["a".to_string()].into())).unwrap();
    let before = weights(&learner, "a");
    learner.update(&both(), 0).unwrap();
    let after = weights(&learner, "b");
    for (prefix, moves) in [("encoder", true), ("heads.a", true), ("heads.b", false)] {
        assert_eq!(below(&before, prefix) != below(&after, prefix), moves, "{prefix}");
    }
    assert!(learner.set_policies_to_train(Some(["c".to_string()].into())).is_err());
}

#[test]
fn the_centralized_critic_learns_the_values_of_all_modules() {
    let mut learner = Cloning::lr(1e-2).learner(LearnerConfig::default(), build(0));
    let mut both = both();
    for rollout in both.values_mut().flatten() {
        let global = rollout.observations.get("global").unwrap().as_f32().unwrap();
        rollout.rewards = global.chunks(10).map(|o| 2.0 * o[0] - o[3]).collect();
    }
    let mut loss = Vec::new();
    for _ in 0..200 {
        learner.update(&both, 0).unwrap();
        let result = metrics(&mut learner);
        loss.push(["a", "b"].map(|id| result.get(&format!("learner/{id}/vf_loss")).unwrap()));
    }
    let (first, last) = (loss[0], loss[199]);
    assert!(first.iter().all(|loss| *loss > 0.5), "{first:?}");
    assert!(last.iter().all(|loss| *loss < 0.02), "{last:?}");
}

#[test]
fn a_loss_that_is_not_finite_skips_all_modules_that_share() {
    // All gradients are finite; only the loss of one module is not.
    let loss = Cloning { rewards_are_constants: true, ..Cloning::default() };
    let mut learner = loss.learner(LearnerConfig::default(), build(0));
    let before = weights(&learner, "a");
    let mut both = both();
    both.get_mut("b").unwrap()[0].rewards[3] = f32::NAN;
    learner.update(&both, 0).unwrap();
    assert_eq!(weights(&learner, "a"), before);
    let key = format!("learner/{ALL_MODULES}/num_non_finite_updates_lifetime");
    assert_eq!(metrics(&mut learner).get(&key), Some(1.0));
}

#[test]
fn the_whole_is_saved_once_and_restored_by_its_type_name() {
    let multi = build(0);
    let state = multi.get_state().unwrap();
    assert!(state.components.is_empty());
    assert_eq!(state.tensors, multi.module("a").unwrap().state_dict().unwrap());

    let (_folder, path) = saved(&state);
    let restored = MultiRLModule::from_checkpoint(&path, &device()).unwrap();
    let mut other = build(1);
    other.restore_from_path(&path).unwrap();
    for id in ["a", "b"] {
        let expected = logits(multi.module(id).unwrap());
        assert_eq!(logits(restored.module(id).unwrap()), expected);
        assert_eq!(logits(other.module(id).unwrap()), expected);
    }
    assert_eq!(MultiRLModuleSpec::from_module(&restored), spec());
    let loading = spec().load_state_path(&path).build(&device(), 9).unwrap();
    assert_eq!(loading.get_state().unwrap(), state);

    let message = AnyRLModule::from_checkpoint(&path, &device()).unwrap_err().to_string();
    assert!(message.contains("`MultiRLModule::from_checkpoint`"), "{message}");
    let mut plain = MultiRLModule::new();
    let message = plain.set_state(&state).unwrap_err().to_string();
    assert!(
        message.contains("[a, b] share parameters in the checkpoint, but [] share"),
        "{message}"
    );
    let choosing = spec().load_state_path(&path).modules_to_load(["a"]);
    assert!(choosing.build(&device(), 0).unwrap_err().to_string().contains("loaded together"));
}

#[test]
fn specs_are_data_and_build_only_together() {
    let json = serde_json::to_string(&spec()).unwrap();
    assert_eq!(serde_json::from_str::<MultiRLModuleSpec>(&json).unwrap(), spec());
    let alone = spec().rl_module_specs["a"].clone();
    let message = alone.build(&device()).unwrap_err().to_string();
    assert!(message.contains("cannot be built alone"), "{message}");
}

#[test]
fn one_module_is_saved_and_deployed_alone() {
    let multi = build(0);
    let b = multi.module("b").unwrap();
    let (_folder, path) = saved(&b.get_state().unwrap());
    let alone = AnyRLModule::from_checkpoint(&path, &device()).unwrap();
    assert_eq!(logits(&alone), logits(b));
    assert_eq!(alone.spec(), b.spec());

    let config = BundleConfig::new(space(32), Space::discrete(4).unwrap());
    let bundle = PolicyBundle::new(b.clone(), config, &device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    bundle.save_to_path(folder.path().join("bundle")).unwrap();
    PolicyBundle::from_checkpoint(folder.path().join("bundle"), &device()).unwrap();

    let mut unknown = b.get_state().unwrap();
    unknown.data["module"] = "elsewhere.Shared".into();
    let message = AnyRLModule::from_state(&unknown, &device()).unwrap_err().to_string();
    assert!(message.contains("`elsewhere.Shared`"), "{message}");
    assert!(message.contains("register_shared_module::<YourModule>()"), "{message}");
}

#[test]
fn a_learner_is_saved_restored_and_continues_exactly() {
    let config =
        LearnerConfig::default().minibatch_size(5).num_epochs(2).shuffle_batch_per_epoch(true);
    let mut one = learner(config.clone(), build(0));
    one.update(&both(), 0).unwrap();
    let (_folder, path) = saved(&one.get_state().unwrap());
    let mut two = learner(config, build(1));
    two.restore_from_path(&path).unwrap();
    for learner in [&mut one, &mut two] {
        learner.update(&both(), 32).unwrap();
    }
    assert_eq!(one.get_state().unwrap(), two.get_state().unwrap());
}

#[test]
fn an_inference_only_whole_has_no_critic_and_takes_the_full_weights() {
    let full = build(0);
    let mut specs = spec();
    for spec in specs.rl_module_specs.values_mut() {
        *spec = spec.clone().inference_only(true);
    }
    let mut acting = specs.build(&device(), 1).unwrap();
    let names = |w: Weights| w.into_keys().collect::<Vec<_>>();
    let full_a = full.module("a").unwrap();
    let acting_names = names(acting.module("a").unwrap().state_dict().unwrap());
    assert_eq!(names(full_a.inference_state_dict().unwrap()), acting_names);
    assert!(acting_names.iter().all(|name| !name.starts_with("critic")));
    acting.load_state_dict("a", &full_a.state_dict().unwrap()).unwrap();
    for id in ["a", "b"] {
        assert_eq!(logits(full.module(id).unwrap()), logits(acting.module(id).unwrap()));
    }
}

#[test]
fn modules_leave_the_whole_and_independent_ones_join_it() {
    let mut learner = learner(LearnerConfig::default(), build(0));
    let left = learner.remove_module("b").unwrap();
    let independent = RLModuleSpec::default()
        .observation_space(space(16))
        .action_space(Space::discrete(2).unwrap())
        .build(&device())
        .unwrap();
    learner.add_module("c", independent, false).unwrap();
    let a = experience(&space(16), 2, 12, 1);
    learner.update(&data(&[("a", a.clone()), ("c", a)]), 0).unwrap();
    assert_ne!(left.state_dict().unwrap(), weights(&learner, "a"));

    let state = learner.get_state().unwrap();
    let optimizers = state.component("optimizer").unwrap();
    assert_eq!(optimizers.components.keys().collect::<Vec<_>>(), [ALL_MODULES, "c"]);
    let restored =
        MultiRLModule::from_state(state.component("rl_module").unwrap(), &device()).unwrap();
    assert_eq!(ids(&restored), ["a", "c"]);
    assert_eq!(restored.get_state().unwrap(), *state.component("rl_module").unwrap());

    learner.remove_module("a").unwrap();
    assert!(learner.module().shared().is_none());
    let optimizers = learner.get_state().unwrap().component("optimizer").unwrap().clone();
    assert_eq!(optimizers.components.keys().collect::<Vec<_>>(), ["c"]);
}

/// Recurrent modules, each with its own initial state.
#[derive(Module, Debug)]
struct Remembers {
    policy: Mlp,
}

impl SharedRLModule for Remembers {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.first()?.mlp(1, &[], 2) })
    }

    fn forward_train(&self, _: &str, batch: &Batch) -> ModuleResult<Batch> {
        let state = batch.float::<2>(Columns::STATE_IN)?;
        let logits = self.policy.forward(state.clone());
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with(Columns::STATE_OUT, state + 1.0))
    }

    fn initial_state(&self, module_id: &str) -> ModuleResult<Option<Buffer>> {
        let start = if module_id == "late" { 10.0 } else { 0.0 };
        Ok(Some(Buffer::from_f32(vec![start], &[1])?))
    }

    fn max_seq_len(&self, module_id: &str) -> usize {
        module_id.len()
    }
}

#[test]
fn modules_with_memory_share_parameters_too() {
    let spec = RLModuleSpec::default().action_space(Space::discrete(2).unwrap());
    let spec = spec.observation_space(make("CartPole-v1").unwrap().observation_space().clone());
    let multi = MultiRLModuleSpec::shared::<Remembers>([("early", spec.clone()), ("late", spec)]);
    let multi = multi.build(&device(), 0).unwrap();
    for (id, first) in [("early", 0.0), ("late", 10.0)] {
        let module = multi.module(id).unwrap();
        assert_eq!(module.max_seq_len(), id.len());
        let config = EnvRunnerConfig::new("CartPole-v1").num_envs(2);
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device()).unwrap();
        runner.set_module(module, PublishedAt::default()).unwrap();
        let rollout = runner.sample(Amount::Timesteps(8), SampleOptions::default()).unwrap();
        let states = rollout.states.unwrap().state_in.as_f32().unwrap().to_vec();
        let expected = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0].map(|step| first + step);
        assert_eq!(states, expected);
    }
}
