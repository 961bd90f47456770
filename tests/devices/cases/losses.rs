//! Losses, returns and kernels.

use burn::prelude::*;
use burn::tensor::activation::{log_softmax, softmax};
use rekindle::kernels;
use rekindle::learner::{losses, ops};

use super::{Case, TOLERANCE, normal, of_function};

const ROWS: usize = 64;

pub(super) fn all() -> Vec<Case> {
    let inputs = |count: u64, device: &Device| -> Vec<Tensor<2>> {
        (0..count).map(|seed| normal(seed, [ROWS, 1], &device.clone().autodiff())).collect()
    };
    let row = |tensor: &Tensor<2>| tensor.clone().reshape([ROWS]);
    vec![
        Case::new("loss: PPO surrogate", TOLERANCE, move |device| {
            of_function(&inputs(3, device), |x| {
                let [logp, old, advantages] = [0, 1, 2].map(|i| row(&x[i]));
                vec![losses::ppo_surrogate(logp * 0.3, old.detach() * 0.3, advantages, 0.2)]
            })
        }),
        Case::new("loss: value, clipped", TOLERANCE, move |device| {
            of_function(&inputs(2, device), |x| {
                let (error, clipped) = losses::value_loss(row(&x[0]), row(&x[1]), 1.5);
                vec![error, clipped]
            })
        }),
        Case::new("loss: soft values and temperature", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 3], device), normal(2, [ROWS, 3], device)];
            of_function(&inputs, |x| {
                let logp = log_softmax(x[0].clone(), 1);
                let alpha = Tensor::from_floats([0.3], device);
                let values = losses::soft_values(logp, x[1].clone(), alpha.clone());
                vec![values.clone(), losses::temperature_loss(alpha.log(), values, -1.0)]
            })
        }),
        Case::new("loss: quantile Huber", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 6], device), normal(2, [ROWS, 4], device)];
            of_function(&inputs, |x| {
                let quantiles = x[0].clone().reshape([ROWS, 2, 3]);
                let loss = losses::quantile_huber(quantiles, x[1].clone().detach(), 1.0);
                vec![loss.reshape([ROWS * 2])]
            })
        }),
        Case::new("loss: mean over rows that count", TOLERANCE, move |device| {
            of_function(&inputs(2, device), |x| {
                let mask = row(&x[1]).detach().greater_elem(0.0).float();
                vec![losses::mean(row(&x[0]), Some(&mask)), losses::mean(row(&x[0]), None)]
            })
        }),
        Case::new("loss: atoms, projected", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(0, [ROWS, 11], device)];
            let following = softmax(normal(1, [ROWS, 11], device), 1);
            let [rewards, discounts] = [2, 3].map(|seed| normal(seed, [ROWS, 1], device));
            let (rewards, discounts) = (rewards.reshape([ROWS]), discounts.abs().reshape([ROWS]));
            of_function(&inputs, |x| {
                let range = [-2.0, 2.0];
                let target = losses::categorical_projection(following, rewards, discounts, range);
                vec![losses::cross_entropy(x[0].clone(), target)]
            })
        }),
        Case::new("loss: CQL's gap", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [normal(1, [ROWS, 6], device), normal(2, [ROWS, 2], device)];
            of_function(&inputs, |x| {
                let values = x[0].clone().reshape([ROWS, 2, 3]);
                let gap = losses::conservative_gap(values * 4.0, x[1].clone(), 1.5);
                vec![gap.reshape([ROWS * 2])]
            })
        }),
        Case::new("loss: expectile and weights of advantages", TOLERANCE, move |device| {
            of_function(&inputs(2, device), |x| {
                let weights = losses::advantage_weights(row(&x[1]).detach() * 2.0, 3.0, 100.0);
                vec![losses::expectile(row(&x[0]), 0.7), row(&x[1]) * weights * 0.01]
            })
        }),
        Case::new("ops: advantages on the device", TOLERANCE, |device| {
            let device = &device.clone().autodiff();
            let inputs = [0, 1, 2].map(|seed| normal(seed, [16, 4], device));
            let flag = |seed| normal(seed, [16, 4], device).greater_elem(1.0).float();
            let (terminated, done) = (flag(3), flag(3).max_pair(flag(4)));
            of_function(&inputs, |x| {
                let [r, v, n] = [0, 1, 2].map(|i| x[i].clone());
                let (advantages, targets) =
                    ops::tensors::gae(r, v, n, terminated, done, 0.99, 0.95);
                let advantages = advantages.reshape([64]);
                vec![
                    ops::tensors::standardize(advantages.clone()),
                    advantages,
                    targets.reshape([64]),
                ]
            })
        }),
        Case::new("kernel: tanh", TOLERANCE, |device| {
            let x = normal(5, [32, 32], &device.clone().autodiff()) * 4.0;
            of_function(&[x.detach()], |x| vec![kernels::tanh(x[0].clone()).reshape([1024])])
        }),
    ]
}
