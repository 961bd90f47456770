//! Heads, and compositions of them.

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::{
    Categorical, CnnTransposeHeadConfig, ConvFilter, DefaultModelConfig, DiagGaussian,
    Distribution, EnsembleMlp, Mlp, MlpConfig, NoisyLayers, PolicyHeadConfig,
    StateDependentNoiseConfig, dueling, dueling_logits,
};
use rekindle::env::Discrete;

use super::{Case, DEEP, TOLERANCE, builder, normal, of_function, of_module};

const ROWS: usize = 6;

/// Layers and their noise.
#[derive(Module, Debug)]
struct Noisy {
    means: Mlp,
    sigma: NoisyLayers,
}

pub(super) fn all() -> Vec<Case> {
    let hidden = || DefaultModelConfig::default().head_fcnet_hiddens(vec![7]);
    let clipped = hidden().log_std_clip_param(0.1);
    let free = hidden().free_log_std(true);
    vec![
        policy("logits", hidden(), Categorical::new(&Discrete::new(6).unwrap())),
        policy("Gaussian, clipped log std", clipped, DiagGaussian::new(3)),
        policy("Gaussian, free log std", free, DiagGaussian::new(3)),
        Case::new("head: value", TOLERANCE, |device| {
            let head = MlpConfig::new(5, &[7], Some(1)).build(&builder(device));
            let features = normal(1, [ROWS, 5], &device.clone().autodiff());
            of_module(head, device, |head| head.forward(features))
        }),
        ensemble("plain", MlpConfig::new(5, &[7], Some(2))),
        ensemble(
            "normalized",
            MlpConfig { hidden_layer_use_layernorm: true, ..MlpConfig::new(5, &[7], Some(2)) },
        ),
        renormalized("in training", |ensemble, x| ensemble.forward_in_training(x).0),
        renormalized("by running statistics", |ensemble, x| ensemble.forward(x)),
        Case::new("head: policy, state-dependent noise", TOLERANCE, |device| {
            let builder = builder(device);
            let config = PolicyHeadConfig::from_layers(MlpConfig::new(5, &[7], Some(3)));
            let noise = StateDependentNoiseConfig::default().log_std_init(-0.5).use_expln(true);
            let head = config.build(&builder).unwrap();
            let head = head.with_state_dependent_noise(&noise, &builder).unwrap();
            let features = normal(1, [ROWS, 5], &device.clone().autodiff());
            of_module(head, device, |head| head.forward(features))
        }),
        Case::new("head: transposed CNN", DEEP, |device| {
            let filters = [ConvFilter::new(4, 3, 2), ConvFilter::new(2, 3, 1)];
            let config = CnnTransposeHeadConfig::new(5, [3, 3, 4], &filters);
            let head = config.build(&builder(device)).unwrap();
            let features = normal(1, [2, 5], &device.clone().autodiff());
            of_module(head, device, |head| head.forward(features).reshape([2, 72]))
        }),
        Case::new("head: dueling", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 4], device), normal(2, [ROWS, 1], device)];
            of_function(&inputs, |x| {
                let out = dueling(x[0].clone(), x[1].clone().reshape([ROWS]), None);
                vec![out.reshape([ROWS * 4])]
            })
        }),
        Case::new("head: dueling, masked", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 4], device), normal(2, [ROWS, 1], device)];
            let mask = normal(3, [ROWS, 4], device).greater_elem(0.0).float();
            of_function(&inputs, |x| {
                let out = dueling(x[0].clone(), x[1].clone().reshape([ROWS]), Some(&mask));
                vec![out.reshape([ROWS * 4])]
            })
        }),
        noisy("noise of each row", ROWS),
        noisy("one noise for all rows", 1),
        Case::new("head: dueling of atoms", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 12], device), normal(2, [ROWS, 3], device)];
            of_function(&inputs, |x| {
                let out = dueling_logits(x[0].clone().reshape([ROWS, 4, 3]), x[1].clone(), None);
                vec![out.reshape([ROWS * 12])]
            })
        }),
    ]
}

fn ensemble(name: &str, config: MlpConfig) -> Case {
    Case::new(format!("head: ensemble, {name}"), TOLERANCE, move |device| {
        let builder = builder(device);
        let members: Vec<_> = (0..3).map(|_| vec![config.build(&builder)]).collect();
        let ensemble = EnsembleMlp::stack(&members, &builder).unwrap();
        let features = normal(1, [ROWS, 5], &device.clone().autodiff());
        of_module(ensemble, device, |all| all.forward(features).reshape([3 * ROWS, 2]))
    })
}

/// An ensemble with batch renormalization, and the gradients of its inputs: running statistics have none.
fn renormalized(
    name: &str,
    forward: impl Fn(&EnsembleMlp, Tensor<2>) -> Tensor<3> + 'static,
) -> Case {
    Case::new(format!("head: ensemble, renormalized {name}"), TOLERANCE, move |device| {
        let device = &device.clone().autodiff();
        let builder = builder(device);
        let member = |_| vec![MlpConfig::new(5, &[7], Some(2)).build(&builder)];
        let members: Vec<_> = (0..3).map(member).collect();
        let ensemble = EnsembleMlp::stack(&members, &builder).unwrap();
        let ensemble = ensemble.with_batch_renorm(&builder, 100);
        of_function(&[normal(1, [ROWS, 5], device)], |x| {
            vec![forward(&ensemble, x[0].clone()).reshape([3 * ROWS * 2])]
        })
    })
}

fn noisy(name: &str, rows: usize) -> Case {
    Case::new(format!("head: noisy, {name}"), TOLERANCE, move |device| {
        let means = MlpConfig::new(5, &[7], Some(3)).build(&builder(device));
        let sigma = NoisyLayers::new(&builder(device), &means, 0.5);
        let autodiff = device.clone().autodiff();
        let noise = normal(2, [rows, sigma.noise_dim()], &autodiff);
        let features = normal(1, [ROWS, 5], &autodiff);
        of_module(Noisy { means, sigma }, device, |noisy| {
            noisy.sigma.forward(&noisy.means, features, &noise)
        })
    })
}

fn policy(name: &str, config: DefaultModelConfig, actions: impl Distribution + 'static) -> Case {
    Case::new(format!("head: policy, {name}"), TOLERANCE, move |device| {
        let head = PolicyHeadConfig::new(&config, 5, &actions).unwrap();
        let head = head.build(&builder(device)).unwrap();
        let features = normal(1, [ROWS, 5], &device.clone().autodiff());
        of_module(head, device, |head| head.forward(features))
    })
}
