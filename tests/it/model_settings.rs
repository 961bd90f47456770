//! Settings of models and action distributions, through an algorithm.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::{Deterministic, SquashedGaussian};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::Deserialize;
use serde_json::{Value, json};

fn cpu() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn config(env: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(2))
        .seed(0)
}

/// Distributions that replace the default one of every Box.
#[derive(Debug, Clone, Copy)]
enum Boxes {
    Squashed,
    Deterministic,
}

impl Catalog for Boxes {
    fn action_distribution(
        &self,
        space: &Space,
    ) -> rekindle::catalog::Result<Arc<dyn Distribution>> {
        let Space::Box(b) = space else { return self.default_action_distribution(space) };
        Ok(match self {
            // The runner scales actions from [−1, 1] to the bounds of the space.
            Self::Squashed => {
                Arc::new(SquashedGaussian::new(vec![-1.0; b.size()], vec![1.0; b.size()])?)
            }
            Self::Deterministic => Arc::new(Deterministic::new(b.size())),
        })
    }
}

#[test]
fn ppo_trains_with_a_squashed_gaussian() {
    let spec = RLModuleSpec::default().catalog(Boxes::Squashed);
    let config = config("Pendulum-v1")
        .rl_module(spec)
        .model("fcnet_hiddens", vec![8])
        .model("free_log_std", true)
        .training(|t| t.entropy_coeff(0.01));
    let mut algo = config.build(&cpu()).unwrap();
    let before = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let result = algo.train().unwrap();
    for key in ["policy_loss", "entropy", "mean_kl_loss"] {
        let key = format!("learners/default_policy/{key}");
        assert!(result.get(&key).is_some_and(f64::is_finite), "{key}: {result}");
    }
    // The entropy is below ln 2, the entropy of the uniform distribution over [−1, 1].
    let entropy = result.get("learners/default_policy/entropy").unwrap();
    assert!(entropy > 0.5 && entropy < 0.6932, "{entropy}");
    let after = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert_ne!(after["pi.log_std"], before["pi.log_std"]);
}

#[test]
fn a_distribution_without_an_entropy_is_refused_when_ppo_is_built() {
    let spec = RLModuleSpec::default().catalog(Boxes::Deterministic);
    let error = config("Pendulum-v1").rl_module(spec).build(&cpu()).unwrap_err().to_string();
    assert!(error.contains("Deterministic has no entropy; choose another"), "{error}");
}

#[test]
fn the_sizes_of_mlps_may_be_set_for_an_environment_of_images() {
    let algo = config("Catch-v0").model("fcnet_hiddens", vec![8]).build(&cpu()).unwrap();
    // The module records the settings that it uses, so that it restores anywhere.
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(module.spec().get_model_config().get("fcnet_hiddens"), None);
    let state = module.get_state().unwrap();
    let restored = AnyRLModule::from_state(&state, &cpu()).unwrap();
    assert_eq!(restored.state_dict().unwrap(), module.state_dict().unwrap());
}

#[test]
fn other_settings_that_no_module_uses_are_refused() {
    for (env, field, value) in [
        ("CartPole-v1", "conv_filters", json!([[8, 4, 2]])),
        ("CartPole-v1", "log_std_clip_param", json!(1.0)),
        ("CartPole-v1", "head_fcnet_activation", json!("tanh")),
        ("Catch-v0", "fusionnet_hiddens", json!([8])),
    ] {
        let error = config(env).model(field, value).build(&cpu()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}` does not apply")), "{error}");
    }
    let error = config("CartPole-v1")
        .model("fcnet_hiddens", Vec::<usize>::new())
        .model("fcnet_activation", "relu")
        .build(&cpu())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`fcnet_activation` does not apply"), "{error}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearConfig {
    fcnet_hiddens: Vec<usize>,
}

/// A policy without a value function, with its own type of model config.
#[derive(Module, Debug)]
struct Policy {
    policy: Mlp,
}

impl RLModule for Policy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let config: LinearConfig = cx.model_config()?;
        let logits = cx.action_space().as_discrete()?.n();
        let inputs = cx.observation_space().flat_dim();
        Ok(Self { policy: cx.mlp(inputs, &config.fcnet_hiddens, logits) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// A policy without settings or parameters.
#[derive(Module, Debug)]
struct AlwaysLeft;

impl RLModule for AlwaysLeft {
    fn setup(_: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self)
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let observations = batch.float::<2>(Columns::OBS)?;
        let actions = Tensor::<1, Int>::zeros([observations.dims()[0]], &observations.device());
        Ok(Batch::new().with(Columns::ACTIONS, actions))
    }
}

/// Two agents of CartPole, with a module each.
fn two_agents(specs: MultiRLModuleSpec) -> PpoConfig {
    let ids: Vec<_> = specs.rl_module_specs.keys().cloned().collect();
    let mapping = [("0", &ids[0]), ("1", &ids[ids.len() - 1])];
    let mapping = mapping.map(|(agent, id)| (agent.into(), id.clone()));
    config("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| {
            m.policy_mapping(PolicyMapping::Table(mapping.into()))
                .policies(ids)
                .policies_to_train(["a"])
                .rl_module_specs(specs)
        })
        .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.use_critic(false))
}

#[test]
fn missing_settings_of_custom_modules_are_filled_in_from_the_configuration() {
    let own = RLModuleSpec::of::<Policy>().model_config(json!({"fcnet_hiddens": [3]}));
    let specs = MultiRLModuleSpec::new([("a", RLModuleSpec::of::<Policy>()), ("b", own)]);
    let config = two_agents(specs).model("fcnet_hiddens", vec![5]);
    let mut algo = config.build(&cpu()).unwrap();
    let width = |id: &str| {
        algo.module(id).unwrap().state_dict().unwrap()["policy.layers.0.weight"].shape()[0]
    };
    assert_eq!((width("a"), width("b")), (5, 3));
    algo.train().unwrap();
}

#[test]
fn a_module_that_reads_no_settings_may_play_beside_one_that_does() {
    let left = RLModuleSpec::of::<AlwaysLeft>();
    let specs = MultiRLModuleSpec::new([("a", RLModuleSpec::of::<Policy>()), ("b", left.clone())]);
    let algo = two_agents(specs).model("fcnet_hiddens", vec![5]).build(&cpu()).unwrap();
    assert_eq!(algo.module("b").unwrap().spec().get_model_config(), &Value::Null);

    let specs = MultiRLModuleSpec::new([("a", left.clone()), ("b", left)]);
    let config = two_agents(specs).model("fcnet_hiddens", vec![5]);
    let error = config.build(&cpu()).unwrap_err().to_string();
    assert!(error.contains("was given a model config"), "{error}");
}

#[test]
fn a_spec_for_a_module_that_nobody_plays_is_named() {
    let specs = MultiRLModuleSpec::new([("playr1", RLModuleSpec::default())]);
    let error = config("MultiAgentCartPole-v1")
        .multi_agent(|m| m.rl_module_specs(specs))
        .build(&cpu())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`playr1`"), "{error}");
}

#[test]
fn a_module_built_outside_with_the_algorithms_settings_fits_inside() {
    let config = config("CartPole-v1").model("fcnet_activation", "relu");
    let env = make("CartPole-v1").unwrap();
    let narrow = config.model_config_with([("fcnet_hiddens", json!([8]))]);
    let module = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(narrow)
        .build(&cpu())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module");
    module.save_to_path(&path).unwrap();
    let mut algo = config.model("fcnet_hiddens", vec![8]).build(&cpu()).unwrap();
    algo.restore_component(&path, "learner/rl_module/default_policy").unwrap();
    let inside = algo.module(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(inside.state_dict().unwrap(), module.state_dict().unwrap());
}

/// A module with two named states of different shapes: a count of steps, and the last observations.
#[derive(Module, Debug)]
struct Remembers {
    policy: Mlp,
    value: Mlp,
}

const STEPS: &str = "steps";
const RECENT: &str = "recent";

impl Remembers {
    /// Features of each step `[S·T, 13]`, and the states after the last step of each sequence.
    fn features(&self, batch: &Batch) -> ModuleResult<(Tensor<2>, Batch)> {
        let states = batch.nested(Columns::STATE_IN)?;
        let (mut steps, mut recent) = (states.float::<2>(STEPS)?, states.float::<3>(RECENT)?);
        let observations = batch.float::<2>(Columns::OBS)?;
        let ([rows, width], [sequences, _]) = (observations.dims(), steps.dims());
        let observations = observations.reshape([sequences, rows / sequences, width]);
        let mut features = Vec::new();
        for t in 0..rows / sequences {
            let now = observations.clone().narrow(1, t, 1);
            let seen = Tensor::cat(vec![recent.clone(), now.clone()], 1);
            let all = Tensor::cat(vec![seen.clone().flatten::<2>(1, 2), steps.clone() * 0.01], 1);
            features.push(all);
            recent = seen.narrow(1, 1, 2);
            steps = steps + 1.0;
        }
        let features = Tensor::stack::<3>(features, 1).reshape([rows, 3 * width + 1]);
        Ok((features, Batch::new().with(STEPS, steps).with(RECENT, recent)))
    }
}

impl RLModule for Remembers {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let logits = cx.action_space().as_discrete()?.n();
        let features = 3 * cx.observation_space().flat_dim() + 1;
        Ok(Self { policy: cx.mlp(features, &[8], logits), value: cx.mlp(features, &[8], 1) })
    }

    fn initial_state(&self) -> ModuleResult<Option<Buffer>> {
        let steps = Buffer::zeros(&Space::unbounded(&[1])?, 1);
        let recent = Buffer::zeros(&Space::unbounded(&[2, 4])?, 1);
        Ok(Some(Buffer::from_dict([(STEPS, steps), (RECENT, recent)])?))
    }

    fn max_seq_len(&self) -> usize {
        5
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let (features, states) = self.features(batch)?;
        let logits = self.policy.forward(features);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits).with(Columns::STATE_OUT, states))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Remembers {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(self.value.forward(self.features(batch)?.0).squeeze_dim(1))
    }
}

#[test]
fn a_module_may_have_several_named_states() {
    let spec = RLModuleSpec::of::<Remembers>();
    let mut algo = config("CartPole-v1").rl_module(spec).build(&cpu()).unwrap();
    let result = algo.train().unwrap();
    assert!(result.get("learners/default_policy/total_loss").is_some_and(f64::is_finite));

    let runner = EnvRunnerConfig::new("CartPole-v1").num_envs(2);
    let mut runner = SingleAgentEnvRunner::new(runner, 0, &cpu()).unwrap();
    runner.set_module(algo.module(DEFAULT_MODULE_ID).unwrap(), PublishedAt::default()).unwrap();
    let rollout = runner.sample(Amount::Timesteps(80), SampleOptions::default()).unwrap();
    let states = rollout.states.as_ref().unwrap().state_in.as_dict().unwrap();
    let steps = states[STEPS].as_f32().unwrap();
    let recent = states[RECENT].as_f32().unwrap();
    let observations = rollout.observations.as_f32().unwrap();
    for segment in &rollout.segments {
        let rows: Vec<usize> = segment.rows().collect();
        for (t, &row) in rows.iter().enumerate() {
            assert_eq!(steps[row], t as f32);
            if t > 0 {
                let before = &observations[4 * rows[t - 1]..][..4];
                assert_eq!(&recent[8 * row + 4..][..4], before);
            }
        }
    }
}
