//! What an update learns from and reports: early stops, and experience of modules that were replaced.

use crate::scripted;
use crate::support;
use rekindle::algorithms::appo::AppoLoss;
use rekindle::algorithms::impala::ImpalaLoss;
use rekindle::algorithms::ppo::PpoLoss;
use rekindle::algorithms::{AppoTraining, ImpalaTraining};
use rekindle::env_runner::Rollout;
use rekindle::prelude::*;
use serde_json::json;

fn device() -> burn::prelude::Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// Registers a game of ten steps with the agents `a` and `b`, in which later steps pay more.
fn game(id: &'static str) {
    scripted::game(id, &[("a", 1), ("b", 1)], |t, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[t as f32 / 5.0 - 1.0])?;
            if t > 0 {
                out.add_reward(agent, (t % 3) as f64)?;
            }
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
}

fn ppo(id: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(id)
        .model("fcnet_hiddens", vec![4])
        .multi_agent(|m| m.policies(["a", "b"]).policy_mapping(PolicyMapping::ByAgent))
        .training(|t| t.train_batch_size(50).num_epochs(20).lr(0.05).kl_target(1e-3))
        .seed(0)
}

#[test]
fn the_minibatch_that_ends_an_update_counts_for_the_kl_coefficient() {
    game("test/EarlyStop-v0");
    // The minibatch that ends the update has a divergence above 0.015, its epoch one above 0.003.
    for minibatch in [None, Some(10)] {
        let config =
            ppo("test/EarlyStop-v0").training(|t| t.minibatch_size(minibatch).target_kl(0.01));
        let result = config.build(&device()).unwrap().train().unwrap();
        for id in ["a", "b"] {
            let of = |key: &str| result.get(&format!("learners/{id}/{key}"));
            assert_eq!(of("num_early_stops_lifetime"), Some(1.0), "{id} {minibatch:?}");
            let coeff = of("curr_kl_coeff").unwrap();
            assert!((coeff - 0.3).abs() < 1e-9, "{id} {minibatch:?}: {coeff}");
        }
    }
}

#[test]
fn a_module_that_stops_early_reports_its_own_last_minibatches() {
    game("test/OneStops-v0");
    let config = ppo("test/OneStops-v0")
        .training(|t| t.minibatch_size(10))
        .multi_agent(|m| m.override_module("a", "target_kl", 1e-7));
    let result = config.build(&device()).unwrap().train().unwrap();
    let of = |id: &str, key: &str| result.get(&format!("learners/{id}/{key}"));
    assert_eq!(of("a", "num_early_stops_lifetime"), Some(1.0));
    assert_eq!(of("b", "num_early_stops_lifetime"), None);
    // `a` stopped with its second minibatch, and `b` learned for 20 epochs.
    assert_eq!(of("a", "num_module_steps_trained_lifetime"), Some(10.0));
    assert_eq!(of("b", "num_module_steps_trained_lifetime"), Some(1000.0));
    assert!(of("a", "mean_kl_loss").unwrap() > 0.0);
    assert!(of("a", "curr_kl_coeff").is_some() && of("b", "curr_kl_coeff").is_some());
}

/// A rollout of six steps with the outputs that PPO reads, recorded with these weights.
fn recorded(space: &Space, weights_seq_no: u64) -> Rollout {
    let mut rollout = support::experience(space, 2, 6, 0).remove(0);
    rollout.weights_seq_no = weights_seq_no;
    let columns = [
        (Columns::ACTION_DIST_INPUTS, Buffer::from_f32(vec![0.0; 12], &[2])),
        (Columns::ACTION_LOGP, Buffer::from_f32(vec![-0.7; 6], &[])),
    ];
    rollout.extras = columns.map(|(name, column)| (name.to_owned(), column.unwrap())).into();
    rollout
}

#[test]
fn experience_without_the_columns_of_a_new_module_is_left_out_and_counted() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let network = || {
        RLModuleSpec::default()
            .observation_space(space.clone())
            .action_space(Space::discrete(2).unwrap())
            .model_config(json!({"fcnet_hiddens": [8]}))
            .build(&device())
            .unwrap()
    };
    type NewLoss = fn(&str) -> Box<dyn Loss>;
    let learner = |loss: NewLoss| {
        let modules = network().as_multi_rl_module().unwrap();
        Learner::new(LearnerConfig::default(), loss, modules, &device()).unwrap()
    };
    let losses: [(_, NewLoss); 3] = [
        ("action_dist_inputs", |_| Box::new(PpoLoss::new(PpoTraining::default()))),
        ("action_logp", |_| Box::new(ImpalaLoss::new(ImpalaTraining::default()))),
        ("action_logp", |_| Box::new(AppoLoss::new(AppoTraining::default()))),
    ];
    // Six steps of a late runner whose module returned actions alone.
    let late = |weights_seq_no| {
        let mut rollout = recorded(&space, weights_seq_no);
        rollout.extras.clear();
        rollout
    };
    let of = |rollouts: Vec<Rollout>| support::data(&[(DEFAULT_MODULE_ID, rollouts)]);
    for (column, loss) in losses {
        let mut other = learner(loss);
        let message = other.update(&of(vec![late(0)]), 0).unwrap_err().to_string();
        assert!(message.contains(&format!("no column `{column}`")), "{message}");

        let mut replaced = learner(loss);
        replaced.add_module(DEFAULT_MODULE_ID, network(), true).unwrap();
        let before = support::weights(&replaced, DEFAULT_MODULE_ID);
        for rollouts in [vec![late(0), recorded(&space, 0)], vec![recorded(&space, 0), late(0)]] {
            replaced.update(&of(rollouts), 0).unwrap();
            let metrics = support::metrics(&mut replaced);
            let key = "learner/default_policy/num_rows_of_replaced_modules_lifetime";
            assert_eq!(metrics.get(key), Some(6.0));
        }
        assert_ne!(support::weights(&replaced, DEFAULT_MODULE_ID), before);
        // What the new module records has to have the columns.
        let message = replaced.update(&of(vec![late(1)]), 0).unwrap_err().to_string();
        assert!(message.contains(&format!("no column `{column}`")), "{message}");
    }
}

#[test]
fn open_actions_of_greedy_and_random_calls_are_left_out_of_the_update() {
    use rekindle::env_runner::{EnvRunner, MultiAgentConfig, MultiAgentEnvRunner};
    // Ten steps in which the agents take turns: an action is always open.
    scripted::game("test/Turns-v0", &[("a", 1), ("b", 1)], |t, out| {
        out.observe(t % 2)?.write_f32(&[t as f32 / 10.0])?;
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let policy_mapping = PolicyMapping::All("p".into());
    let multi_agent = Some(MultiAgentConfig::default().policy_mapping(policy_mapping));
    let config = EnvRunnerConfig::new("test/Turns-v0").multi_agent(multi_agent);
    for first in [SampleOptions::greedy(), SampleOptions::random()] {
        let mut runner = MultiAgentEnvRunner::new(config.clone(), 0, &device()).unwrap();
        let (id, (observations, actions)) = runner.module_spaces().pop_first().unwrap();
        let spec = RLModuleSpec::default().observation_space(observations).action_space(actions);
        let mut modules = MultiRLModule::new();
        modules.add_module(id, spec.build(&device()).unwrap(), false).unwrap();
        runner.set_modules(&modules, PublishedAt::default()).unwrap();
        runner.collect(Amount::Timesteps(5), first).unwrap();
        let experience = runner.collect(Amount::Timesteps(5), SampleOptions::default()).unwrap();
        let rollouts = &experience.rollouts["p"];
        let open: usize = rollouts.iter().skip(1).map(Rollout::env_steps).sum();
        assert_eq!((rollouts.len(), open), (2, 1), "the action that waited for its outcome");
        let loss = |_: &str| -> Box<dyn Loss> { Box::new(PpoLoss::new(PpoTraining::default())) };
        let mut learner = Learner::new(LearnerConfig::default(), loss, modules, &device()).unwrap();
        learner.update(&experience.rollouts, 0).unwrap();
        let metrics = support::metrics(&mut learner);
        let of = |key: &str| metrics.get(&format!("learner/p/{key}"));
        assert_eq!(of("num_rows_of_replaced_modules_lifetime"), Some(1.0));
        let rows = rollouts[0].env_steps() as f64;
        assert_eq!(of("num_module_steps_trained_lifetime"), Some(rows));
    }
}

#[test]
fn columns_that_some_rollouts_lack_and_no_loss_requires_are_not_gathered() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let module = RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(2).unwrap())
        .build(&device())
        .unwrap();
    let mut learner =
        support::learner(LearnerConfig::default(), module.as_multi_rl_module().unwrap());
    let mut lacking = recorded(&space, 0);
    lacking.extras.remove(Columns::ACTION_LOGP);
    let rollouts = support::data(&[(DEFAULT_MODULE_ID, vec![recorded(&space, 0), lacking])]);
    let data = learner.gather(&rollouts).unwrap().remove(DEFAULT_MODULE_ID).unwrap();
    assert_eq!(data.rows(), 12);
    assert!(data.contains(Columns::ACTION_DIST_INPUTS));
    assert!(!data.contains(Columns::ACTION_LOGP));
}

#[test]
fn experience_of_a_module_that_was_replaced_is_left_out_and_counted() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let module = RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(2).unwrap())
        .model_config(json!({"use_lstm": true, "lstm_cell_size": 4, "fcnet_hiddens": [8]}))
        .build(&device())
        .unwrap();
    let module = module.as_multi_rl_module().unwrap();
    let mut learner = support::learner(LearnerConfig::default(), module);
    let before = support::weights(&learner, DEFAULT_MODULE_ID);
    // Six steps of a feed-forward module.
    let rollouts = support::experience(&space, 2, 6, 0);
    learner.update(&support::data(&[(DEFAULT_MODULE_ID, rollouts)]), 0).unwrap();
    assert_eq!(support::weights(&learner, DEFAULT_MODULE_ID), before);
    let metrics = support::metrics(&mut learner);
    for (key, value) in [
        ("default_policy/num_rows_of_replaced_modules_lifetime", 6.0),
        ("default_policy/num_updates_without_rows_lifetime", 1.0),
        ("__all_modules__/num_updates_without_rows_lifetime", 1.0),
    ] {
        assert_eq!(metrics.get(&format!("learner/{key}")), Some(value), "{key}");
    }
}

#[test]
fn late_experience_of_a_module_that_was_removed_is_counted_and_the_others_learn() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let network = || {
        RLModuleSpec::default()
            .observation_space(space.clone())
            .action_space(Space::discrete(2).unwrap())
            .model_config(json!({"fcnet_hiddens": [4]}))
            .build(&device())
            .unwrap()
    };
    let mut modules = MultiRLModule::new();
    modules.add_module("a", network(), false).unwrap();
    modules.add_module("b", network(), false).unwrap();
    let mut learner = support::learner(LearnerConfig::default(), modules);
    let rows = || support::experience(&space, 2, 6, 0);
    let both = support::data(&[("a", rows()), ("b", rows())]);
    learner.update(&both, 0).unwrap();
    learner.remove_module("b").unwrap();
    support::metrics(&mut learner);
    let before = support::weights(&learner, "a");
    learner.update(&both, 0).unwrap();
    assert_ne!(support::weights(&learner, "a"), before);
    let metrics = support::metrics(&mut learner);
    let of = |key: &str| metrics.get(&format!("learner/{key}"));
    assert_eq!(of("b/num_rows_of_replaced_modules_lifetime"), Some(6.0));
    assert_eq!(of("a/num_module_steps_trained"), Some(6.0));
    // A module that never was there is a mistake.
    let message = learner.update(&support::data(&[("c", rows())]), 0).unwrap_err().to_string();
    assert!(message.contains("`c`"), "{message}");
}
