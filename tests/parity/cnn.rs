//! Image encoders, and default networks whose parameters are constants (assertion 20).
//!
//! Recorded by `scripts/parity/record_cnn.py`.

use rekindle::checkpoint::{Array, ArrayData};
use rekindle::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    Recorded, actor_critic_on, assert_weights_close, cpu, forward_any, gradients_of,
};

/// Builds an actor-critic for images.
fn image_actor_critic(shape: [usize; 3], actions: usize, model_config: Value) -> AnyRLModule {
    let images = Space::boxed(0.0, 1.0, &shape).unwrap();
    actor_critic_on(images, Space::discrete(actions).unwrap(), model_config)
}

#[test]
fn image_encoders_have_the_outputs_and_gradients_of_pytorch() {
    for (name, shape, filters) in [
        ("same", [10, 10, 4], json!([[8, 5, 2], [12, 5, 2]])),
        ("mixed", [12, 10, 3], json!([[6, [4, 3], 2], [8, 3, 2, "valid"], [5, 2, 1]])),
    ] {
        println!("{name}");
        let recorded = Recorded::read(&format!("torch_cnn_{name}"));
        let mut module = image_actor_critic(
            shape,
            3,
            json!({ "conv_filters": filters, "vf_share_layers": true }),
        );
        module.load_state_dict(&recorded.part("state")).unwrap();

        let device = cpu().autodiff();
        let obs = recorded.float::<4>("obs", &device).require_grad();
        let (logits, values) = forward_any(&module, obs.clone());
        recorded.check("logits", logits.clone());
        recorded.check("values", values.clone());
        let weights = recorded.float::<2>("weights", &device);
        let loss = (logits * weights).sum() + values.square().mean() * 0.5;
        recorded.check("loss", loss.clone());

        let mut tape = loss.backward();
        recorded.check("grad.obs", obs.grad(&tape).unwrap());
        let mut expected = recorded.part("grad");
        expected.remove("obs");
        assert_weights_close(&gradients_of(&module, &mut tape), &expected);
    }
}

/// Sets the i-th parameter, in the order of names, to one of four constants in turn. Networks of
/// two libraries then compare without an exchange of weights. RLlib's `_set_to_dummy_weights`.
fn set_to_dummy_weights(module: &mut AnyRLModule) {
    const DUMMY: [f32; 4] = [-0.02, -0.01, 0.01, 0.02];
    let mut weights = module.state_dict().unwrap();
    for (array, constant) in weights.values_mut().zip(DUMMY.into_iter().cycle()) {
        let filled = ArrayData::F32(vec![constant; array.data().len()]);
        *array = Array::new(array.shape(), filled).unwrap();
    }
    module.load_state_dict(&weights).unwrap();
}

#[test]
fn with_constants_for_parameters_the_default_networks_compute_what_pytorchs_do() {
    let vectors = Space::boxed(f32::NEG_INFINITY, f32::INFINITY, &[4]).unwrap();
    let separate = json!({ "vf_share_layers": false });
    let mlp = actor_critic_on(vectors, Space::discrete(2).unwrap(), separate);
    let cnn = image_actor_critic([10, 10, 4], 2, json!({}));
    check_dummy::<2>("mlp", mlp);
    check_dummy::<4>("cnn", cnn);
}

fn check_dummy<const D: usize>(name: &str, mut module: AnyRLModule) {
    println!("{name}");
    set_to_dummy_weights(&mut module);
    let recorded = Recorded::read(&format!("torch_dummy_{name}"));
    let (logits, values) = forward_any(&module, recorded.float::<D>("obs", &cpu().autodiff()));
    recorded.check("logits", logits);
    recorded.check("values", values);
}
