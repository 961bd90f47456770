//! Updates of DQN, C51 and QR-DQN on recorded transitions: losses, TD errors and gradients of RLlib,
//! Stable-Baselines3 and sb3-contrib, recorded by `scripts/parity/record_dqn.py`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use rekindle::algorithms::dqn::{DqnLoss, TdErrorLoss};
use rekindle::core::AnyTensor;
use rekindle::core::weights::{Weights, state_dict};
use rekindle::learner::Gradients;
use rekindle::learner::replay::TD_ERROR;
use rekindle::prelude::*;
use rekindle::rl_module::QNetwork;
use serde_json::json;

use crate::support::{Recorded, assert_weights_close, cpu};

/// Builds a network of CartPole's spaces with recorded weights.
fn network(weights: &Weights, model_config: serde_json::Value) -> AnyRLModule {
    let mut config = json!({ "fcnet_hiddens": [8, 6], "dueling": false });
    let (all, more) = (config.as_object_mut().unwrap(), model_config.as_object().unwrap());
    all.extend(more.clone());
    let mut module = RLModuleSpec::of::<QNetwork>()
        .observation_space(Space::unbounded(&[4]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .model_config(config)
        .build(&cpu().autodiff())
        .unwrap();
    module.load_state_dict(weights).unwrap();
    module
}

/// Returns the gradients of the main network by name.
fn gradients(module: &AnyRLModule, loss: &Tensor<1>) -> Weights {
    /// Replaces every parameter by its gradient, and those without one by zeros.
    struct Replacer(Gradients);
    impl ModuleMapper for Replacer {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = self.0.remove(param.id).map(|gradient| gradient.into_float().unwrap());
            let zeros = || param.val().inner().zeros_like();
            Param::initialized(param.id, gradient.unwrap_or_else(zeros))
        }
    }
    let gradients = Gradients::take(module, &mut loss.backward());
    let mut weights = state_dict(&module.clone().map(&mut Replacer(gradients))).unwrap();
    weights.retain(|name, gradient| match name.starts_with("target_") {
        false => true,
        true => {
            let zeros = gradient.as_slice::<f32>().unwrap();
            assert!(zeros.iter().all(|gradient| *gradient == 0.0), "{name}");
            false
        }
    });
    weights
}

/// Checks the loss of recorded transitions, its gradients, and the TD errors if they were recorded.
fn check(recorded: &Recorded, module: &AnyRLModule, expected: &Weights, settings: DqnTraining) {
    let device = cpu().autodiff();
    let mut batch = Batch::new();
    for name in ["obs", "new_obs", "actions", "rewards", "discounts", "weights"] {
        if recorded.0.contains_key(name) {
            batch.insert(name, recorded.tensor(name, &device));
        }
    }
    let at = PrepareContext::new("a", module, &device);
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let cx = LossContext::new(at, &batch, &scalars, &mut rng);
    let losses = DqnLoss::new(settings).compute(&cx).unwrap();
    recorded.check("loss", losses.total.clone().inner());
    if recorded.0.contains_key("td_error") {
        let (_, errors) = losses.row_values.iter().find(|(name, _)| *name == TD_ERROR).unwrap();
        recorded.check("td_error", errors.clone().inner());
    }
    assert_weights_close(&gradients(module, &losses.total), expected);
}

#[test]
fn losses_and_gradients_are_those_of_rllibs_learner() {
    let dqn = DqnTraining::default;
    for (name, model_config, settings) in [
        ("rllib_dqn", json!({ "dueling": true }), dqn()),
        ("rllib_dqn_mse", json!({}), dqn().double_q(false).td_error_loss_fn(TdErrorLoss::Mse)),
        (
            "rllib_c51",
            json!({ "num_atoms": 11, "v_min": -4.0, "v_max": 4.0 }),
            dqn().num_atoms(11).v_min(-4.0).v_max(4.0),
        ),
    ] {
        println!("{name}");
        let recorded = Recorded::read(name);
        let module = network(&recorded.part("state"), model_config);
        check(&recorded, &module, &recorded.part("grad"), settings);
    }
}

#[test]
fn the_loss_and_gradients_of_quantiles_are_those_of_sb3_contribs_qr_dqn() {
    let recorded = Recorded::read("contrib_qr_dqn");
    let config = json!({ "num_quantiles": 5, "fcnet_activation": "relu" });
    let module = network(&recorded.part("state"), config);
    let settings = DqnTraining::default().double_q(false).num_quantiles(5);
    check(&recorded, &module, &recorded.part("grad"), settings);
}

#[test]
fn a_policy_of_sb3s_dqn_loads_acts_the_same_and_has_the_same_loss_and_gradients() {
    let recorded = Recorded::read("sb3_dqn");
    let names = NameMap::sb3_dqn_mlp_policy();
    let weights = names.apply(&recorded.part("state")).unwrap();
    let module = network(&weights, json!({ "fcnet_activation": "relu" }));
    let expected = names.apply(&recorded.part("grad")).unwrap();
    check(&recorded, &module, &expected, DqnTraining::default().double_q(false));

    let obs = recorded.tensor("acting_obs", &cpu());
    let outputs = module.valid().forward_inference(&Batch::new().with(Columns::OBS, obs)).unwrap();
    let found = AnyTensor::from(outputs.int::<1>(Columns::ACTIONS).unwrap()).to_i64().unwrap();
    let expected = recorded.0["greedy"].as_slice::<i64>().unwrap();
    assert!(found.len() == 1000 && found.contains(&0) && found.contains(&1));
    assert_eq!(found, expected);
}
