//! The algorithm as users drive it: results, components, threads, roles, hostile updates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::Mlp;
use rekindle::prelude::*;

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(200).minibatch_size(50).num_epochs(2).lr(1e-3))
        .seed(3)
}

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// A policy without a value function.
#[derive(Module, Debug)]
struct PolicyOnly {
    policy: Mlp,
}

impl RLModule for PolicyOnly {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self, ModuleError> {
        let logits = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[16], logits) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch, ModuleError> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

#[test]
fn a_result_has_rllibs_names() {
    let result = config().build(&device()).unwrap().train().unwrap();
    for key in [
        "training_iteration",
        "env_runners/episode_return_mean",
        "env_runners/episode_len_mean",
        "env_runners/num_env_steps_sampled_lifetime",
        "env_runners/env_step_timer",
        "env_runners/rlmodule_inference_timer",
        "learners/default_policy/policy_loss",
        "learners/default_policy/vf_loss",
        "learners/default_policy/vf_explained_var",
        "learners/default_policy/entropy",
        "learners/default_policy/mean_kl_loss",
        "learners/default_policy/curr_kl_coeff",
        "learners/default_policy/total_loss",
        "learners/default_policy/default_optimizer_learning_rate",
        "learners/default_policy/gradients_default_optimizer_global_norm",
        "timers/learner_update_timer",
        "timers/env_runner_sampling_timer",
    ] {
        assert!(result.get(key).is_some_and(f64::is_finite), "{key}: {result}");
    }
    assert_eq!(result.get("env_runners/num_env_steps_sampled_lifetime"), Some(200.0));
}

#[test]
fn a_learner_refuses_a_module_without_the_role_it_needs_when_it_is_built() {
    let config = PpoConfig { model_config: Default::default(), ..config() }
        .rl_module(RLModuleSpec::of::<PolicyOnly>());
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("lacks the role ValueFunction"), "{message}");
    assert!(message.contains("the PPO learner"), "{message}");

    let config = config.training(|t| t.use_critic(false));
    let result = config.build(&device()).unwrap().train().unwrap();
    assert!(result.get("learners/default_policy/policy_loss").is_some());
    assert!(result.get("learners/default_policy/vf_loss").is_none());
}

#[test]
fn whole_runs_are_equal_for_1_and_2_threads_and_for_the_same_seed() {
    let run = |threads, seed| {
        let config = config().seed(seed).env_runners(|e| e.num_env_runners(2).num_threads(threads));
        let mut algo = config.build(&device()).unwrap();
        for _ in 0..3 {
            algo.train().unwrap();
        }
        algo.get_state().unwrap()
    };
    let of = |state: &State, component| state.component(component).unwrap().clone();
    for component in ["learner", "env_runners"] {
        assert_eq!(of(&run(1, 5), component), of(&run(2, 5), component));
        assert_ne!(of(&run(1, 5), component), of(&run(1, 6), component));
    }
}

#[test]
fn one_component_is_restored_alone_and_acted_with_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut source = config().build(&device()).unwrap();
    source.train().unwrap();
    source.save_to_path(&path).unwrap();

    let component = "learner/rl_module/default_policy";
    let mut target = config().seed(99).build(&device()).unwrap();
    let weights = |algo: &Algorithm| algo.module("default_policy").unwrap().state_dict().unwrap();
    assert_ne!(weights(&source), weights(&target));
    target.restore_component(path.join(component), component).unwrap();
    assert_eq!(weights(&source), weights(&target));
    assert_eq!(target.iteration(), 0);

    let error = target.restore_component(&path, "replay_buffer").unwrap_err().to_string();
    assert!(error.contains("`replay_buffer` is no component"), "{error}");
    let error = target.restore_component(&path, component).unwrap_err().to_string();
    assert!(error.contains("do not fit the module"), "{error}");
    assert_eq!(weights(&source), weights(&target));
}

#[test]
fn complete_episodes_mode_learns_from_whole_episodes() {
    use rekindle::algorithms::BatchMode;
    let config = config().env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes));
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    assert!(algo.env_steps() >= 200);
    let episodes = result.get("env_runners/num_episodes").unwrap();
    let mean = result.get("env_runners/episode_len_mean").unwrap();
    assert!((episodes * mean - algo.env_steps() as f64).abs() < 1e-6);
}

#[test]
fn evaluation_runs_at_its_interval_on_exactly_its_episodes() {
    let config = config().evaluation(|e| e.evaluation_interval(2).evaluation_duration(7));
    let mut algo = config.build(&device()).unwrap();
    let key = "evaluation/env_runners/episode_return_mean";
    assert!(algo.train().unwrap().get(key).is_none());
    assert!(algo.train().unwrap().get(key).is_some());
    assert_eq!(algo.evaluate().unwrap().returns.len(), 7);
}

#[test]
fn settings_out_of_range_name_field_value_and_constraint() {
    let message = |config: PpoConfig| config.build(&device()).unwrap_err().to_string();
    let cases = [
        (PpoConfig::new(), "`env` is not set"),
        (config().training(|t| t.gamma(1.5)), "`gamma` is 1.5, but it must be between 0 and 1"),
        (config().training(|t| t.minibatch_size(5000)), "at most the batch of 200 steps"),
        (config().training(|t| t.lr(-1.0)), "`lr` is -1, but"),
        (config().training(|t| t.entropy_coeff(-0.1)), "`entropy_coeff` is -0.1, but"),
        (config().training(|t| t.grad_clip(0.0)), "`grad_clip` is 0"),
        (config().env_runners(|e| e.num_envs_per_env_runner(0)), "`num_envs_per_env_runner` is 0"),
        (config().environment("CartPole-v7"), "CartPole-v7"),
        (config().model("fcnet_hidden", 3), "unknown field `fcnet_hidden`"),
        (config().env_config(EnvConfig::new().with("gravity", 1.0)), "gravity"),
    ];
    for (config, expected) in cases {
        let message = message(config);
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
}

#[test]
fn configurations_are_data_and_refuse_unknown_keys() {
    let json = serde_json::to_string(&config()).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config());
    assert_eq!(PpoConfig::from_json("{}").unwrap(), PpoConfig::new());
    for bad in [
        r#"{"trainin": {}}"#,
        r#"{"training": {"gama": 0.9}}"#,
        r#"{"env_runners": {"rollout_fragment_length": "sometimes"}}"#,
    ] {
        let message = PpoConfig::from_json(bad).unwrap_err().to_string();
        assert!(message.starts_with("config: "), "{message}");
    }
}

#[test]
fn updates_that_are_not_finite_are_skipped_counted_and_leave_the_weights_finite() {
    // An infinite learning signal: the value loss of a huge target overflows.
    let config = config().training(|t| t.vf_clip_param(f64::INFINITY).vf_loss_coeff(f64::MAX));
    let mut algo = config.build(&device()).unwrap();
    let before = algo.module("default_policy").unwrap().state_dict().unwrap();
    let result = algo.train().unwrap();
    let skipped = result.get("learners/default_policy/num_non_finite_updates_lifetime");
    assert_eq!(skipped, Some(8.0));
    assert_eq!(algo.module("default_policy").unwrap().state_dict().unwrap(), before);
}
