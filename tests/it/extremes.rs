//! Settings and names at the edge of what numbers, memory and file systems hold.

use crate::scripted;
use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde_json::{Value, json};

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn spaces() -> [Space; 2] {
    [Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap()]
}

fn env(id: &'static str) {
    scripted::env(id, spaces(), |t, _, mut observation| {
        observation.write_f32(&[t as f32 / 5.0 - 1.0])?;
        Ok(Step { reward: (t % 3) as f64, terminated: t == 10, truncated: false })
    });
}

fn ppo(id: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(id)
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(20).minibatch_size(None).num_epochs(1))
        .seed(0)
}

fn refused(config: &PpoConfig, parts: &[&str]) {
    let message = config.build(&device()).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert!(message.len() < 600, "{message}");
}

/// Returns the configuration with one setting as in JSON.
fn with(config: &PpoConfig, section: &str, field: &str, value: Value) -> PpoConfig {
    let mut json = serde_json::to_value(config).unwrap();
    json[section][field] = value;
    PpoConfig::from_json(&json.to_string()).unwrap()
}

#[test]
fn infinite_settings_that_json_cannot_hold_are_refused() {
    env("test/Infinite-v0");
    let config = || ppo("test/Infinite-v0");
    let infinity = f64::INFINITY;
    refused(&config().training(|t| t.clip_param(infinity)), &["`clip_param` is inf", "finite"]);
    refused(&config().training(|t| t.kl_target(infinity)), &["`kl_target` is inf", "finite"]);
    refused(&config().training(|t| t.target_kl(infinity)), &["`target_kl` is inf", "finite"]);
    let bound = Some(f32::INFINITY);
    for (de_mean_to_zero, de_std_to_one) in [(true, true), (false, false)] {
        let filter =
            ConnectorConfig::MeanStdFilter { de_mean_to_zero, de_std_to_one, clip_by_value: bound };
        let config = config().env_runners(|e| e.env_to_module_connector(filter.clone()));
        refused(&config, &["clip_by_value", "finite"]);
    }
    // What is accepted survives a checkpoint.
    let config = config().training(|t| t.vf_clip_param(infinity));
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let restored = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    assert_eq!(restored.config(), algo.config());
}

#[test]
fn an_environment_setting_that_became_null_says_why() {
    let config = EnvConfig::new().with("g", f64::INFINITY);
    let message = config.get_f64("g").unwrap_err().to_string();
    for part in ["`g`", "finite number", "an infinity and a NaN become in JSON"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    let null = EnvConfig::new().with("s", Value::Null);
    assert!(!null.get_str("s").unwrap_err().to_string().contains("NaN"));
}

#[test]
fn settings_that_single_precision_cannot_hold_are_refused() {
    env("test/Single-v0");
    let config = ppo("test/Single-v0");
    for (field, value) in [
        ("clip_param", 1e-60),
        ("vf_clip_param", 1e-60),
        ("target_kl", 1e-60),
        ("kl_target", 1e-60),
        ("grad_clip", 1e-60),
        ("grad_clip", 1e300),
        ("vf_loss_coeff", 1e39),
        ("vf_loss_coeff", 1e300),
        ("kl_coeff", 1e39),
        ("clip_param", 1e39),
    ] {
        let config = with(&config, "training", field, json!(value));
        let shown = format!("`{field}` is {value:e}");
        refused(&config, &[&shown, "in single precision"]);
    }
    let mut largest = config.training(|t| t.clip_param(1e38).vf_clip_param(1e-30).grad_clip(1e38));
    largest = largest.training(|t| t.kl_coeff(1e-300));
    largest.build(&device()).unwrap().train().unwrap();
}

#[test]
fn time_limits_that_no_clock_measures_are_refused_in_few_digits() {
    env("test/Clock-v0");
    let config = ppo("test/Clock-v0");
    for seconds in [1e300, 1e-300, 0.0, -1.0] {
        for (section, field) in
            [("evaluation", "evaluation_sample_timeout_s"), ("fault_tolerance", "sample_timeout_s")]
        {
            let config = with(&config, section, field, json!(seconds));
            refused(&config, &[&format!("`{field}` is "), "a number of seconds"]);
        }
    }
}

#[test]
fn sizes_that_memory_cannot_hold_are_refused() {
    env("test/Huge-v0");
    let config = ppo("test/Huge-v0");
    let batch = with(&config, "training", "train_batch_size", json!(u64::MAX));
    refused(&batch, &["`train_batch_size` is 18446744073709551615", "at most 2147483647"]);
    for (field, value, part) in [
        ("fcnet_hiddens", json!([1_000_000_000_000_u64]), "at most 65536 units"),
        ("fcnet_hiddens", json!([4, 100_000]), "at most 65536 units"),
        ("vf_fcnet_hiddens", json!([60_000, 60_000]), "at most 2147483647 weights"),
        ("head_fcnet_hiddens", json!([u64::MAX]), "at most 65536 units"),
    ] {
        refused(&with(&config, "model_config", field, value), &[field, part]);
    }
    let recurrent = config.model("use_lstm", true);
    refused(
        &recurrent.clone().model("lstm_cell_size", 1_u64 << 40),
        &["lstm_cell_size", "at most"],
    );
    refused(&recurrent.model("recurrent_num_layers", 1_u64 << 40), &["recurrent_num_layers"]);
    let clipped = ppo("test/Huge-v0").model("log_std_clip_param", 1e-60);
    refused(&clipped, &["log_std_clip_param", "positive"]);
}

#[test]
fn a_batch_is_at_least_a_step_of_every_environment() {
    env("test/ManyEnvs-v0");
    let many = |steps| {
        ppo("test/ManyEnvs-v0")
            .env_runners(|e| e.num_env_runners(5).num_envs_per_env_runner(20))
            .training(|t| t.train_batch_size(steps))
    };
    let parts =
        ["`num_envs_per_env_runner` is 20", "100 steps for a batch of 64", "raise `train_b"];
    refused(&many(64), &parts);
    let result = many(100).build(&device()).unwrap().train().unwrap();
    assert_eq!(result.get("env_runners/num_env_steps_sampled"), Some(100.0));
    // Complete episodes have their own length.
    let complete = many(64).env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes));
    complete.build(&device()).unwrap();
}

/// Registers a game of ten steps.
fn game(id: &'static str, agents: &[&str]) {
    let [observations, actions] = spaces();
    let spec = |id: &&str| AgentSpec::new(*id, observations.clone(), actions.clone());
    scripted::game_of(id, agents.iter().map(spec).collect(), |t, out| {
        for agent in 0..out.num_agents() {
            out.observe(agent)?.write_f32(&[t as f32])?;
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
}

#[test]
fn a_fragment_of_agent_steps_is_at_most_the_batch() {
    game("test/Fragments-v0", &["a", "b"]);
    for by in [CountStepsBy::EnvSteps, CountStepsBy::AgentSteps] {
        let config = |steps: usize| {
            ppo("test/Fragments-v0")
                .env_runners(|e| e.rollout_fragment_length(steps))
                .multi_agent(|m| m.count_steps_by(by))
        };
        refused(&config(50), &["`rollout_fragment_length` is 50", "50 steps for a batch of 20"]);
        config(20).build(&device()).unwrap();
    }
}

#[test]
fn ids_of_agents_are_unique_and_can_name_metrics() {
    for (id, agents, part) in [
        ("test/Twins-v0", ["x", "x"], "two agents have this id"),
        ("test/Nameless-v0", ["", "b"], "must not be empty"),
        ("test/Slash-v0", ["x", "x/y"], "must not contain a slash"),
        ("test/Control-v0", ["x", "y\n"], "must not contain a slash or control characters"),
    ] {
        game(id, &agents);
        refused(&ppo(id).multi_agent(|m| m), &[id, "invalid agent id", part]);
    }
    game("test/OddIds-v0", &["a b", "ü.1"]);
    let mut algo = ppo("test/OddIds-v0").multi_agent(|m| m).build(&device()).unwrap();
    algo.train().unwrap();
}

#[test]
fn ids_of_modules_that_no_checkpoint_can_hold_are_refused_when_the_algorithm_is_built() {
    game("test/ModuleIds-v0", &["p", "q"]);
    let named = |id: &str| {
        let table = [("p", id), ("q", "b")].map(|(a, m)| (a.to_string(), m.to_string()));
        ppo("test/ModuleIds-v0").multi_agent(|m| {
            m.policies([id, "b"]).policy_mapping(PolicyMapping::Table(table.into()))
        })
    };
    for id in ["m".repeat(256).as_str(), "con", "state.json", "LPT1.x", "a/b", ""] {
        refused(&named(id), &["invalid module id"]);
    }
    let longest = "m".repeat(255);
    let mut algo = named(&longest).build(&device()).unwrap();
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("saved")).unwrap();
}

/// Answers with inputs of a distribution in all but every fourth pass, in which it chooses itself.
#[derive(Module, Debug)]
struct Moody {
    logits: Mlp,
}

impl RLModule for Moody {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { logits: cx.mlp(1, &[], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.float::<2>(Columns::OBS)?;
        let rows = obs.dims()[0];
        // The observation is the time step.
        let first = rekindle::core::any_tensor::to_f32(obs.clone())?[0];
        if first as usize % 4 == 3 {
            let actions = Tensor::<1, Int>::zeros([rows], &obs.device());
            return Ok(Batch::new().with(Columns::ACTIONS, actions));
        }
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, self.logits.forward(obs)))
    }

    fn type_name() -> String {
        "tests.Moody".into()
    }
}

#[test]
fn a_column_of_some_steps_is_an_error_that_names_the_module() {
    scripted::env("test/Moody-v0", spaces(), |t, _, mut observation| {
        observation.write_f32(&[t as f32])?;
        Ok(Step { reward: 1.0, terminated: t == 10, truncated: false })
    });
    let sample = |steps| {
        let config = EnvRunnerConfig::new("test/Moody-v0").num_envs(2);
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device()).unwrap();
        let [observations, actions] = spaces();
        let spec =
            RLModuleSpec::of::<Moody>().observation_space(observations).action_space(actions);
        runner.set_module(&spec.build(&device()).unwrap(), PublishedAt::default()).unwrap();
        runner.sample(Amount::Timesteps(steps), SampleOptions::default())
    };
    let rollout = sample(6).unwrap();
    assert_eq!(rollout.extras[Columns::ACTION_LOGP].rows(), 6);
    let message = sample(8).unwrap_err().to_string();
    for part in ["`tests.Moody`", "`action_dist_inputs`", "in some steps and not in others"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn a_bundle_has_no_actions_for_no_observations() {
    let [observations, actions] = spaces();
    for model in [json!({"fcnet_hiddens": [4]}), json!({"use_lstm": true, "lstm_cell_size": 4})] {
        let spec = RLModuleSpec::default()
            .observation_space(observations.clone())
            .action_space(actions.clone())
            .model_config(model);
        let module = spec.build(&device()).unwrap();
        let config = BundleConfig::new(observations.clone(), actions.clone());
        let mut bundle = PolicyBundle::new(module, config, &device()).unwrap();
        let two = Buffer::from_f32(vec![0.5, -0.5], &[1]).unwrap();
        let none = two.slice(0..0).unwrap();
        for explore in [false, true] {
            assert_eq!(bundle.compute_actions(&two, true).unwrap().rows(), 2);
            assert_eq!(bundle.compute_actions(&none, explore).unwrap().rows(), 0);
            assert!(bundle.action_logp().is_empty());
        }
        let no_actions = Buffer::zeros(&actions, 0);
        assert!(bundle.compute_log_likelihoods(&none, &no_actions).unwrap().is_empty());
        assert_eq!(bundle.compute_actions(&two, false).unwrap().rows(), 2);
        let folder = tempfile::tempdir().unwrap();
        let saved = bundle.save_with_test_observations(folder.path().join("bundle"), &none);
        let message = saved.unwrap_err().to_string();
        assert!(message.contains("at least one observation"), "{message}");
    }
}
