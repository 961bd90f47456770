//! The losses of SAC, TQC, TD3, DDPG, CQL, IQL and TD3+BC on batches that are computed by hand.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::cql::CqlLoss;
use rekindle::algorithms::iql::IqlLoss;
use rekindle::algorithms::sac::SacLoss;
use rekindle::algorithms::td3::Td3Loss;
use rekindle::algorithms::{SacTraining, Td3Training, TqcTraining, TrainingConfig};
use rekindle::core::any_tensor::to_f32;
use rekindle::learner::AfterMinibatch;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::device;

/// Critics, targets and policies that return parts of the observations.
#[derive(Module, Debug)]
struct Echo {
    unused: usize,
}

/// Where each part begins: two critics' values, then those of their targets, then the policy's outputs, and a number
/// that says what to return: 3 for three values of each critic, and −1 for the action as the value of the targets.
const Q: usize = 0;
const TARGET_Q: usize = 6;
const POLICY: usize = 12;
const MARK: usize = 15;
/// The value of the observation.
const VALUE: usize = 16;
const WIDTH: usize = 17;

/// Three numbers of each of two critics.
fn values(batch: &Batch, from: usize, of_critic: usize) -> ModuleResult<Tensor<3>> {
    let obs = batch.float::<2>(Columns::OBS)?;
    let rows = obs.dims()[0];
    Ok(obs.narrow(1, from, 6).reshape([rows, 2, 3]).narrow(2, 0, of_critic))
}

/// The mark of the first observation.
fn mark(batch: &Batch) -> ModuleResult<f32> {
    Ok(to_f32(batch.float::<2>(Columns::OBS)?.narrow(1, MARK, 1))?[0])
}

/// The number of values of each critic.
fn count(batch: &Batch) -> ModuleResult<usize> {
    Ok(if mark(batch)? == 3.0 { 3 } else { 1 })
}

impl RLModule for Echo {
    fn setup(_: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { unused: 0 })
    }
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = batch.float::<2>(Columns::OBS)?.narrow(1, POLICY, 3);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        Some(self)
    }
    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        Some(self)
    }
    fn as_deterministic_policy(&self) -> Option<&dyn DeterministicPolicy> {
        Some(self)
    }
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl ValueFunction for Echo {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(batch.float::<2>(Columns::OBS)?.narrow(1, VALUE, 1).squeeze_dim(1))
    }
}

impl ActionCritic for Echo {
    fn compute_action_values(&self, batch: &Batch) -> ModuleResult<Tensor<3>> {
        values(batch, Q, count(batch)?)
    }
}

impl StochasticPolicy for Echo {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> ModuleResult<(Tensor<2>, Tensor<1>)> {
        let of_policy = batch.float::<2>(Columns::OBS)?.narrow(1, POLICY, 1);
        // With the mark −1, the policy has no noise.
        let actions = if mark(batch)? < 0.0 { of_policy.clone() } else { noise };
        Ok((actions, of_policy.squeeze_dim(1)))
    }
}

impl DeterministicPolicy for Echo {
    fn compute_actions(&self, batch: &Batch) -> ModuleResult<Tensor<2>> {
        Ok(batch.float::<2>(Columns::OBS)?.narrow(1, POLICY, 1))
    }
    fn compute_target_actions(&self, batch: &Batch) -> ModuleResult<Tensor<2>> {
        self.compute_actions(batch)
    }
}

impl TargetNetwork for Echo {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    fn forward_target(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = match mark(batch)? < 0.0 {
            true => batch.float::<2>(Columns::ACTIONS)?.unsqueeze_dim(1),
            false => values(batch, TARGET_Q, count(batch)?)?,
        };
        Ok(Batch::new().with(Columns::QF_PREDS, q))
    }
}

/// What a loss returns for one row.
struct Computed {
    total: f32,
    /// By the numbers of the observation.
    gradient: Vec<f32>,
    /// By log α.
    of_log_alpha: Option<f32>,
    /// By the logarithm of the multiplier of CQL's penalty.
    of_log_multiplier: Option<f32>,
    metrics: BTreeMap<&'static str, f32>,
}

struct Case {
    space: Space,
    obs: [f32; WIDTH],
    next: Vec<[f32; WIDTH]>,
    reward: f32,
    discount: f32,
}

impl Case {
    fn new(space: Space) -> Self {
        let next = vec![[0.0; WIDTH]];
        Self { space, obs: [0.0; WIDTH], next, reward: 0.0, discount: 0.0 }
    }

    fn compute(&self, loss: &mut dyn Loss, phase: usize) -> Computed {
        let autodiff = device().autodiff();
        let module = RLModuleSpec::of::<Echo>()
            .observation_space(Space::unbounded(&[WIDTH]).unwrap())
            .action_space(self.space.clone())
            .build(&autodiff)
            .unwrap();
        let rows = self.next.len();
        let tensor = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [rows, WIDTH]), &autodiff)
        };
        let obs = tensor(self.obs.repeat(rows)).require_grad();
        let actions: Column = match &self.space {
            Space::Discrete(_) => Tensor::<1, Int>::ones([rows], &autodiff).into(),
            _ => Tensor::<2>::zeros([rows, 1], &autodiff).into(),
        };
        let batch = Batch::new()
            .with(Columns::OBS, obs.clone())
            .with(Columns::NEXT_OBS, tensor(self.next.concat()))
            .with(Columns::ACTIONS, actions)
            .with(Columns::REWARDS, Tensor::<1>::full([rows], self.reward, &autodiff))
            .with(Columns::DISCOUNTS, Tensor::<1>::full([rows], self.discount, &autodiff));
        let log_alpha = Tensor::<1>::from_floats([0.2f32.ln()], &autodiff).require_grad();
        let log_multiplier = Tensor::<1>::from_floats([1.0], &autodiff).require_grad();
        let scalars = BTreeMap::from([
            (SacLoss::LOG_ALPHA.to_owned(), log_alpha.clone()),
            (CqlLoss::LOG_MULTIPLIER.to_owned(), log_multiplier.clone()),
        ]);
        let mut rng = Generator::from_seed(0);
        let at = PrepareContext::new("a", &module, &autodiff);
        let mut cx = LossContext::new(at, &batch, &scalars, &mut rng);
        cx.phase = phase;
        let losses = loss.compute(&cx).unwrap();
        let gradients = losses.total.clone().backward();
        let one = |value: Tensor<1>| to_f32(value).unwrap()[0];
        let gradient = obs.grad(&gradients).map_or(vec![0.0; WIDTH], |g| to_f32(g).unwrap());
        Computed {
            total: one(losses.total.clone()),
            gradient,
            of_log_alpha: log_alpha.grad(&gradients).map(one),
            of_log_multiplier: log_multiplier.grad(&gradients).map(one),
            metrics: losses.metrics.into_iter().map(|(name, value)| (name, one(value))).collect(),
        }
    }
}

fn close(found: f32, expected: f32) {
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
}

fn unit_box() -> Space {
    Space::boxed(-1.0, 1.0, &[1]).unwrap()
}

/// Observations with given numbers from some places on.
fn numbers(parts: &[(usize, &[f32])]) -> [f32; WIDTH] {
    let mut all = [0.0; WIDTH];
    for (from, values) in parts {
        all[*from..*from + values.len()].copy_from_slice(values);
    }
    all
}

#[test]
fn sacs_critics_learn_half_the_squared_errors_to_the_smaller_target_minus_alpha_log_pi() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5])]);
    case.next = vec![numbers(&[(TARGET_Q, &[1.5, 0.0, 0.0, 9.0]), (POLICY, &[-0.7])])];
    (case.reward, case.discount) = (0.5, 0.99);
    let mut loss = SacLoss::new(SacTraining::default());
    let found = case.compute(&mut loss, 0);
    close(found.metrics["qf_target_mean"], 2.1236);
    close(found.total, 0.702_077);
    close(found.gradient[0], 1.0 - 2.1236);
    close(found.gradient[3], 2.5 - 2.1236);
    assert!(found.of_log_alpha.is_none(), "the critics do not move the temperature");
    // After a termination only the reward counts.
    case.discount = 0.0;
    close(case.compute(&mut loss, 0).metrics["qf_target_mean"], 0.5);
}

#[test]
fn without_targets_next_values_are_those_of_the_critics_themselves_without_gradients() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5])]);
    let next = [(Q, &[1.5, 0.0, 0.0, 9.0][..]), (TARGET_Q, &[-7.0; 6]), (POLICY, &[-0.7])];
    case.next = vec![numbers(&next)];
    (case.reward, case.discount) = (0.5, 0.99);
    let mut loss = SacLoss::new(SacTraining::default().critics_use_batch_renorm(true));
    let found = case.compute(&mut loss, 0);
    close(found.metrics["qf_target_mean"], 2.1236);
    close(found.total, 0.702_077);
    close(found.gradient[0], 1.0 - 2.1236);
    close(found.gradient[3], 2.5 - 2.1236);
    assert_eq!(loss.required_roles(), [rekindle::rl_module::Role::ActionCritic]);
}

#[test]
fn sacs_policy_learns_alpha_log_pi_minus_the_smaller_value_and_the_temperature_the_entropy_gap() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5]), (POLICY, &[-0.7])]);
    let mut loss = SacLoss::new(SacTraining::default());
    let found = case.compute(&mut loss, 1);
    close(found.total, -1.14);
    close(found.gradient[POLICY], 0.2);
    close(found.metrics["entropy"], 0.7);
    assert!(found.of_log_alpha.is_none(), "the policy does not move the temperature");
    // The target entropy is minus the number of elements of an action.
    let found = case.compute(&mut loss, 2);
    close(found.total, 0.2f32.ln() * 1.7);
    close(found.of_log_alpha.unwrap(), 1.7);
    // The temperature's step needs the policy's.
    let fixed = SacTraining::default().learn_alpha(false).initial_alpha(0.5);
    let found = case.compute(&mut SacLoss::new(fixed.clone()), 1);
    close(found.total, 0.5 * -0.7 - 1.0);
    assert_eq!(SacLoss::new(fixed).phases().len(), 2);
}

#[test]
fn discrete_sac_takes_expectations_over_actions() {
    let logp = [0.7f32, 0.2, 0.1].map(f32::ln);
    let q = [1.0, 5.0, 3.0, 9.0, 1.0, 4.0];
    let mut case = Case::new(Space::discrete(3).unwrap());
    case.obs = numbers(&[(Q, &q), (POLICY, &logp), (MARK, &[3.0])]);
    case.next = vec![numbers(&[(TARGET_Q, &q), (POLICY, &logp), (MARK, &[3.0])])];
    (case.reward, case.discount) = (1.0, 0.5);
    let mut loss = SacLoss::new(SacTraining::default());
    let found = case.compute(&mut loss, 0);
    close(found.metrics["qf_target_mean"], 1.0 + 0.5 * 1.360_364);
    // Action 1 has the values 5 and 1.
    let target = 1.0f32 + 0.5 * 1.360_364;
    close(found.total, 0.5 * ((5.0 - target).powi(2) + (1.0 - target).powi(2)));
    let found = case.compute(&mut loss, 1);
    close(found.total, -1.360_364);
    for (found, expected) in
        found.gradient[POLICY..MARK].iter().zip([0.202_320, 0.007_695, -0.210_015])
    {
        close(*found, expected);
    }
    close(found.metrics["entropy"], 0.801_819);
    let found = case.compute(&mut loss, 2);
    close(found.of_log_alpha.unwrap(), 0.801_819 - 0.977_765);
}

#[test]
fn tqcs_targets_leave_out_the_largest_quantiles_of_the_pool_and_its_policy_takes_the_mean() {
    let mut case = Case::new(unit_box());
    let marker = (MARK, &[3.0][..]);
    case.obs = numbers(&[(Q, &[-0.5, 0.4, 2.0, -0.5, 0.4, 2.0]), (POLICY, &[-1.0]), marker]);
    let pool = [3.0, 0.0, 9.0, 1.0, 7.0, 4.0];
    case.next = vec![numbers(&[(TARGET_Q, &pool), (POLICY, &[-1.0]), marker])];
    (case.reward, case.discount) = (1.0, 0.9);
    let config = TqcTraining::default().num_quantiles(3).top_quantiles_to_drop_per_critic(1);
    let mut loss = config.loss();
    let found = case.compute(&mut *loss, 0);
    let targets = [1.18f32, 2.08, 3.88, 4.78];
    close(found.metrics["qf_target_mean"], targets.iter().sum::<f32>() / 4.0);
    let huber = |u: f32| if u.abs() <= 1.0 { 0.5 * u * u } else { u.abs() - 0.5 };
    let mut expected = 0.0;
    for (index, quantile) in [-0.5f32, 0.4, 2.0].into_iter().enumerate() {
        let level = (2 * index + 1) as f32 / 6.0;
        for target in targets {
            let u = target - quantile;
            expected += (level - f32::from(u < 0.0)).abs() * huber(u) / 12.0;
        }
    }
    close(found.total, expected);
    close(case.compute(&mut *loss, 1).total, -0.2 - 1.9 / 3.0);
}

#[test]
fn tqcs_loss_is_the_mean_over_critics_quantiles_and_targets() {
    let mut case = Case::new(unit_box());
    let marker = (MARK, &[3.0][..]);
    case.obs = numbers(&[(Q, &[-0.5, 0.4, 2.0, -0.5, 0.4, 2.0]), marker]);
    // Two targets are left: 0 and 1.
    case.next = vec![numbers(&[(TARGET_Q, &[0.0, 5.0, 6.0, 1.0, 7.0, 8.0]), marker])];
    case.discount = 1.0;
    let config = TqcTraining::default().num_quantiles(3).top_quantiles_to_drop_per_critic(2);
    close(case.compute(&mut *config.loss(), 0).total, 0.108_472);
}

#[test]
fn td3_takes_the_smaller_target_of_noisy_actions_and_learns_the_sum_of_squared_errors() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5]), (POLICY, &[0.3])]);
    case.next = vec![numbers(&[(TARGET_Q, &[1.5, 0.0, 0.0, 9.0])])];
    (case.reward, case.discount) = (0.5, 0.99);
    let target = 0.5f32 + 0.99 * 1.5;
    let found = case.compute(&mut Td3Loss::new(Td3Training::default()), 0);
    close(found.metrics["qf_target_mean"], target);
    close(found.total, (1.0 - target).powi(2) + (2.5 - target).powi(2));
    // The policy learns from the first critic.
    close(case.compute(&mut Td3Loss::new(Td3Training::default()), 1).total, -1.0);

    // Targets that are the actions themselves. The noise is clipped to ±0.5 first, and then the action.
    case.next = vec![numbers(&[(POLICY, &[0.9]), (MARK, &[-1.0])]); 64];
    (case.reward, case.discount) = (0.0, 1.0);
    let loud = Td3Training::default().target_noise(1e6).target_noise_clip(0.5);
    let mean = case.compute(&mut Td3Loss::new(loud), 0).metrics["qf_target_mean"];
    let above = (mean - 0.4) / 0.6 * 64.0;
    assert!((above - above.round()).abs() < 1e-3, "all are 1 or 0.4: {mean}");
    assert!((10.0..54.0).contains(&above), "{above} of 64");
    let silent = Td3Training::default().target_noise(0.0);
    close(case.compute(&mut Td3Loss::new(silent), 0).metrics["qf_target_mean"], 0.9);
}

#[test]
fn sac_without_noise_and_temperature_is_td3_without_delay_and_noise_on_targets() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5]), (POLICY, &[0.3])]);
    // The value of the target is that of the action.
    case.next = vec![numbers(&[(POLICY, &[0.7]), (MARK, &[-1.0])])];
    (case.reward, case.discount) = (0.5, 0.99);
    let mut sac = SacLoss::new(SacTraining::default().learn_alpha(false).initial_alpha(1e-12));
    let mut td3 = Td3Loss::new(Td3Training::default().policy_delay(1).target_noise(0.0));
    let [of_sac, of_td3] = [case.compute(&mut sac, 0), case.compute(&mut td3, 0)];
    close(of_sac.metrics["qf_target_mean"], 0.5 + 0.99 * 0.7);
    close(of_td3.metrics["qf_target_mean"], 0.5 + 0.99 * 0.7);
    // SAC's loss of the critics is half of TD3's.
    close(2.0 * of_sac.total, of_td3.total);
    for (sac, td3) in of_sac.gradient.iter().zip(&of_td3.gradient) {
        close(2.0 * sac, *td3);
    }
    // The first critic has the smaller value here, which both policies learn from.
    let [of_sac, of_td3] = [case.compute(&mut sac, 1), case.compute(&mut td3, 1)];
    close(of_sac.total, of_td3.total);
    assert!(!td3.skips_phase(1));
}

#[test]
fn td3_moves_policy_and_targets_with_every_second_of_11_updates_of_the_critics() {
    let module = RLModuleSpec::of::<Echo>()
        .observation_space(Space::unbounded(&[WIDTH]).unwrap())
        .action_space(unit_box())
        .build(&device())
        .unwrap();
    let mut loss = Td3Loss::new(Td3Training::default().policy_delay(2));
    let mut moved = Vec::new();
    for update in 1..=11 {
        let steps_policy = !loss.skips_phase(1);
        assert!(!loss.skips_phase(0));
        let mut cx = AfterMinibatch::new("a", &module, 0);
        loss.after_minibatch(&mut cx).unwrap();
        assert_eq!(cx.target_tau(), steps_policy.then_some(0.005));
        moved.extend(steps_policy.then_some(update));
    }
    assert_eq!(moved, [2, 4, 6, 8, 10]);
}

#[test]
fn cqls_critics_learn_the_squared_errors_and_the_weighted_gap_of_sampled_actions() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[1.0, 0.0, 0.0, 2.5]), (POLICY, &[-0.7])]);
    case.next = vec![numbers(&[(TARGET_Q, &[1.5, 0.0, 0.0, 9.0]), (POLICY, &[-0.2])])];
    (case.reward, case.discount) = (0.5, 0.99);
    let config = CqlTraining::default().num_actions(2).min_q_weight(3.0);
    let found = case.compute(&mut CqlLoss::new(config.clone()), 0);
    // Without the entropy of the policy.
    let target = 0.5f32 + 0.99 * 1.5;
    close(found.metrics["qf_target_mean"], target);
    let errors = (1.0 - target).powi(2) + (2.5 - target).powi(2);
    // Two actions each of density ½, exp(−0.7) and exp(−0.2), with equal values.
    let gap = (2.0 * (2.0f32 + 0.7f32.exp() + 0.2f32.exp())).ln();
    close(found.metrics["cql_gap"], gap);
    close(found.total, errors + 3.0 * 2.0 * gap);
    close(found.gradient[0], 2.0 * (1.0 - target));
    let with_entropy = config.clone().deterministic_backup(false);
    let found = case.compute(&mut CqlLoss::new(with_entropy), 0);
    close(found.metrics["qf_target_mean"], target + 0.99 * 0.2 * 0.2);
    // Without weights, seven equal values are log 7 above one.
    let unweighted = config.importance_sample(false).temperature(2.0);
    let found = case.compute(&mut CqlLoss::new(unweighted), 0);
    close(found.metrics["cql_gap"], 2.0 * 7.0f32.ln());
}

#[test]
fn cqls_multiplier_grows_while_the_gap_exceeds_its_threshold() {
    let q = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
    let mut case = Case::new(Space::discrete(3).unwrap());
    let parts = [(Q, &q[..]), (TARGET_Q, &[0.0; 6]), (POLICY, &[0.0; 3]), (MARK, &[3.0])];
    case.obs = numbers(&parts);
    case.next = vec![case.obs];
    case.reward = 2.0;
    let config = CqlTraining::default().min_q_weight(2.0);
    // The action of the data has the value 2, which is the target.
    let gap = 3.407_606f32 - 2.0;
    let found = case.compute(&mut CqlLoss::new(config.clone()), 0);
    close(found.total, 2.0 * 2.0 * gap);
    let probabilities = [0.090_031f32, 0.244_728 - 1.0, 0.665_241];
    for (found, expected) in found.gradient[..3].iter().zip(probabilities) {
        close(*found, 2.0 * expected);
    }
    let mut loss = CqlLoss::new(config.lagrangian(true).lagrangian_thresh(10.0));
    let found = case.compute(&mut loss, 0);
    let e = std::f32::consts::E;
    close(found.total, 2.0 * e * (2.0 * gap - 10.0));
    assert!(found.of_log_multiplier.is_none(), "the critics do not move the multiplier");
    let found = case.compute(&mut loss, 3);
    close(found.of_log_multiplier.unwrap(), -e * (2.0 * gap - 10.0));
    // A weighted gap of 4.068631.
    let weighted = CqlTraining::default().min_q_weight(4.068_631 / f64::from(gap));
    let mut loss = CqlLoss::new(weighted.lagrangian(true).lagrangian_thresh(10.0));
    case.compute(&mut loss, 0);
    close(case.compute(&mut loss, 3).of_log_multiplier.unwrap(), 16.123_133);
}

#[test]
fn cqls_policy_clones_the_data_before_it_follows_the_critics() {
    let logits = [0.5f32, 0.25, 0.25].map(f32::ln);
    let mut case = Case::new(Space::discrete(3).unwrap());
    let q = [4.0, 0.0, 0.0, 4.0, 0.0, 0.0];
    case.obs = numbers(&[(Q, &q), (POLICY, &logits), (MARK, &[3.0])]);
    case.next = vec![case.obs];
    let mut loss = CqlLoss::new(CqlTraining::default().bc_iters(1));
    let entropy = 1.5 * 2.0f32.ln();
    let found = case.compute(&mut loss, 1);
    close(found.total, -(0.25f32.ln() + 0.2 * entropy));
    close(found.metrics["entropy"], entropy);
    close(case.compute(&mut loss, 2).of_log_alpha.unwrap(), entropy - 0.89 * 3.0f32.ln());
    let autodiff = device().autodiff();
    let module = RLModuleSpec::of::<Echo>()
        .observation_space(Space::unbounded(&[WIDTH]).unwrap())
        .action_space(Space::discrete(3).unwrap())
        .build(&autodiff)
        .unwrap();
    loss.after_minibatch(&mut AfterMinibatch::new("a", &module, 0)).unwrap();
    close(case.compute(&mut loss, 1).total, -(0.5 * 4.0 + 0.2 * entropy));
}

#[test]
fn iqls_value_is_an_expectile_that_critics_bootstrap_from_and_the_policy_is_weighted_by() {
    let mut case = Case::new(Space::discrete(3).unwrap());
    let logp = [0.5f32, 0.25, 0.25].map(f32::ln);
    // Action 1 has the values 3 and 2, and the targets of the critics say 1.5 and 0.5.
    let q = [9.0, 3.0, 9.0, 9.0, 2.0, 9.0];
    let target_q = [9.0, 1.5, 9.0, 9.0, 0.5, 9.0];
    let parts = [(Q, &q[..]), (TARGET_Q, &target_q), (POLICY, &logp), (MARK, &[3.0, 0.25])];
    case.obs = numbers(&parts);
    case.next = vec![numbers(&[(VALUE, &[4.0])])];
    (case.reward, case.discount) = (1.0, 0.5);
    let config = IqlTraining::default().expectile(0.7).beta(3.0);
    let mut loss = IqlLoss::new(config);
    let found = case.compute(&mut loss, 0);
    close(found.total, 0.7 * 0.0625);
    close(found.gradient[VALUE], -2.0 * 0.7 * 0.25);
    assert_eq!(found.gradient[TARGET_Q..POLICY], [0.0; 6]);
    // Both critics learn the mean of two squared errors from 1 + 0.5·4.
    let found = case.compute(&mut loss, 1);
    close(found.metrics["qf_target_mean"], 3.0);
    close(found.total, 0.5);
    close(found.gradient[Q + 4], 2.0 - 3.0);
    let found = case.compute(&mut loss, 2);
    close(found.metrics["weight_mean"], 0.75f32.exp());
    close(found.total, -(0.75f32.exp()) * 0.25f32.ln());
    // Where the value is too large, the other weight counts.
    case.obs[VALUE] = 2.5;
    close(case.compute(&mut loss, 0).total, 0.3 * 4.0);
}

#[test]
fn td3_bcs_policy_imitates_the_data_and_follows_the_scaled_value() {
    let mut case = Case::new(unit_box());
    case.obs = numbers(&[(Q, &[-4.0, 0.0, 0.0, 7.0]), (POLICY, &[0.2])]);
    let mut loss = Td3BcTraining::default().loss();
    let found = case.compute(&mut *loss, 1);
    // The action of the data is 0.
    close(found.metrics["bc_loss"], 0.04);
    close(found.total, 2.5 + 0.04);
    close(found.gradient[POLICY], 0.4);
    close(found.gradient[Q], -2.5 / 4.0);
}
