//! Recurrent layers and recurrent actor-critics: outputs, states, losses and gradients.
//!
//! Recorded by `scripts/parity/record_recurrent.py` and `record_rllib.py`.

use burn::prelude::*;
use rekindle::catalog::{ModelBuilder, RecurrentConfig, RecurrentLayerType};
use rekindle::core::weights::load_state_dict;
use rekindle::prelude::*;
use serde_json::json;

use crate::ppo_loss::{self, COLUMNS};
use crate::support::{Recorded, actor_critic, assert_weights_close, cpu, gradients, gradients_of};

#[test]
fn lstms_and_grus_have_the_outputs_states_and_gradients_of_pytorch() {
    for (name, layer_type) in [("lstm", RecurrentLayerType::Lstm), ("gru", RecurrentLayerType::Gru)]
    {
        for num_layers in [1, 2] {
            println!("{name}, {num_layers} layers");
            let recorded = Recorded::read(&format!("torch_{name}_{num_layers}"));
            let config = RecurrentConfig { layer_type, num_layers, ..RecurrentConfig::new(4, 5) };
            check_layer(&config, &recorded);
        }
    }
}

fn check_layer(config: &RecurrentConfig, recorded: &Recorded) {
    let device = cpu().autodiff();
    let rnn = config.build(&ModelBuilder::new(&device, Generator::from_seed(0)));
    let rnn = load_state_dict(&rnn, &recorded.part("state")).unwrap();
    let leaf = |name: &str| recorded.float::<3>(name, &device).require_grad();

    let input = leaf("input");
    let mut leaves = vec![("input", input.clone())];
    let mut state = Batch::new();
    for (key, name) in [("h", "h0"), ("c", "c0")] {
        if recorded.0.contains_key(name) {
            let before = leaf(name);
            state.insert(key, before.clone().swap_dims(0, 1));
            leaves.push((name, before));
        }
    }
    let (output, after) = rnn.forward(input.clone().flatten(0, 1), &state.into()).unwrap();
    let mut figures = vec![("output", output.reshape([3, 6, 5]))];
    for (key, name) in [("h", "hn"), ("c", "cn")] {
        if recorded.0.contains_key(name) {
            let after = after.nested().unwrap().float::<3>(key).unwrap();
            figures.push((name, after.swap_dims(0, 1)));
        }
    }
    let mut loss = Tensor::<1>::zeros([1], &device);
    for (name, figure) in figures {
        recorded.check(name, figure.clone());
        let weights = recorded.float::<3>(&format!("weights.{name}"), &device);
        loss = loss + (figure * weights).sum();
    }
    recorded.check("loss", loss.clone());

    let mut tape = loss.backward();
    let mut expected = recorded.part("grad");
    for (name, leaf) in leaves {
        recorded.check(&format!("grad.{name}"), leaf.grad(&tape).unwrap());
        expected.remove(name);
    }
    assert_weights_close(&gradients_of(&rnn, &mut tape), &expected);
}

/// Builds a layer of 8 units, an LSTM of 6 cells and linear heads, with foreign weights.
fn load(weights: &Recorded, names: &NameMap) -> AnyRLModule {
    let mut module = actor_critic(json!({
        "fcnet_hiddens": [8],
        "use_lstm": true,
        "lstm_cell_size": 6,
        "vf_share_layers": true,
    }));
    module.load_state_dict(&names.apply(&weights.0).unwrap()).unwrap();
    module
}

/// Checks outputs, states, the loss of padded sequences and its gradients.
fn check_sequences(module: &AnyRLModule, recorded: &Recorded, names: &NameMap) {
    let device = cpu().autodiff();
    let mut batch = Batch::new();
    for name in COLUMNS.into_iter().chain([Columns::LOSS_MASK]) {
        batch.insert(name, recorded.steps(name, &device));
    }
    let state = ["h", "c"].map(|key| (key, recorded.tensor(&format!("state_in.{key}"), &device)));
    let state = state.into_iter().fold(Batch::new(), |batch, (key, part)| batch.with(key, part));
    batch.insert(Columns::STATE_IN, state);

    let [sequences, steps] = [0, 1].map(|axis| recorded.0["obs"].shape()[axis]);
    let out = module.forward_exploration(&batch, &mut ExplorationContext::default()).unwrap();
    let logits = out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
    recorded.check("logits", logits.reshape([sequences, steps, 2]));
    let after = out.nested(Columns::STATE_OUT).unwrap();
    recorded.check("state_out.h", after.float::<3>("h").unwrap());
    recorded.check("state_out.c", after.float::<3>("c").unwrap());
    let values = module.compute_values(&batch, None).unwrap();
    recorded.check("values", values.reshape([sequences, steps]));

    let loss = ppo_loss::loss_of(module, &batch);
    for name in ["policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss"] {
        if recorded.0.contains_key(name) {
            recorded.check(name, ppo_loss::term(&loss, name));
        }
    }
    recorded.check("total", loss.total.clone());
    let expected = names.apply(&recorded.part("grad")).unwrap();
    assert_weights_close(&gradients(module, &loss.total), &expected);
}

#[test]
fn the_ppo_loss_of_padded_sequences_is_that_of_pytorch() {
    let recorded = Recorded::read("torch_recurrent_ppo");
    let names = NameMap::new()
        .rename("tokenizer", "encoder.tokenizer.mlp.layers.0")
        .rename("lstm", "encoder.rnn")
        .rename("pi", "pi.mlp.layers.0")
        .rename("vf", "vf.layers.0");
    let module = load(&Recorded(recorded.part("state")), &names);
    check_sequences(&module, &recorded, &names);
}

#[test]
fn rllibs_default_module_with_an_lstm_loads_and_computes_the_same_as_in_rllibs_learner() {
    let names = NameMap::rllib_default_ppo();
    let module = load(&Recorded::read("rllib_lstm"), &names);
    check_sequences(&module, &Recorded::read("rllib_lstm_recorded"), &names);
}
