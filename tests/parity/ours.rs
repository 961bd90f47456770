//! A module checkpoint kept in the repository: later versions must read it.
//!
//! `scripts/parity/load_in_torch.py` loads the same checkpoint in plain PyTorch. To rewrite it
//! after a change of the format: `cargo test --test parity -- --ignored`.

use burn::prelude::*;
use rekindle::checkpoint::{self, Array};
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use serde_json::json;

use crate::support::{Recorded, cpu, forward, path};

const CHECKPOINT: &str = "ours/policy";
const RECORDED: &str = "ours/recorded/tensors";

#[test]
fn the_checkpoint_kept_here_still_loads_and_computes_the_same() {
    let module = AnyRLModule::from_checkpoint(path(CHECKPOINT), &cpu()).unwrap();
    let recorded = Recorded::read(RECORDED);
    let (logits, values) = forward(&module, recorded.float("obs", &cpu()));
    recorded.check("logits", logits);
    recorded.check("values", values);
    // It is also an ordinary safetensors file.
    let weights = read_safetensors(path(CHECKPOINT).join("tensors.safetensors")).unwrap();
    assert_eq!(weights, module.state_dict().unwrap());
}

/// Trains briefly, so that no parameter keeps its initial value.
#[test]
#[ignore = "rewrites the golden checkpoint after a deliberate change of the format; run it with \
            `cargo test --test parity -- --ignored`"]
fn write_the_checkpoint() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .rl_module(RLModuleSpec::default().model_config(json!({
            "fcnet_hiddens": [16, 16],
            "vf_share_layers": false,
        })))
        .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(4).lr(3e-3))
        .seed(0);
    let mut algo = config.build(&cpu()).unwrap();
    for _ in 0..10 {
        algo.train().unwrap();
    }
    let module = algo.module(DEFAULT_MODULE_ID).unwrap();
    module.save_to_path(path(CHECKPOINT)).unwrap();

    let mut rng = Generator::from_seed(0);
    let obs: Vec<f32> = (0..64 * 4).map(|_| rng.standard_normal() as f32).collect();
    let tensor = Tensor::<2>::from_data(TensorData::new(obs.clone(), [64, 4]), &cpu());
    let module = AnyRLModule::from_checkpoint(path(CHECKPOINT), &cpu()).unwrap();
    let (logits, values) = forward(&module, tensor);
    let mut state = State::new();
    state.insert_tensor("obs", Array::new([64, 4], obs).unwrap());
    state.insert_tensor("logits", Array::new([64, 2], to_f32(logits).unwrap()).unwrap());
    state.insert_tensor("values", Array::from(to_f32(values).unwrap()));
    checkpoint::write(path("ours/recorded"), &state).unwrap();
}
