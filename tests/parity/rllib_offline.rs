//! The losses of RLlib's BC, MARWIL, CQL and IQL learners, and their gradients.
//!
//! Recorded by `scripts/parity/record_rllib_offline.py`, which says how the critics of RLlib's modules are built.
//! Noise is that of the same generator on both sides.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle::algorithms::sac::SacLoss;
use rekindle::algorithms::{BcTraining, CqlTraining, IqlTraining, MarwilTraining, TrainingConfig};
use rekindle::prelude::*;
use rekindle::rl_module::SoftActorCritic;
use serde_json::{Value, json};

use crate::ppo_loss::term;
use crate::support::{Recorded, actor_critic, assert_weights_close, cpu, present_gradients};

/// The temperature of the recorded updates.
const LOG_ALPHA: f32 = -0.7;

/// Returns recorded columns, each with its recorded name.
fn batch(recorded: &Recorded, columns: &[(&'static str, &str)]) -> Batch {
    let device = cpu().autodiff();
    let add = |batch: Batch, (column, name): &(&'static str, &str)| {
        batch.with(*column, recorded.tensor(name, &device))
    };
    columns.iter().fold(Batch::new(), add)
}

/// Computes the loss of BC or MARWIL after some minibatches, and checks the gradients.
fn cloned(
    name: &str,
    loss: &mut dyn Loss,
    columns: &[(&'static str, &str)],
    updates: usize,
) -> Losses {
    let (recorded, device) = (Recorded::read(name), cpu().autodiff());
    let names = NameMap::rllib_default_ppo();
    let mut module = actor_critic(json!({ "fcnet_hiddens": [8], "vf_share_layers": false }));
    let state = names.apply(&recorded.part("state")).unwrap();
    let report = module.load_matching(&state).unwrap();
    assert_eq!(report.loaded.len(), state.len());
    let (batch, scalars) = (batch(&recorded, columns), BTreeMap::new());
    let mut rng = Generator::from_seed(0);
    let mut losses = None;
    for _ in 0..updates {
        let at = PrepareContext::new("a", &module, &device);
        let cx = LossContext::new(at, &batch, &scalars, &mut rng);
        losses = Some(loss.compute(&cx).unwrap());
    }
    let losses = losses.unwrap();
    recorded.check("total", losses.total.clone());
    for metric in ["policy_loss", "vf_loss"] {
        if recorded.0.contains_key(metric) {
            recorded.check(metric, term(&losses, metric));
        }
    }
    let expected = names.apply(&recorded.part("grad")).unwrap();
    assert_weights_close(&present_gradients(&module, &mut losses.total.backward()), &expected);
    losses
}

#[test]
fn bcs_loss_and_gradients_are_those_of_rllibs_learner() {
    let mut loss = BcTraining::default().loss();
    cloned("rllib_bc", &mut *loss, &[(Columns::OBS, "obs"), (Columns::ACTIONS, "actions")], 1);
}

#[test]
fn marwils_losses_and_gradients_are_those_of_rllibs_learner() {
    let config = MarwilTraining::default()
        .beta(2.0)
        .vf_coeff(0.7)
        .moving_average_sqd_adv_norm_update_rate(0.1);
    let columns = [
        (Columns::OBS, "obs"),
        (Columns::ACTIONS, "actions"),
        (Columns::VALUE_TARGETS, "value_targets"),
    ];
    let losses = cloned("rllib_marwil", &mut *config.loss(), &columns, 2);
    let average = term(&losses, "moving_average_sqd_adv_norm");
    Recorded::read("rllib_marwil").check("moving_average", average);
}

/// A phase of a loss: its number, the recorded loss, and the prefixes of the parameters that it moves.
type Phase = (usize, &'static str, &'static [&'static str]);

/// Checks the losses and gradients of all phases on the same minibatch and parameters.
fn check(name: &str, model: Value, loss: &mut dyn Loss, phases: &[Phase]) {
    println!("{name}");
    let (recorded, device) = (Recorded::read(name), cpu().autodiff());
    let mut module = RLModuleSpec::of::<SoftActorCritic>()
        .observation_space(Space::unbounded(&[3]).unwrap())
        .action_space(Space::boxed(-1.0, 1.0, &[2]).unwrap())
        .model_config(model)
        .build(&device)
        .unwrap();
    module.load_state_dict(&recorded.part("state")).unwrap();
    let columns = [
        (Columns::OBS, "obs"),
        (Columns::NEXT_OBS, "next_obs"),
        (Columns::ACTIONS, "actions"),
        (Columns::REWARDS, "rewards"),
        (Columns::DISCOUNTS, "discounts"),
    ];
    let batch = batch(&recorded, &columns);
    let log_alpha = Tensor::<1>::from_floats([LOG_ALPHA], &device).require_grad();
    let scalars = BTreeMap::from([(SacLoss::LOG_ALPHA.to_owned(), log_alpha.clone())]);
    let mut rng = Generator::from_seed(7);
    for (phase, expected, prefixes) in phases {
        let at = PrepareContext::new("a", &module, &device);
        let mut cx = LossContext::new(at, &batch, &scalars, &mut rng);
        cx.phase = *phase;
        let total = loss.compute(&cx).unwrap().total;
        recorded.check(expected, total.clone());
        let mut tape = total.backward();
        if prefixes.is_empty() {
            recorded.check("alpha_grad", log_alpha.grad(&tape).unwrap());
            continue;
        }
        let of_phase = |name: &String| {
            let after =
                |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|n| n.starts_with('.'));
            prefixes.iter().any(after)
        };
        let mut expected = recorded.part("grad");
        expected.retain(|name, _| of_phase(name));
        assert!(!expected.is_empty());
        // No other parameter has a gradient.
        assert_weights_close(&present_gradients(&module, &mut tape), &expected);
    }
}

#[test]
fn cqls_losses_and_gradients_are_those_of_rllibs_learner() {
    let phases: [Phase; 3] = [
        (0, "critic_loss", &["qf"]),
        (1, "actor_loss", &["encoder", "pi"]),
        (2, "alpha_loss", &[]),
    ];
    let config = CqlTraining::default().num_actions(3).temperature(1.5).min_q_weight(2.0);
    let model = || json!({ "fcnet_hiddens": [8], "fcnet_activation": "relu" });
    check("rllib_cql", model(), &mut *config.clone().bc_iters(0).loss(), &phases);
    check("rllib_cql_cloning", model(), &mut *config.bc_iters(10).loss(), &phases);
}

#[test]
fn iqls_losses_and_gradients_are_those_of_rllibs_learner() {
    let phases: [Phase; 3] = [
        (0, "value_loss", &["vf"]),
        (1, "critic_loss", &["qf"]),
        (2, "actor_loss", &["encoder", "pi"]),
    ];
    let model = json!({
        "fcnet_hiddens": [8], "fcnet_activation": "relu", "use_value_function": true,
        "squash_policy": true,
    });
    let config = IqlTraining::default().expectile(0.7).beta(3.0);
    check("rllib_iql", model, &mut *config.loss(), &phases);
}
