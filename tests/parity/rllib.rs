//! RLlib's default PPO module, and its PPO learner's loss.
//!
//! Recorded by `scripts/parity/record_rllib.py`.

use rekindle::prelude::*;
use serde_json::json;

use crate::ppo_loss;
use crate::support::{
    Recorded, actor_critic, actor_critic_for, assert_weights_close, cpu, forward, gradients, import,
};

/// RLlib's module with its recorded outputs.
fn load(sharing: &str) -> (AnyRLModule, Recorded) {
    let weights = Recorded::read(&format!("rllib_{sharing}")).0;
    let mut module = actor_critic(json!({
        "fcnet_hiddens": [32, 32],
        "vf_share_layers": sharing == "shared",
    }));
    module.load_state_dict(&NameMap::rllib_default_ppo().apply(&weights).unwrap()).unwrap();
    (module, Recorded::read(&format!("rllib_{sharing}_recorded")))
}

#[test]
fn rllibs_weights_load_and_give_rllibs_logits_and_values() {
    for sharing in ["shared", "separate"] {
        let (module, recorded) = load(sharing);
        let (logits, values) = forward(&module, recorded.float("obs", &cpu().autodiff()));
        recorded.check("logits", logits);
        recorded.check("values", values);
    }
}

#[test]
fn norms_hidden_layers_of_heads_and_a_free_log_std_load_too() {
    let actions = Space::boxed(-1.0, 1.0, &[2]).unwrap();
    let mut module = actor_critic_for(
        actions,
        json!({
            "fcnet_hiddens": [16, 16],
            "fcnet_activation": "relu",
            "fcnet_use_layernorm": true,
            "head_fcnet_hiddens": [8],
            "head_fcnet_use_layernorm": true,
            "free_log_std": true,
            "vf_share_layers": false,
        }),
    );
    let weights = Recorded::read("rllib_gaussian").0;
    module.load_state_dict(&NameMap::rllib_default_ppo().apply(&weights).unwrap()).unwrap();
    let recorded = Recorded::read("rllib_gaussian_recorded");
    let (inputs, values) = forward(&module, recorded.float("obs", &cpu().autodiff()));
    recorded.check("logits", inputs);
    recorded.check("values", values);
}

#[test]
fn the_ppo_loss_and_its_gradients_are_those_of_rllibs_learner() {
    for sharing in ["shared", "separate"] {
        let (module, recorded) = load(sharing);
        let loss = ppo_loss::loss(&module, &recorded);
        recorded.check("total", loss.total.clone());
        let expected = NameMap::rllib_default_ppo().apply(&recorded.part("grad")).unwrap();
        assert_weights_close(&gradients(&module, &loss.total), &expected);
    }
}

/// RLlib's module for images `[height, width, channels]` and three actions.
fn import_cnn(name: &str, shape: &[usize], config: serde_json::Value) -> AnyRLModule {
    let spaces = [Space::boxed(0.0, 1.0, shape).unwrap(), Space::discrete(3).unwrap()];
    import(name, &NameMap::rllib_default_ppo(), spaces, config)
}

#[test]
fn rllibs_cnn_loads_and_computes_the_same_with_one_encoder_or_two() {
    let module = import_cnn("rllib_cnn", &[10, 10, 3], json!({ "vf_share_layers": true }));
    Recorded::read("rllib_cnn_recorded").check_outputs::<4>(&module);

    let config = json!({
        "conv_filters": [[4, [4, 3], 2], [5, 3, 1, "valid"]],
        "conv_activation": "tanh",
        "head_fcnet_hiddens": [6],
        "vf_share_layers": false,
    });
    let module = import_cnn("rllib_cnn_separate", &[12, 9, 2], config);
    Recorded::read("rllib_cnn_separate_recorded").check_outputs::<4>(&module);
}

#[test]
fn rllibs_cnns_below_lstms_load_and_compute_the_same() {
    let config = json!({
        "conv_filters": [[3, 4, 3]],
        "use_lstm": true,
        "lstm_cell_size": 5,
        "vf_share_layers": false,
    });
    let module = import_cnn("rllib_cnn_lstm", &[9, 9, 1], config);
    Recorded::read("rllib_cnn_lstm_recorded").check_memory(&module);
}
