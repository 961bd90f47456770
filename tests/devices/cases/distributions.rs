//! The distribution of every action space.

use burn::prelude::*;
use burn::tensor::Int;
use rekindle::catalog::{Categorical, Deterministic, SquashedGaussian, mask_logits};
use rekindle::env::Discrete;
use rekindle::prelude::*;

use super::{Case, DEEP, TOLERANCE, normal, of_function, samples};

const ROWS: usize = 8;

pub(super) fn all() -> Vec<Case> {
    let gaussian = || Space::unbounded(&[3]).unwrap();
    let discrete = || Space::Discrete(Discrete::with_start(5, -2).unwrap());
    let nested = Space::dict([("arm", gaussian()), ("gear", discrete())]).unwrap();
    vec![
        of_space("Categorical", discrete()),
        of_space("DiagGaussian", gaussian()),
        of_space("MultiCategorical", Space::multi_discrete([3, 2, 4]).unwrap()),
        of_space("Bernoulli", Space::multi_binary(4).unwrap()),
        of_space("of a Dict", nested),
        squashed(),
        deterministic(),
        rsample(),
        masked(),
    ]
}

/// Log-probabilities, entropies and divergences of the default distribution of a space.
fn of_space(name: &str, space: Space) -> Case {
    let distribution = DefaultCatalog.action_distribution(&space).unwrap();
    Case::new(format!("distribution: {name}"), DEEP, move |device| {
        let device = &device.clone().autodiff();
        let dim = distribution.required_input_dim();
        let actions = samples(&space, ROWS, device);
        let inputs = [normal(1, [ROWS, dim], device), normal(2, [ROWS, dim], device)];
        of_function(&inputs, |x| {
            let (p, q) = (x[0].clone(), x[1].clone());
            vec![
                distribution.logp(p.clone(), &actions).unwrap(),
                distribution.entropy(p.clone()).unwrap(),
                distribution.kl(p, q).unwrap(),
            ]
        })
    })
}

fn squashed() -> Case {
    Case::new("distribution: SquashedGaussian, with rsample", DEEP, |device| {
        let device = &device.clone().autodiff();
        let space = Space::boxed(-2.0, 2.0, &[3]).unwrap();
        let distribution = SquashedGaussian::new([-2.0; 3], [2.0; 3]).unwrap();
        let actions = samples(&space, ROWS, device);
        let noise = normal(3, [ROWS, 3], device);
        of_function(&[normal(1, [ROWS, 6], device)], |x| {
            let (drawn, logp) = distribution.rsample_and_logp(x[0].clone(), noise).unwrap();
            let of_actions = distribution.logp(x[0].clone(), &actions).unwrap();
            vec![of_actions, drawn.reshape([ROWS * 3]), logp]
        })
    })
}

/// The log-probability is constant, so only the actions have a gradient.
fn deterministic() -> Case {
    Case::new("distribution: Deterministic", TOLERANCE, |device| {
        let device = &device.clone().autodiff();
        let distribution = Deterministic::new(3);
        let actions = samples(&Space::unbounded(&[3]).unwrap(), ROWS, device);
        of_function(&[normal(1, [ROWS, 3], device)], |x| {
            let logp = distribution.logp(x[0].clone(), &actions).unwrap();
            vec![x[0].clone().reshape([ROWS * 3]), logp + x[0].clone().sum_dim(1).squeeze_dim(1)]
        })
    })
}

fn rsample() -> Case {
    Case::new("distribution: Categorical, straight-through", TOLERANCE, |device| {
        let device = &device.clone().autodiff();
        let distribution = Categorical::new(&Discrete::new(4).unwrap());
        let actions = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 3, 2, 1, 0], device);
        of_function(&[normal(1, [ROWS, 4], device)], |x| {
            let one_hot = distribution.rsample(x[0].clone(), actions).unwrap();
            vec![one_hot.reshape([ROWS * 4])]
        })
    })
}

/// Masked logits are the smallest finite number, so probabilities are compared instead.
fn masked() -> Case {
    Case::new("distribution: Categorical, action mask", TOLERANCE, |device| {
        let device = &device.clone().autodiff();
        let space = Space::discrete(4).unwrap();
        let distribution = DefaultCatalog.action_distribution(&space).unwrap();
        let mask = Tensor::<2>::from_floats([[1.0, 0.0, 1.0, 0.0]], device).expand([ROWS, 4]);
        let actions = Column::from(Tensor::<1, Int>::zeros([ROWS], device));
        of_function(&[normal(1, [ROWS, 4], device)], |x| {
            let logits = mask_logits(x[0].clone(), mask);
            let probabilities = burn::tensor::activation::softmax(logits.clone(), 1);
            vec![
                probabilities.reshape([ROWS * 4]),
                distribution.logp(logits.clone(), &actions).unwrap(),
                distribution.entropy(logits).unwrap(),
            ]
        })
    })
}
