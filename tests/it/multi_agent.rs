//! Several agents: independent, shared, frozen and heuristic modules, and modules added and removed.

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde_json::json;

use crate::scripted;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn cartpoles() -> PpoConfig {
    PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| {
            t.lr(2e-3)
                .lambda_(0.95)
                .train_batch_size(512)
                .minibatch_size(128)
                .num_epochs(6)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .use_kl_loss(false)
        })
        .seed(2)
}

fn weights(algo: &Algorithm, id: &str) -> rekindle::core::weights::Weights {
    algo.module(id).unwrap().state_dict().unwrap()
}

#[test]
fn two_independent_policies_both_learn() {
    let mut algo = cartpoles().build(&device()).unwrap();
    let mut best = [0.0f64; 2];
    while algo.env_steps() < 30_000 && best.iter().any(|b| *b < 80.0) {
        let result = algo.train().unwrap();
        for (agent, best) in best.iter_mut().enumerate() {
            let key = format!("env_runners/agent_episode_returns_mean/{agent}");
            *best = best.max(result.get(&key).unwrap_or(0.0));
        }
    }
    assert!(best.iter().all(|b| *b >= 80.0), "{best:?}");
    assert_ne!(weights(&algo, "0"), weights(&algo, "1"));
    assert_eq!(algo.evaluate().unwrap().returns.len(), 10);
}

#[test]
fn modules_that_do_not_train_stay_bit_identical() {
    let config = cartpoles().multi_agent(|m| m.policies_to_train(["1"]));
    let mut algo = config.build(&device()).unwrap();
    let before = (weights(&algo, "0"), weights(&algo, "1"));
    algo.train().unwrap();
    assert_eq!(weights(&algo, "0"), before.0);
    assert_ne!(weights(&algo, "1"), before.1);
}

#[test]
fn settings_of_one_module_can_differ() {
    let config = cartpoles().multi_agent(|m| m.override_module("1", "lr", 1e-9));
    let mut algo = config.build(&device()).unwrap();
    let before = [weights(&algo, "0"), weights(&algo, "1")];
    let result = algo.train().unwrap();
    assert_eq!(result.get("learners/1/default_optimizer_learning_rate"), Some(1e-9));
    let moved = |id: usize| -> f32 {
        let after = weights(&algo, &id.to_string());
        let all = before[id].iter().flat_map(|(name, old)| {
            let (old, new) =
                (old.as_slice::<f32>().unwrap(), after[name].as_slice::<f32>().unwrap());
            old.iter().zip(new).map(|(old, new)| (old - new).abs()).collect::<Vec<_>>()
        });
        all.fold(0.0, f32::max)
    };
    assert!(moved(0) > 1e-3 && moved(1) < 1e-6, "{} {}", moved(0), moved(1));

    for (field, value, reason) in [
        ("num_epochs", json!(3), "one for all modules"),
        ("learning_rate", json!(1.0), "unknown field"),
        ("gamma", json!(2.0), "between 0 and 1"),
    ] {
        let config = cartpoles().multi_agent(|m| m.override_module("0", field, value));
        let message = config.build(&device()).unwrap_err().to_string();
        assert!(message.contains("module `0`") && message.contains(reason), "{message}");
    }
}

#[test]
fn modules_come_and_go_while_training_and_checkpoints_know() {
    let mut algo = cartpoles().build(&device()).unwrap();
    algo.train().unwrap();
    // A frozen copy of one policy replaces the other.
    let copy = algo.module("0").unwrap().clone();
    let to_copy =
        PolicyMapping::Table([("0", "0"), ("1", "copy")].map(|(a, m)| (a.into(), m.into())).into());
    let trained = Some(["0".to_string()].into());
    algo.add_module("copy", copy, Some(to_copy), trained).unwrap();
    let copied = weights(&algo, "copy");
    let result = algo.train().unwrap();
    assert!(result.get("env_runners/num_module_steps_sampled/copy").unwrap() > 0.0);
    assert_eq!(weights(&algo, "copy"), copied);
    algo.remove_module("1", None).unwrap();
    assert!(algo.module("1").is_err());
    algo.train().unwrap();

    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("algo")).unwrap();
    let mut restored =
        Algorithm::from_checkpoint::<PpoTraining>(folder.path().join("algo"), &device()).unwrap();
    algo.train().unwrap();
    restored.train().unwrap();
    assert_eq!(weights(&algo, "0"), weights(&restored, "0"));
    assert_eq!(
        algo.get_state().unwrap().components["env_runners"],
        restored.get_state().unwrap().components["env_runners"]
    );

    let message = algo.remove_module("copy", None).unwrap_err().to_string();
    assert!(message.contains("agent `1`") && message.contains("`copy`"), "{message}");
    algo.train().unwrap();
}

#[test]
fn n_plus_n_iterations_equal_2n_with_several_agents() {
    let config = cartpoles()
        .env_runners(|e| {
            e.num_env_runners(2).env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("use_lstm", true)
        .model("lstm_cell_size", 4);
    let mut straight = config.build(&device()).unwrap();
    straight.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    straight.save_to_path(folder.path().join("half")).unwrap();
    straight.train().unwrap();
    let mut resumed =
        Algorithm::from_checkpoint::<PpoTraining>(folder.path().join("half"), &device()).unwrap();
    resumed.train().unwrap();
    for component in ["learner", "env_runners"] {
        let [a, b] = [&straight, &resumed].map(|algo| algo.get_state().unwrap());
        assert_eq!(a.components[component], b.components[component], "{component}");
    }
}

/// Plays the move that beats the opponent's last one: RLlib's heuristic.
#[derive(Module, Debug)]
struct BeatLast {
    moves: usize,
}

impl RLModule for BeatLast {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { moves: cx.action_space().as_discrete()?.n() })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        // Rock, paper, scissors, or no move in the first round.
        let last = batch.int::<1>(Columns::OBS)?;
        let first = last.clone().equal_elem(self.moves as i64);
        let answer = (last + 1).remainder_scalar(self.moves as i64);
        Ok(Batch::new().with(Columns::ACTIONS, answer.mask_fill(first, 0)))
    }
}

#[test]
fn a_learned_policy_beats_a_heuristic() {
    let mapping =
        [("player1", "learned"), ("player2", "heuristic")].map(|(a, m)| (a.into(), m.into()));
    let heuristic = RLModuleSpec::of::<BeatLast>();
    let config = PpoConfig::new()
        .environment("RockPaperScissors-v0")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .multi_agent(|m| {
            m.policies(["learned", "heuristic"])
                .policy_mapping(PolicyMapping::Table(mapping.into()))
                .policies_to_train(["learned"])
                .rl_module_specs(MultiRLModuleSpec::new([("heuristic", heuristic)]))
        })
        .model("fcnet_hiddens", vec![16])
        .model("use_lstm", true)
        .model("lstm_cell_size", 16)
        .training(|t| {
            t.lr(5e-3)
                .train_batch_size(640)
                .minibatch_size(160)
                .num_epochs(6)
                .gamma(0.9)
                .use_kl_loss(false)
        })
        .seed(1);
    let mut algo = config.build(&device()).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < 40_000 && best < 6.0 {
        let result = algo.train().unwrap();
        let key = "env_runners/module_episode_returns_mean/learned";
        best = best.max(result.get(key).unwrap_or(best));
    }
    assert!(best >= 6.0, "won {best} rounds more than it lost, of 10");
}

#[test]
fn names_that_are_nowhere_else_are_refused() {
    let config = cartpoles().multi_agent(|m| m.policies_to_train(["2"]));
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("`policies_to_train` is `2`"), "{message}");
    let single = PpoConfig::new().environment("MultiAgentCartPole-v1");
    let message = single.build(&device()).unwrap_err().to_string();
    assert!(message.contains("MultiAgentCartPole-v1"), "{message}");
}

#[test]
fn an_environment_without_agents_trains_nothing() {
    scripted::game("test/Empty-v0", &[], |t, out| {
        if t == 3 {
            out.terminate_all();
        }
        Ok(())
    });
    let spec = RLModuleSpec::default()
        .observation_space(Space::unbounded(&[1]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    let mut algo = PpoConfig::new()
        .environment("test/Empty-v0")
        .multi_agent(|m| {
            let m = m.policies(["p"]).policy_mapping(PolicyMapping::All("p".into()));
            m.rl_module_specs(MultiRLModuleSpec::new([("p", spec)]))
        })
        .training(|t| t.train_batch_size(20).minibatch_size(None).num_epochs(1))
        .build(&device())
        .unwrap();
    for iteration in 1..=2 {
        let result = algo.train().unwrap();
        assert_eq!(result.get("env_runners/num_env_steps_sampled"), Some(20.0));
        let skipped = result.get("learners/__all_modules__/num_updates_without_rows_lifetime");
        assert_eq!(skipped, Some(f64::from(iteration)));
    }
}
