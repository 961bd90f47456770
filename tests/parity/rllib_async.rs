//! The losses of RLlib's IMPALA and APPO learners, and their gradients.
//!
//! Recorded by `scripts/parity/record_rllib_async.py`. In one respect RLlib 2.60 computes something else:
//! the step that it appends to a segment, for the value of the final observation, takes part in V-trace,
//! and so truncated and cut segments do not bootstrap from that value in full. The script says how, and
//! records RLlib's loss with and without it. Its factor 2 for APPO's `target_worker_clipping`, which it
//! does not read, is the default here.

use rekindle::algorithms::appo::AppoLoss;
use rekindle::algorithms::impala::{ImpalaLoss, LossReduction};
use rekindle::algorithms::{AppoTraining, ImpalaTraining};
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use serde_json::{Value, json};

use crate::ppo_loss::term;
use crate::segments::compute;
use crate::support::{Recorded, actor_critic, assert_close, assert_weights_close, gradients};

/// RLlib's `rollout_fragment_length`.
const FRAGMENT: usize = 8;

/// The model settings of a recording.
fn model(name: &str) -> Value {
    match name {
        "on_policy" => json!({ "fcnet_hiddens": [8], "vf_share_layers": true }),
        "off_policy" | "kl" => json!({ "fcnet_hiddens": [8], "vf_share_layers": false }),
        _ => json!({
            "fcnet_hiddens": [8],
            "vf_share_layers": true,
            "use_lstm": true,
            "lstm_cell_size": 6,
            "max_seq_len": 5,
        }),
    }
}

/// Builds a module with the recorded weights of these parts, the later ones in place of the earlier ones.
fn module(recorded: &Recorded, model: Value, parts: &[&str]) -> AnyRLModule {
    let mut module = actor_critic(model);
    let weights = parts.iter().flat_map(|part| recorded.part(part)).collect();
    module.load_state_dict(&NameMap::rllib_default_ppo().apply(&weights).unwrap()).unwrap();
    module
}

fn check(losses: &Losses, module: &AnyRLModule, recorded: &Recorded) {
    for name in ["policy_loss", "vf_loss", "entropy", "mean_kl_loss"] {
        match recorded.0.contains_key(name) {
            true => recorded.check(name, term(losses, name)),
            false => assert!(losses.metrics.iter().all(|(key, _)| *key != name), "{name}"),
        }
    }
    recorded.check("total", losses.total.clone());
    let expected = NameMap::rllib_default_ppo().apply(&recorded.part("grad")).unwrap();
    assert_weights_close(&gradients(module, &losses.total), &expected);
    // The appended steps move RLlib's loss by far more than the tolerance.
    let [full, less] = ["total", "total_unmodified"]
        .map(|name| f64::from(recorded.0[name].as_slice::<f32>().unwrap()[0]));
    assert!((full - less).abs() > 1e-3, "{full} {less}");
}

fn impala() -> ImpalaTraining {
    ImpalaTraining::default()
        .gamma(0.9)
        .vtrace_clip_rho_threshold(1.2)
        .vtrace_clip_pg_rho_threshold(0.9)
        .vf_loss_coeff(0.3)
        .entropy_coeff(0.02)
        .fragment_length(FRAGMENT)
}

#[test]
fn the_impala_loss_and_its_gradients_are_those_of_rllibs_learner() {
    for name in ["on_policy", "off_policy", "lstm"] {
        println!("{name}");
        let recorded = Recorded::read(&format!("rllib_impala_{name}"));
        let module = module(&recorded, model(name), &["state"]);
        let losses = compute(&mut ImpalaLoss::new(impala()), &module, &recorded);
        check(&losses, &module, &recorded);
    }
}

#[test]
fn the_summed_impala_loss_and_its_gradients_are_rllibs_times_the_rows() {
    let recorded = Recorded::read("rllib_impala_off_policy");
    let module = module(&recorded, model("off_policy"), &["state"]);
    let config = impala().loss_reduction(LossReduction::Sum);
    let losses = compute(&mut ImpalaLoss::new(config), &module, &recorded);
    let rows = recorded.0["rewards"].shape()[0];
    assert_eq!(rows, 43);
    let mean = losses.total / rows as f32;
    assert_close("total", &to_f32(mean.clone().inner()).unwrap(), &recorded.0["total"]);
    let expected = NameMap::rllib_default_ppo().apply(&recorded.part("grad")).unwrap();
    assert_weights_close(&gradients(&module, &mean), &expected);
}

#[test]
fn the_appo_loss_and_its_gradients_are_those_of_rllibs_learner_with_and_without_kl() {
    for (name, use_kl_loss) in
        [("on_policy", false), ("off_policy", false), ("kl", true), ("lstm", true)]
    {
        println!("{name}");
        let recorded = Recorded::read(&format!("rllib_appo_{name}"));
        let config = AppoTraining::default()
            .gamma(0.9)
            .vtrace_clip_rho_threshold(1.2)
            .vtrace_clip_pg_rho_threshold(0.9)
            .vf_loss_coeff(0.3)
            .entropy_coeff(0.02)
            .clip_param(0.2)
            .use_kl_loss(use_kl_loss)
            .kl_coeff(0.7)
            .fragment_length(FRAGMENT);
        let mut loss = AppoLoss::new(config);
        // The module of the first update becomes the target policy. The critic of RLlib's has no target.
        compute(&mut loss, &module(&recorded, model(name), &["state", "target"]), &recorded);
        let module = module(&recorded, model(name), &["state"]);
        let losses = compute(&mut loss, &module, &recorded);
        check(&losses, &module, &recorded);
    }
}
