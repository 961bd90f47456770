//! Every mistake that the examples invite: a custom module, a custom catalog, checkpoints.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::prelude::*;
use rekindle::checkpoint;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::Deserialize;
use serde_json::{Value, json};

/// The mistakes of [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    None,
    Rank,
    Width,
    ForeignColumn,
    NoActions,
    NoDistInputs,
    Logits,
    Values,
}

/// A module with a mistake.
#[derive(Module, Debug)]
struct Policy {
    policy: Mlp,
    value: Mlp,
    #[module(skip)]
    mistake: Mistake,
}

impl Policy {
    fn spec(mistake: Mistake) -> RLModuleSpec {
        RLModuleSpec::from_fn(format!("tests.{mistake:?}"), move |cx| Self::build(cx, mistake))
    }

    fn build(cx: &ModuleContext<'_>, mistake: Mistake) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        let logits = if mistake == Mistake::Logits { actions + 1 } else { actions };
        let inputs = if mistake == Mistake::Width { 8 } else { cx.observation_space().flat_dim() };
        Ok(Self { policy: cx.mlp(inputs, &[], logits), value: cx.mlp(inputs, &[], 1), mistake })
    }
}

impl RLModule for Policy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Self::build(cx, Mistake::None)
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        if self.mistake == Mistake::Rank {
            batch.float::<3>(Columns::OBS)?;
        }
        if self.mistake == Mistake::ForeignColumn {
            batch.float::<2>("goal")?;
        }
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(match self.mistake {
            Mistake::NoActions => Batch::new().with("logits", logits),
            Mistake::NoDistInputs => {
                Batch::new().with(Columns::ACTIONS, logits.argmax(1).squeeze_dim::<1>(1))
            }
            _ => Batch::new().with(Columns::ACTION_DIST_INPUTS, logits),
        })
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }

    fn type_name() -> String {
        "tests.Policy".into()
    }
}

impl ValueFunction for Policy {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        let values = self.value.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1);
        Ok(if self.mistake == Mistake::Values {
            Tensor::cat(vec![values.clone(), values], 0)
        } else {
            values
        })
    }
}

fn cpu() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0)
}

/// Returns the error of building the algorithm or of one training step.
fn answer(config: &PpoConfig) -> String {
    match config.build(&cpu()).and_then(|mut algo| algo.train().map(|_| ())) {
        Ok(()) => "no error".into(),
        Err(error) => error.to_string(),
    }
}

fn assert_says(message: &str, parts: &[&str]) {
    println!("{message}\n");
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn mistakes_in_the_passes_of_a_module() {
    for (mistake, parts) in [
        (Mistake::None, &["no error"][..]),
        (Mistake::Rank, &["column `obs`: expected a float tensor of rank 3, found", ", 4]"]),
        (Mistake::ForeignColumn, &["column `goal` is not in the batch; available: [obs]"]),
        (Mistake::NoActions, &["neither `actions` nor", "only [logits]; return one of them"]),
        (Mistake::NoDistInputs, &["return `action_dist_inputs` from `forward_exploration`"]),
        (Mistake::Logits, &["`action_dist_inputs` with 3 values", "expected", "return one row"]),
        (Mistake::Width, &["forward_exploration", "expected 8, got 4", "built for other inputs"]),
        (Mistake::Values, &["16 values for 8 observations; return one for each"]),
    ] {
        assert_says(&answer(&config().rl_module(Policy::spec(mistake))), parts);
    }
}

#[test]
fn mistakes_in_the_setup_of_a_module() {
    let policy = || Policy::spec(Mistake::None);
    let pendulum = config().environment("Pendulum-v1").rl_module(policy());
    assert_says(&answer(&pendulum), &["Discrete", "Box"]);
    let unread = config().rl_module(policy().model_config(json!({"hidden": 64})));
    assert_says(&answer(&unread), &["`tests.None`", "remove the config, or read it with"]);
    let spaceless = policy().build(&cpu()).unwrap_err().to_string();
    assert_says(
        &spaceless,
        &["no observation_space; set it with `RLModuleSpec::observation_space`"],
    );
    let typo =
        config().rl_module(RLModuleSpec::of::<Configured>().model_config(json!({"hiden": 8})));
    assert_says(&answer(&typo), &["Configured", "unknown field `hiden`; did you mean `hidden`?"]);
    let twice = config().rl_module(policy().model_config(json!({}))).model("hidden", 8);
    assert_says(&answer(&twice), &["`rl_module_spec` has a model config of its own; set only one"]);
}

/// The settings of [`Configured`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    hidden: usize,
}

/// A module with settings, and without a value function.
#[derive(Module, Debug)]
struct Configured {
    policy: Mlp,
}

impl RLModule for Configured {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let Config { hidden } = cx.model_config()?;
        let inputs = cx.observation_space().flat_dim();
        Ok(Self { policy: cx.mlp(inputs, &[hidden], cx.action_space().as_discrete()?.n()) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

#[test]
fn a_role_that_is_missing() {
    let spec = RLModuleSpec::of::<Configured>().model_config(json!({"hidden": 8}));
    let message = answer(&config().rl_module(spec));
    assert_says(&message, &["implement `ValueFunction` for it", "`RLModule::as_value_function`"]);
}

#[test]
fn settings_of_the_default_model() {
    for (field, value, parts) in [
        (
            "fcnet_hidden",
            json!([8]),
            &["unknown field `fcnet_hidden`; did you mean `fcnet_hiddens`"][..],
        ),
        ("fcnet_hiddens", json!("8"), &["invalid type: string"]),
        ("fcnet_hiddens", json!([0]), &["`fcnet_hiddens` is [0], but every layer needs"]),
        (
            "fcnet_activation",
            json!("rellu"),
            &["`fcnet_activation`: unknown variant `rellu`; did you mean `relu`"],
        ),
        (
            "conv_filters",
            json!([[8, 4, 2]]),
            &["`conv_filters` does not apply", "remove the setting"],
        ),
        ("free_log_std", json!(true), &["`free_log_std` does not apply here"]),
        ("max_seq_len", json!(8), &["`max_seq_len` does not apply", "set `use_lstm`"]),
    ] {
        assert_says(&answer(&config().model(field, value)), parts);
    }
}

/// The mistakes of [`MyEncoder`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slip {
    OutputDim,
    Width,
    Kind,
    Part,
}

/// An encoder with a mistake.
#[derive(Module, Debug)]
struct MyEncoder {
    mlp: Mlp,
    #[module(skip)]
    slip: Slip,
}

impl Encoder for MyEncoder {
    fn forward(&self, observations: &Column) -> rekindle::catalog::Result<Tensor<2>> {
        Ok(match self.slip {
            Slip::Kind => self.mlp.forward(observations.tensor()?.int::<2>()?.float()),
            Slip::Part => self.mlp.forward(observations.nested()?.float::<2>("position")?),
            _ => self.mlp.forward(observations.tensor()?.float::<2>()?),
        })
    }

    fn output_dim(&self) -> usize {
        if self.slip == Slip::OutputDim { 64 } else { 32 }
    }
}

/// A catalog whose encoder has a mistake.
#[derive(Debug)]
struct MyCatalog(Slip);

impl Catalog for MyCatalog {
    fn build_encoder(
        &self,
        cx: CatalogContext<'_>,
        _: &Space,
    ) -> rekindle::catalog::Result<BoxEncoder> {
        let inputs = if self.0 == Slip::Width { 8 } else { 4 };
        let mlp = MlpConfig::new(inputs, &[], Some(32)).build(cx.builder);
        Ok(BoxEncoder::new(MyEncoder { mlp, slip: self.0 }))
    }
}

#[test]
fn mistakes_in_the_encoder_of_a_catalog_are_found_when_the_module_is_built() {
    for (slip, parts) in [
        (Slip::OutputDim, &["returns 32 features per row, but its `output_dim` is 64"][..]),
        (Slip::Width, &["`setup` of module", "expected 8, got 4", "built for other inputs"]),
        (Slip::Kind, &["expected an int tensor of rank 2, found a float tensor of shape [1, 4]"]),
        (Slip::Part, &["expected a nested batch, found a float tensor of shape [1, 4]"]),
    ] {
        let spec = RLModuleSpec::default().catalog(MyCatalog(slip));
        let error = config().rl_module(spec).build(&cpu()).unwrap_err();
        assert_says(&error.to_string(), parts);
    }
}

/// The module of a fresh algorithm, saved.
fn saved(folder: &Path) -> Algorithm {
    let config = config().rl_module(Policy::spec(Mistake::None));
    let algo = config.build(&cpu()).unwrap();
    algo.save_to_path(folder.join("algo")).unwrap();
    algo.module(DEFAULT_MODULE_ID).unwrap().save_to_path(folder.join("policy")).unwrap();
    algo
}

#[test]
fn checkpoints_that_are_not_there_or_not_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let mut algo = saved(folder.path());
    let load = |path: &str| {
        let result = AnyRLModule::from_checkpoint(folder.path().join(path), &cpu());
        result.unwrap_err().to_string()
    };
    assert_says(&load("polcy"), &["no checkpoint at", "give the directory that was saved to"]);
    assert_says(&load("algo"), &["is not one of a module", "learner/rl_module/<module_id>"]);

    let policy = folder.path().join("policy");
    let error = Configured::from_checkpoint(&policy, &cpu()).unwrap_err().to_string();
    assert_says(&error, &["holds a module of type `tests.None`, not `", "restore it as that type"]);
    let error = algo.restore_component(&policy, "learner/policy").unwrap_err().to_string();
    assert_says(
        &error,
        &["`learner/policy` is not a component", "`learner/rl_module/<module_id>`"],
    );
    let error = Algorithm::from_checkpoint::<PpoTraining>(&policy, &cpu()).unwrap_err().to_string();
    assert_says(
        &error,
        &["is not the checkpoint of an algorithm", "`Algorithm::restore_component`"],
    );
}

#[test]
fn a_type_or_catalog_that_this_program_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let algo = saved(folder.path());
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    for (field, register) in [
        ("module", "register_module::<YourModule>()"),
        ("catalog", "register_catalog(YourCatalog)"),
    ] {
        let mut state = module.get_state().unwrap();
        state.data[field] = json!("elsewhere::Unknown");
        let path = folder.path().join(field);
        checkpoint::write(&path, &state).unwrap();
        let error = AnyRLModule::from_checkpoint(&path, &cpu()).unwrap_err().to_string();
        assert_says(&error, &["`elsewhere::Unknown` is not registered in this program", register]);
    }
}

#[test]
fn weights_of_another_size_or_name() {
    let module = |hidden: Value| {
        let env = make("CartPole-v1").unwrap();
        RLModuleSpec::default()
            .observation_space(env.observation_space().clone())
            .action_space(env.action_space().clone())
            .model_config(json!({ "fcnet_hiddens": hidden }))
            .build(&cpu())
            .unwrap()
    };
    let mut narrow = module(json!([8]));
    let wide = module(json!([16])).state_dict().unwrap();
    let error = narrow.load_state_dict(&wide).unwrap_err().to_string();
    assert_says(&error, &["has shape [16]", "has [8]", "build the module with the settings"]);
    let deep = module(json!([8, 8])).state_dict().unwrap();
    let error = narrow.load_state_dict(&deep).unwrap_err().to_string();
    assert_says(
        &error,
        &["unexpected [", " encoder.mlp.layers.1.bias", "build the module with the settings"],
    );
}

#[test]
fn damaged_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    let path = folder.path().join("policy");
    let load = || AnyRLModule::from_checkpoint(&path, &cpu()).unwrap_err().to_string();
    let tensors = path.join("tensors.safetensors");
    let bytes = fs::read(&tensors).unwrap();

    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&tensors, flipped).unwrap();
    assert_says(&load(), &["tensors.safetensors", "damaged", "use another copy"]);
    fs::write(&tensors, &bytes[..bytes.len() / 2]).unwrap();
    assert_says(&load(), &["tensors.safetensors", "truncated", "use another copy"]);
    fs::remove_file(&tensors).unwrap();
    assert_says(&load(), &["tensors.safetensors", "is missing", "use another copy"]);
    fs::write(&tensors, bytes).unwrap();
    AnyRLModule::from_checkpoint(&path, &cpu()).unwrap();

    fs::write(path.join("notes.txt"), "precious").unwrap();
    let module = AnyRLModule::from_checkpoint(&path, &cpu()).unwrap();
    let error = module.save_to_path(&path).unwrap_err().to_string();
    assert_says(&error, &["will not save over", "choose another path or move it away"]);
}

/// Two agents with a module each, `player1` and `player2`.
fn players() -> PpoConfig {
    let table = [("0", "player1"), ("1", "player2")].map(|(a, m)| (a.into(), m.into()));
    config()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policy_mapping(PolicyMapping::Table(table.into())))
}

#[test]
fn settings_for_a_module_that_does_not_exist_are_refused_with_the_nearest_name() {
    for listed in [true, false] {
        let config = match listed {
            true => players().multi_agent(|m| m.policies(["player1", "player2"])),
            false => players(),
        };
        assert_says(&answer(&config), &["no error"]);
        let hint = "did you mean `player1`? known: `player1`, `player2`";
        let overrides = config.clone().multi_agent(|m| m.override_module("playr1", "lr", 0.1));
        let field = "`algorithm_config_overrides_per_module` is `playr1`";
        assert_says(&answer(&overrides), &[field, hint]);
        let trained = config.clone().multi_agent(|m| m.policies_to_train(["playr1"]));
        assert_says(&answer(&trained), &["`policies_to_train` is `playr1`", hint]);
        let specs = MultiRLModuleSpec::new([("playr1", RLModuleSpec::default())]);
        let spec = config.clone().multi_agent(|m| m.rl_module_specs(specs));
        assert_says(&answer(&spec), &["`rl_module_specs` is `playr1`", hint]);
    }
}

#[test]
fn policies_and_environments_that_do_not_go_together() {
    let forgotten = config().environment("MultiAgentCartPole-v1");
    let message = answer(&forgotten);
    assert_says(&message, &["`MultiAgentCartPole-v1` has several agents", "multi_agent"]);
    assert!(!message.contains("make_multi_agent"), "{message}");
    let superfluous = config().multi_agent(|m| m);
    assert_says(&answer(&superfluous), &["`CartPole-v1`", "a single agent"]);
    let evaluated = config().evaluation(|e| {
        e.evaluation_interval(1).evaluation_config(|o| o.env("MultiAgentCartPole-v1"))
    });
    assert_says(&answer(&evaluated), &["`MultiAgentCartPole-v1` has several agents"]);
}

#[test]
fn a_policy_bundle_of_several_modules_needs_a_name() {
    let algo = players().build(&cpu()).unwrap();
    let message = algo.policy_bundle().unwrap_err().to_string();
    assert_says(&message, &["`default_policy`", "[player1, player2]", "`policy_bundle_of`"]);
    algo.policy_bundle_of("player2").unwrap();
}

#[test]
fn ppo_without_exploration() {
    let greedy = config().env_runners(|e| e.explore(false));
    assert_says(&answer(&greedy), &["`env_runners.explore` is false", "PPO learns from sampled"]);
}

/// A catalog whose policies are not random.
#[derive(Debug)]
struct Certain;

impl Catalog for Certain {
    fn action_distribution(
        &self,
        _: &Space,
    ) -> rekindle::catalog::Result<std::sync::Arc<dyn Distribution>> {
        Ok(std::sync::Arc::new(rekindle::catalog::Deterministic::new(1)))
    }
}

#[test]
fn a_distribution_that_ppo_cannot_learn_with_is_refused_when_the_algorithm_is_built() {
    let spec = RLModuleSpec::default().catalog(Certain);
    let config = config().environment("Pendulum-v1").rl_module(spec);
    let message = config.build(&cpu()).unwrap_err().to_string();
    assert_says(
        &message,
        &["module `default_policy` cannot learn with the PPO loss", "Deterministic", "entropy"],
    );
}

#[test]
fn values_of_the_wrong_form_in_a_configuration_as_data() {
    let message = |json: &str| PpoConfig::from_json(json).unwrap_err().to_string();
    for (json, expected) in [
        (r#"{"training": {"lr": "fast"}}"#, "a number or a list of points `[step, value]`"),
        (r#"{"training": {"entropy_coeff": {}}}"#, "a number or a list of points"),
        (r#"{"training": {"optimizer": "adam"}}"#, r#"`{"type": "adam"}`"#),
        (
            r#"{"env_runners": {"rollout_fragment_length": "sometimes"}}"#,
            r#""auto" or a number of steps"#,
        ),
        (
            r#"{"env_runners": {"batch_mode": "whole"}}"#,
            "unknown variant `whole`; known: `truncate_episodes`",
        ),
        (
            r#"{"multi_agent": {"count_steps_by": "agents"}}"#,
            "unknown variant `agents`; did you mean `agent_steps`?",
        ),
    ] {
        let message = message(json);
        assert_says(&message, &["config: ", expected]);
        assert!(!message.contains("untagged") && !message.contains("tagged enum"), "{message}");
    }
}
