//! Options of SAC and TQC: noise that depends on the state (gSDE), critics with batch renormalization (CrossQ), replaced
//! optimizers, and the custom module of the example.

use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::checkpoint::ArrayData;
use rekindle::core::any_tensor::to_f32;
use rekindle::learner::OptimizerGroup;
use rekindle::prelude::*;
use rekindle::rl_module::SoftActorCritic;
use serde_json::json;

use crate::sac::{message, n_and_n_are_2n, part, sac, tqc, train};
use crate::support::device;

#[path = "../../examples/custom_sac_module.rs"]
#[allow(dead_code, reason = "the example has a `main`")]
pub(crate) mod example;

fn two_agents(config: SacConfig) -> SacConfig {
    config
        .environment("MultiAgentPendulum-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

#[test]
fn n_and_n_iterations_with_gsde_are_2n() {
    // Drawn anew at each round, and in the middle of the noise's time.
    n_and_n_are_2n(&sac().training(|t| t.use_sde(true)));
    n_and_n_are_2n(&sac().training(|t| t.use_sde(true).sde_sample_freq(7)));
    n_and_n_are_2n(&tqc().training(|t| t.use_sde(true).sde_sample_freq(100)));
    n_and_n_are_2n(&two_agents(sac().training(|t| t.use_sde(true).sde_sample_freq(7))));
}

#[test]
fn n_and_n_iterations_with_gsde_and_memory_are_2n() {
    let recurrent =
        sac().model("use_lstm", true).model("lstm_cell_size", 4).model("max_seq_len", 5);
    n_and_n_are_2n(&recurrent.training(|t| t.use_sde(true).sde_sample_freq(7)));
}

#[test]
fn n_and_n_iterations_of_critics_with_batch_renorm_are_2n() {
    let crossq =
        || sac().training(|t| t.critics_use_batch_renorm(true).batch_renorm_warmup_steps(9));
    n_and_n_are_2n(&crossq());
    n_and_n_are_2n(&crossq().training(|t| t.num_critics(3).use_sde(true)));
    n_and_n_are_2n(&crossq().environment("CartPole-v1"));
}

/// Builds a module that explores with gSDE.
fn explorer(sde_sample_freq: Option<u64>) -> AnyRLModule {
    let config = json!({
        "fcnet_hiddens": [6], "use_sde": true, "sde_sample_freq": sde_sample_freq, "log_std_init": -1.0,
    });
    RLModuleSpec::of::<SoftActorCritic>()
        .observation_space(Space::unbounded(&[3]).unwrap())
        .action_space(Space::boxed(-2.0, 2.0, &[2, 1]).unwrap())
        .model_config(config)
        .build(&device())
        .unwrap()
}

#[test]
fn equal_states_get_equal_noise_until_it_is_drawn_anew() {
    let rows = Tensor::<2>::from_floats([[0.5, -1.0, 2.0]; 3], &device());
    let explore = |module: &AnyRLModule, cx: &mut ExplorationContext| {
        let batch = Batch::new().with(Columns::OBS, rows.clone());
        let out = module.forward_exploration(&batch, cx).unwrap();
        to_f32(out.float::<3>(Columns::ACTIONS).unwrap()).unwrap()
    };
    let module = explorer(Some(2));
    let mut cx = ExplorationContext::from_seed(0);
    let steps = [(); 5].map(|()| explore(&module, &mut cx));
    assert_eq!((&steps[0], &steps[2]), (&steps[1], &steps[3]));
    assert!(steps[0] != steps[2] && steps[2] != steps[4]);
    // Each environment has noise of its own.
    assert_ne!(steps[0][..2], steps[0][2..4]);
    assert!(steps[0].iter().all(|action| action.abs() < 1.0));

    // Without a number of steps, noise lasts until weights are published.
    let (module, mut cx) = (explorer(None), ExplorationContext::from_seed(0).with_env_steps(4));
    let [first, second] = [(); 2].map(|()| explore(&module, &mut cx));
    cx.set_env_steps(8);
    assert!(first == second && explore(&module, &mut cx) != second);
}

#[test]
fn explored_actions_have_the_distribution_that_learning_draws_from() {
    let module = explorer(Some(1));
    let obs = Tensor::<2>::from_floats([[0.5, -1.0, 2.0]], &device());
    let batch = Batch::new().with(Columns::OBS, obs);
    let inputs = module.forward_train(&batch).unwrap();
    let inputs = to_f32(inputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap();
    let mut cx = ExplorationContext::from_seed(5);
    let count = 4000;
    let mut drawn = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let out = module.forward_exploration(&batch, &mut cx).unwrap();
        let actions = to_f32(out.float::<3>(Columns::ACTIONS).unwrap()).unwrap();
        drawn.iter_mut().zip(actions).for_each(|(of, action)| of.push(f64::from(action).atanh()));
    }
    for (dim, of) in drawn.iter().enumerate() {
        let mean = of.iter().sum::<f64>() / f64::from(count);
        let variance = of.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / f64::from(count);
        let (expected, log_std) = (f64::from(inputs[dim]), f64::from(inputs[2 + dim]));
        let std = log_std.exp();
        assert!((mean - expected).abs() < 4.0 * std / f64::from(count).sqrt(), "{mean} {expected}");
        assert!((variance.sqrt() / std - 1.0).abs() < 0.05, "{} {std}", variance.sqrt());
    }
    // Inference takes the mean.
    let out = module.forward_inference(&batch).unwrap();
    assert_eq!(to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap(), inputs);
}

#[test]
fn the_standard_deviations_of_gsde_are_learned() {
    let mut algo = sac().training(|t| t.use_sde(true).actor_lr(1e-2)).build(&device()).unwrap();
    let before = part(&algo, "pi.noise.log_std");
    assert_eq!(before, [-3.0; 8]);
    train(&mut algo, 20);
    assert_ne!(part(&algo, "pi.noise.log_std"), before);
}

#[test]
fn critics_with_batch_renorm_have_no_targets_and_their_running_statistics_follow_the_batches() {
    let config = sac().training(|t| t.critics_use_batch_renorm(true));
    let mut algo = config.build(&device()).unwrap();
    let count = |algo: &Algorithm| part(algo, "qf.layers.renorms.0.num_batches_tracked");
    assert_eq!(count(&algo), [0.0]);
    let before = part(&algo, "qf.layers.renorms.1.running_mean");
    train(&mut algo, 20);
    let after = part(&algo, "qf.layers.renorms.1.running_mean");
    assert!(after != before && after.iter().all(|x| x.is_finite()));
    // Of 40 steps, 20 came before learning started; each of the others led to an update.
    assert_eq!(count(&algo), [20.0]);
    assert!(part(&algo, "target_qf").is_empty());
    let inference = algo.module(DEFAULT_MODULE_ID).unwrap().inference_state_dict().unwrap();
    assert!(!inference.keys().any(|name| name.starts_with("qf")));
}

#[test]
fn running_statistics_that_are_not_finite_are_left_out() {
    let config = sac().training(|t| t.critics_use_batch_renorm(true));
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, 12);
    let mut weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let large = weights.get_mut("qf.layers.layers.0.weight").unwrap();
    let len = large.as_slice::<f32>().unwrap().len();
    *large = Array::new(large.shape().to_vec(), ArrayData::F32(vec![f32::MAX; len])).unwrap();
    algo.load_module_matching(DEFAULT_MODULE_ID, &weights).unwrap();
    let result = algo.train().unwrap();
    let refused = "learners/default_policy/num_non_finite_updates_lifetime";
    assert!(result.get(refused).is_some_and(|count| count > 0.0));
    assert!(part(&algo, "qf.layers.renorms").iter().all(|x| x.is_finite()));
}

#[test]
fn options_without_an_effect_and_numbers_out_of_range_are_refused() {
    let with = |change: fn(SacTraining) -> SacTraining| message(&sac().training(change));
    let of_model = |config: SacConfig, field: &str, value: serde_json::Value| {
        message(&config.model(field, value))
    };
    let sde = || sac().training(|t| t.use_sde(true));
    for (found, expected) in [
        (with(|t| t.sde_sample_freq(4)), "set `use_sde`"),
        (with(|t| t.use_sde(true).sde_sample_freq(0)), "at least 1 step"),
        (with(|t| t.critics_use_batch_renorm(true).critics_use_layernorm(true)), "choose one"),
        (
            with(|t| t.critics_use_batch_renorm(true).batch_renorm_warmup_steps(u64::MAX)),
            "`batch_renorm_warmup_steps`",
        ),
        (message(&tqc().training(|t| t.sde_sample_freq(4))), "set `use_sde`"),
        (of_model(sac(), "log_std_init", json!(-2.0)), "set `use_sde`"),
        (of_model(sac(), "clip_mean", json!(1.0)), "set `use_sde`"),
        (of_model(sde(), "clip_mean", json!(-1.0)), "`clip_mean`"),
        (of_model(sde(), "log_std_init", json!(1e300)), "`log_std_init`"),
        (of_model(sde(), "log_std_clip_param", json!(1.0)), "`log_std_clip_param`"),
        (message(&sde().environment("CartPole-v1")), "`use_sde`"),
        (with(|t| t.batch_renorm_warmup_steps(9)), "set `critics_use_batch_renorm`"),
        (
            message(&sac().training(|t| t.critics_use_batch_renorm(true)).model("use_lstm", true)),
            "use an encoder without memory",
        ),
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

fn trains<T: TrainingConfig>(config: &AlgorithmConfig<T>, iterations: usize) -> Algorithm {
    let mut algo = config.build(&device()).unwrap();
    train(&mut algo, iterations);
    algo
}

#[test]
fn a_bundle_of_a_policy_with_gsde_explores_by_its_seed_and_acts_by_its_means() {
    let algo = trains(&sac().training(|t| t.use_sde(true).sde_sample_freq(3)), 15);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    let act = |explore: bool, seed: u64| {
        let mut policy = PolicyBundle::from_checkpoint(&path, &device()).unwrap();
        policy.set_seed(seed);
        let observations = Buffer::from_f32(vec![0.3, -0.5, 1.0], &[3]).unwrap();
        policy.compute_actions(&observations, explore).unwrap().as_f32().unwrap().to_vec()
    };
    assert_eq!(act(true, 1), act(true, 1));
    assert_ne!(act(true, 1), act(true, 2));
    assert_eq!(act(false, 1), act(false, 2));
    assert_ne!(act(false, 1), act(true, 1));
}

#[test]
fn the_custom_sac_module_of_the_example_trains_and_is_under_60_lines() {
    let (algo, _) = example::train(1_000, 0).unwrap();
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(module.spec().module(), RLModuleSpec::of::<example::MySac>().module());
    assert!(algo.learner().weights_seq_no() > 0);
    let played = EnvRunnerConfig::new("Pendulum-v1").num_envs(2);
    let episodes = evaluate(module, &played, 2, SampleOptions::greedy(), &device()).unwrap();
    assert_eq!(episodes.returns.len(), 2);

    let source = include_str!("../../examples/custom_sac_module.rs");
    let module = source.split("// A user's module starts here").nth(1).unwrap();
    let module = module.split("// … and ends here.").next().unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = module.lines().skip(1).filter(is_code).count();
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn replaced_optimizers_step_in_the_phases_of_the_loss() {
    let alpha = || OptimizerGroup::scalars("alpha", [("log_alpha", 0.0)]).lr(1e-3);
    let groups = |actor_lr: f64| {
        let critic = OptimizerGroup::prefixes("critic", ["qf"]).lr(1e-3);
        [critic, OptimizerGroup::prefixes("actor", ["encoder", "pi"]).lr(actor_lr), alpha()]
    };
    for actor_lr in [1e-3, 0.0] {
        let mut algo = sac().optimizers(groups(actor_lr)).build(&device()).unwrap();
        let before = ["encoder", "pi", "qf"].map(|prefix| part(&algo, prefix));
        train(&mut algo, 15);
        let result = algo.train().unwrap();
        let moved = ["encoder", "pi", "qf"].map(|prefix| part(&algo, prefix));
        let moved = [0, 1, 2].map(|index| moved[index] != before[index]);
        assert_eq!(moved, [actor_lr > 0.0, actor_lr > 0.0, true]);
        assert_ne!(result.get("learners/default_policy/alpha"), Some(1.0));
    }
    let message = |groups: Vec<OptimizerGroup>| {
        sac().optimizers(groups).build(&device()).unwrap_err().to_string()
    };
    let networks = OptimizerGroup::prefixes("networks", ["encoder", "pi", "qf"]);
    let found = message(vec![networks, alpha()]);
    assert!(found.contains("phase `critic` steps `critic`"), "{found}");
    let more = [groups(1e-3).to_vec(), vec![OptimizerGroup::scalars("more", [("x", 0.0)])]];
    let found = message(more.concat());
    assert!(found.contains("none of the phases") && found.contains("`more`"), "{found}");
}
