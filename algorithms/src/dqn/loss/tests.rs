//! The loss of DQN against reference figures.

use std::collections::BTreeMap;

use rekindle_catalog::mask_logits;
use rekindle_core::Generator;
use rekindle_core::any_tensor::to_f32;
use rekindle_env::Space;
use rekindle_learner::PrepareContext;
use rekindle_rl_module::{ModuleContext, QNet, RLModule, RLModuleSpec, TargetNetwork};

use super::*;

/// Returns its observations: three values of the main network, then three of the target network.
#[derive(burn::module::Module, Debug)]
struct Echo {
    unused: usize,
}

fn part(batch: &Batch, from: usize) -> rekindle_rl_module::Result<Batch> {
    let values = batch.float::<2>(Columns::OBS)?.narrow(1, from, 3);
    Ok(Batch::new().with(Columns::QF_PREDS, values))
}

impl RLModule for Echo {
    fn setup(_: &ModuleContext<'_>) -> rekindle_rl_module::Result<Self> {
        Ok(Self { unused: 0 })
    }
    fn forward_train(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        part(batch, 0)
    }
    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for Echo {
    fn compute_q_values(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        part(batch, 0)
    }
}

impl TargetNetwork for Echo {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    fn forward_target(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        part(batch, 3)
    }
}

/// The loss of `Q(s, 0) = q` with reward 1 and γ 0.99, and its gradient by `q`. The next values are 1, 3, 2
/// of the main network and 2, 0.5, 4 of the target network.
fn loss(config: DqnTraining, q: f32) -> (f32, f32) {
    loss_before(config, q, [1.0, 3.0, 2.0, 2.0, 0.5, 4.0], 0.99)
}

/// The loss with other values of the next observation, and another discount.
fn loss_before(config: DqnTraining, q: f32, next: [f32; 6], discount: f32) -> (f32, f32) {
    let device = Device::flex().autodiff();
    let module = RLModuleSpec::of::<Echo>()
        .observation_space(Space::unbounded(&[6]).unwrap())
        .action_space(Space::discrete(3).unwrap())
        .build(&device)
        .unwrap();
    let obs = Tensor::<2>::from_floats([[q, 0.0, 0.0, 0.0, 0.0, 0.0]], &device).require_grad();
    let next = Tensor::<2>::from_floats([next], &device);
    let batch = Batch::new()
        .with(Columns::OBS, obs.clone())
        .with(Columns::NEXT_OBS, next)
        .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([1], &device))
        .with(Columns::REWARDS, Tensor::<1>::from_floats([1.0], &device))
        .with(Columns::DISCOUNTS, Tensor::<1>::from_floats([discount], &device));
    let at = PrepareContext::new("a", &module, &device);
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let cx = LossContext::new(at, &batch, &scalars, &mut rng);
    let total = DqnLoss::new(config).compute(&cx).unwrap().total;
    let value = to_f32(total.clone().inner()).unwrap()[0];
    let gradient = to_f32(obs.grad(&total.backward()).unwrap()).unwrap()[0];
    (value, gradient)
}

fn close(found: (f32, f32), expected: (f32, f32)) {
    let differ = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
    assert!(differ < 1e-5, "{found:?} {expected:?}");
}

#[test]
fn double_q_learning_takes_the_targets_value_of_the_main_networks_choice() {
    let mse =
        |double_q| DqnTraining::default().td_error_loss_fn(TdErrorLoss::Mse).double_q(double_q);
    // The squared distance of 0 to the target.
    close(loss(mse(false), 0.0), (4.96 * 4.96, -2.0 * 4.96));
    close(loss(mse(true), 0.0), (1.495 * 1.495, -2.0 * 1.495));
}

#[test]
fn the_largest_value_of_a_target_is_that_of_the_allowed_actions() {
    let device = Device::flex();
    let of = |row: [f32; 4]| {
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0, 0.0]], &device);
        let values = mask_logits(Tensor::from_floats([row], &device), mask);
        Batch::new().with(Columns::QF_PREDS, values)
    };
    let batch = Batch::new()
        .with(Columns::REWARDS, Tensor::<1>::from_floats([0.5], &device))
        .with(Columns::DISCOUNTS, Tensor::<1>::from_floats([0.9], &device));
    // The main network would choose the forbidden action, too, and otherwise the third one.
    for (online, expected) in [(None, 5.0), (Some(of([1.0, 2.0, 3.0, 4.0])), 2.0)] {
        let next = Next::new(&batch, of([1.0, 5.0, 2.0, 9.0]), online).unwrap();
        let value = of_actions(next.values, next.actions);
        assert_eq!(to_f32(value).unwrap(), [expected]);
        assert_eq!(to_f32(next.discounts).unwrap(), [0.9]);
    }
}

#[test]
fn squared_and_huber_losses_and_their_gradients() {
    let of = |td| DqnTraining::default().td_error_loss_fn(td);
    close(loss(of(TdErrorLoss::Mse), 0.2), (1.677_025, -2.59));
    close(loss(of(TdErrorLoss::Huber), 0.2), (0.795, -1.0));
    // Half the square within 1.
    close(loss(of(TdErrorLoss::Huber), 1.0), (0.5 * 0.495 * 0.495, -0.495));
    // Errors of 0.5 and 2.
    close(loss(of(TdErrorLoss::Huber), 1.495 + 0.5), (0.125, 0.5));
    close(loss(of(TdErrorLoss::Huber), 1.495 + 2.0), (1.5, 1.0));
}

/// Returns the noise of a pass as the values of two actions.
#[derive(burn::module::Module, Debug)]
struct Noise {
    unused: usize,
}

impl RLModule for Noise {
    fn setup(_: &ModuleContext<'_>) -> rekindle_rl_module::Result<Self> {
        Ok(Self { unused: 0 })
    }
    fn forward_train(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        Ok(Batch::new().with(Columns::QF_PREDS, batch.float::<2>(Columns::NOISE)?))
    }
    fn noise_dim(&self) -> usize {
        2
    }
    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for Noise {
    fn compute_q_values(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        self.forward_train(batch)
    }
}

impl TargetNetwork for Noise {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    fn forward_target(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
        self.forward_train(batch)
    }
}

/// The values of `Q(s, 0)` and of its target for two rows of one minibatch, without a reward and with γ 1.
fn values_and_targets(config: DqnTraining, seed: u64) -> [[f32; 2]; 2] {
    let device = Device::flex().autodiff();
    let module = RLModuleSpec::of::<Noise>()
        .observation_space(Space::unbounded(&[1]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .build(&device)
        .unwrap();
    let batch = Batch::new()
        .with(Columns::OBS, Tensor::<2>::zeros([2, 1], &device))
        .with(Columns::NEXT_OBS, Tensor::<2>::zeros([2, 1], &device))
        .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([2], &device))
        .with(Columns::REWARDS, Tensor::<1>::zeros([2], &device))
        .with(Columns::DISCOUNTS, Tensor::<1>::ones([2], &device));
    let at = PrepareContext::new("a", &module, &device);
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(seed));
    let cx = LossContext::new(at, &batch, &scalars, &mut rng);
    let outputs = Outputs::of(&cx, &config).unwrap();
    let of = |q: Tensor<2>, actions| to_f32(of_actions(q, actions)).unwrap().try_into().unwrap();
    let taken = outputs.online.float::<2>(Columns::QF_PREDS).unwrap();
    [of(taken, cx.action_indices().unwrap()), of(outputs.next.values, outputs.next.actions)]
}

#[test]
fn each_pass_of_a_minibatch_has_one_noise_of_its_own() {
    const SEEDS: u64 = 2000;
    for (double_q, expected) in [(false, 1.0 / std::f64::consts::PI.sqrt()), (true, 0.0)] {
        let config = DqnTraining::default().double_q(double_q);
        let (mut mean, mut covariance) = (0.0, 0.0);
        for seed in 0..SEEDS {
            let [values, targets] = values_and_targets(config.clone(), seed);
            assert!(values[0] == values[1] && targets[0] == targets[1], "rows share weights");
            mean += f64::from(targets[0]) / SEEDS as f64;
            covariance += f64::from(values[0] * targets[0]) / SEEDS as f64;
        }
        // The larger of two normal numbers has the mean 1/√π; one that others chose has the mean 0.
        assert!((mean - expected).abs() < 0.1, "{double_q}: {mean}");
        assert!(covariance.abs() < 0.1, "{double_q}: {covariance}");
    }
}

#[test]
fn what_follows_a_terminated_step_need_not_be_finite() {
    let nothing = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for (value, double_q) in nothing.into_iter().flat_map(|v| [(v, true), (v, false)]) {
        let config = DqnTraining::default().td_error_loss_fn(TdErrorLoss::Mse).double_q(double_q);
        // The target is the reward.
        close(loss_before(config, 0.2, [value; 6], 0.0), (0.64, -1.6));

        let kinds = [
            (ValueDistribution::Categorical { num_atoms: 3, v_min: 0.0, v_max: 2.0 }, 3f32.ln()),
            (ValueDistribution::Quantile { num_quantiles: 3 }, 0.5 * 1.5),
        ];
        for (kind, expected) in kinds {
            let device = Device::flex();
            let column = |value: f32| {
                let parameters = Tensor::<3>::full([1, 2, 3], value, &device);
                Batch::new().with(kind.column(), parameters)
            };
            let next = Next {
                rewards: Tensor::from_floats([1.0], &device),
                discounts: Tensor::zeros([1], &device),
                outputs: column(value),
                values: Tensor::full([1, 2], value, &device),
                actions: Tensor::zeros([1], &device),
            };
            let actions = Tensor::zeros([1], &device);
            let [loss, _] = DqnLoss::of_distributions(kind, &column(0.0), actions, next).unwrap();
            let loss = to_f32(loss).unwrap()[0];
            assert!((loss - expected).abs() < 1e-6, "{kind:?} {value}: {loss}");
        }
    }
}
