//! Models, distributions, PPO's loss and Adam against PyTorch.
//!
//! Recorded by `scripts/parity/record_torch.py`.

use burn::prelude::*;
use rekindle::catalog::{Categorical, DiagGaussian};
use rekindle::core::weights::Weights;
use rekindle::learner::{Gradients, Optimizer};
use rekindle::prelude::*;
use serde_json::{Value, json};

use crate::ppo_loss;
use crate::support::{Recorded, actor_critic, assert_weights_close, cpu, forward, gradients};

/// Builds an actor-critic with two hidden layers of 16 units and the recorded parameters.
fn load(recorded: &Recorded, shared: bool, activation: &str, layernorm: bool) -> AnyRLModule {
    load_with(
        recorded,
        json!({
            "fcnet_hiddens": [16, 16],
            "fcnet_activation": activation,
            "fcnet_use_layernorm": layernorm,
            "vf_share_layers": shared,
        }),
    )
}

fn load_with(recorded: &Recorded, model_config: Value) -> AnyRLModule {
    let mut module = actor_critic(model_config);
    module.load_state_dict(&recorded.part("state")).unwrap();
    module
}

/// The loss whose gradients the script records.
fn scalar_loss(module: &AnyRLModule, recorded: &Recorded) -> Tensor<1> {
    let device = cpu().autodiff();
    let (logits, values) = forward(module, recorded.float("obs", &device));
    let weights = recorded.float::<2>("weights", &device);
    (logits * weights).sum() + values.square().mean() * 0.5
}

#[test]
fn actor_critics_have_the_outputs_and_gradients_of_pytorch() {
    for (name, activation, layernorm) in
        [("tanh", "tanh", false), ("relu", "relu", false), ("layernorm", "tanh", true)]
    {
        for (sharing, shared) in [("shared", true), ("separate", false)] {
            println!("{name}, {sharing}");
            let recorded = Recorded::read(&format!("torch_mlp_{name}_{sharing}"));
            let module = load(&recorded, shared, activation, layernorm);
            let obs = recorded.float("obs", &cpu().autodiff());
            let (logits, values) = forward(&module, obs);
            recorded.check("logits", logits);
            recorded.check("values", values);
            let loss = scalar_loss(&module, &recorded);
            recorded.check("loss", loss.clone());
            assert_weights_close(&gradients(&module, &loss), &recorded.part("grad"));
        }
    }
}

/// Checks log-probability and entropy, and the KL divergence and all gradients if recorded.
fn check_distribution(name: &str, distribution: &dyn Distribution) {
    println!("{name}");
    let recorded = Recorded::read(&format!("torch_{name}"));
    let device = cpu().autodiff();
    let actions = recorded.tensor("actions", &device).into();
    let p = recorded.float::<2>("p", &device).require_grad();
    let logp = distribution.logp(p.clone(), &actions).unwrap();
    let entropy = distribution.entropy(p.clone()).unwrap();
    recorded.check("logp", logp.clone());
    recorded.check("entropy", entropy.clone());
    if !recorded.0.contains_key("q") {
        return;
    }
    let q = recorded.float::<2>("q", &device).require_grad();
    let kl = distribution.kl(p.clone(), q.clone()).unwrap();
    recorded.check("kl", kl.clone());
    let weights = recorded.float::<2>("weights", &device);
    let grads = (Tensor::stack::<2>(vec![logp, entropy, kl], 0) * weights).sum().backward();
    recorded.check("grad.p", p.grad(&grads).unwrap());
    recorded.check("grad.q", q.grad(&grads).unwrap());
}

#[test]
fn categorical_is_that_of_pytorch_with_extreme_logits_too() {
    let space = Space::discrete(5).unwrap();
    let categorical = Categorical::new(space.as_discrete().unwrap());
    check_distribution("categorical", &categorical);
    check_distribution("categorical_extreme", &categorical);
}

#[test]
fn diag_gaussian_is_that_of_pytorch_with_extreme_scales_too() {
    check_distribution("normal", &DiagGaussian::new(3));
    check_distribution("normal_extreme", &DiagGaussian::new(3));
}

#[test]
fn the_ppo_loss_has_the_terms_and_gradients_of_pytorch() {
    let recorded = Recorded::read("torch_ppo");
    let module = load(&recorded, false, "tanh", false);
    let loss = ppo_loss::loss(&module, &recorded);
    for name in ["policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss"] {
        recorded.check(name, ppo_loss::term(&loss, name));
    }
    recorded.check("total", loss.total.clone());
    assert_weights_close(&gradients(&module, &loss.total), &recorded.part("grad"));
}

#[test]
fn ten_steps_of_adam_lead_where_those_of_pytorch_lead() {
    let recorded = Recorded::read("torch_adam");
    let mut module = load(&recorded, false, "tanh", false);
    let mut optimizer = Optimizer::new(OptimizerConfig::adam(1e-8));
    let mut losses = Vec::new();
    for _ in 0..10 {
        let loss = scalar_loss(&module, &recorded);
        losses.push(loss.clone().inner());
        let gradients = Gradients::take(&module, &mut loss.backward());
        let (stepped, outcome) = optimizer.step(1e-3, None, module, gradients);
        outcome.unwrap();
        module = stepped;
    }
    recorded.check("losses", Tensor::cat(losses, 0));
    let after: Weights = module.state_dict().unwrap();
    assert_weights_close(&after, &recorded.part("after"));
}
