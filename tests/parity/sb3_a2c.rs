//! An update of Stable-Baselines3's A2C: advantages, loss and gradients.
//!
//! Recorded by `scripts/parity/record_sb3_a2c.py`. SB3 standardizes advantages by the standard deviation of
//! a sample, which divides by `n − 1`; rekindle and RLlib by that of the population, which divides by `n`.

use rekindle::algorithms::A2cTraining;
use rekindle::algorithms::a2c::A2cLoss;
use rekindle::prelude::*;
use serde_json::json;

use crate::ppo_loss::term;
use crate::segments::compute;
use crate::support::{Recorded, actor_critic, assert_weights_close, gradients};

#[test]
fn a_batch_has_the_loss_terms_and_gradients_of_sb3s_a2c() {
    for (name, standardize_advantages) in [("sb3_a2c", false), ("sb3_a2c_standardized", true)] {
        println!("{name}");
        let recorded = Recorded::read(name);
        let names = NameMap::sb3_ppo_mlp_policy();
        let mut module = actor_critic(json!({ "fcnet_hiddens": [8], "vf_share_layers": false }));
        module.load_state_dict(&names.apply(&recorded.part("state")).unwrap()).unwrap();
        let config = A2cTraining::default()
            .gamma(0.9)
            .lambda_(0.8)
            .entropy_coeff(0.02)
            .vf_loss_coeff(0.3)
            .standardize_advantages(standardize_advantages);
        let losses = compute(&mut A2cLoss::new(config), &module, &recorded);
        let [policy_loss, vf_loss, entropy] =
            ["policy_loss", "vf_loss", "entropy"].map(|name| term(&losses, name));
        recorded.check("vf_loss", vf_loss.clone());
        recorded.check("entropy", entropy.clone());
        let rows = recorded.0["rewards"].shape()[0] as f64;
        let (policy_loss, total) = match standardize_advantages {
            true => {
                let policy_loss = policy_loss * ((rows - 1.0) / rows).sqrt();
                (policy_loss.clone(), policy_loss + vf_loss * 0.3 - entropy * 0.02)
            }
            false => (policy_loss, losses.total),
        };
        recorded.check("policy_loss", policy_loss);
        let expected = names.apply(&recorded.part("grad")).unwrap();
        assert_weights_close(&gradients(&module, &total), &expected);
    }
}
