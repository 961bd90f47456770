//! Properties of the distributions of all action spaces, on random spaces nested up to three deep.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::sync::Arc;

use burn::prelude::*;
use proptest::prelude::*;
use rekindle_catalog::{Catalog, DefaultCatalog, Distribution, Result, SquashedGaussian};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_env::{Buffer, Discrete, Generator, Space};

/// The default catalog, but bounded boxes are squashed, so that samples keep to the bounds.
#[derive(Debug)]
struct Bounded;

impl Catalog for Bounded {
    fn action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        match space {
            Space::Box(b) if b.is_bounded() => {
                Ok(Arc::new(SquashedGaussian::new(b.low(), b.high())?))
            }
            _ => self.default_action_distribution(space),
        }
    }
}

/// Leaves whose distributions have entropies and divergences.
fn closed_leaf() -> impl Strategy<Value = Space> {
    prop_oneof![
        prop::collection::vec(1_usize..4, 0..4).prop_map(|s| Space::unbounded(&s).unwrap()),
        (1_usize..6, -5_i64..5)
            .prop_map(|(n, start)| Space::Discrete(Discrete::with_start(n, start).unwrap())),
        prop::collection::vec(1_usize..5, 1..4).prop_map(|n| Space::multi_discrete(n).unwrap()),
        (1_usize..6).prop_map(|n| Space::multi_binary(n).unwrap()),
    ]
}

fn any_leaf() -> impl Strategy<Value = Space> {
    let bounds = (-50.0_f32..50.0, 0.01_f32..100.0);
    let squashed = prop::collection::vec(bounds, 1..4).prop_map(|bounds| {
        let (low, high): (Vec<_>, Vec<_>) =
            bounds.into_iter().map(|(low, width)| (low, low + width)).unzip();
        Space::box_between(low, high).unwrap()
    });
    prop_oneof![1 => squashed, 3 => closed_leaf()]
}

fn nested(leaf: impl Strategy<Value = Space> + 'static) -> impl Strategy<Value = Space> {
    leaf.prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            prop::collection::btree_map("[a-z]{1,3}", part.clone(), 1..4)
                .prop_map(|parts| Space::dict(parts).unwrap()),
            prop::collection::vec(part, 1..4).prop_map(|parts| Space::tuple(parts).unwrap()),
        ]
    })
}

/// Rows of normal inputs.
fn random_inputs(dim: usize, rows: usize, rng: &mut Generator) -> Vec<f32> {
    (0..rows * dim).map(|_| rng.standard_normal() as f32).collect()
}

fn tensor(inputs: &[f32], dim: usize) -> Tensor<2> {
    let data = TensorData::new(inputs.to_vec(), [inputs.len() / dim, dim]);
    Tensor::from_data(data, &Device::flex())
}

const ROWS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn actions_are_in_the_space_and_tensors_agree_with_rows(
        space in nested(any_leaf()),
        seed in any::<u64>(),
    ) {
        let dist = Bounded.action_distribution(&space).unwrap();
        let (mut rng, dim) = (Generator::from_seed(seed), dist.required_input_dim());
        let inputs = random_inputs(dim, ROWS, &mut rng);
        let mut actions = Buffer::zeros(&space, ROWS);
        for (i, row) in inputs.chunks_exact(dim).enumerate() {
            dist.deterministic(row, actions.row_mut(i)).unwrap();
            prop_assert!(space.contains_row(actions.row(i)), "{:?}", actions.row(i));
            dist.sample(row, &mut rng, actions.row_mut(i)).unwrap();
            prop_assert!(space.contains_row(actions.row(i)), "{:?}", actions.row(i));
        }
        let column = upload(&actions, &Device::flex()).unwrap();
        let logp = to_f32(dist.logp(tensor(&inputs, dim), &column).unwrap()).unwrap();
        for (i, row) in inputs.chunks_exact(dim).enumerate() {
            let expected = dist.row_logp(row, actions.row(i)).unwrap();
            let tolerance = 1e-3 * (1.0 + expected.abs());
            prop_assert!((logp[i] - expected).abs() < tolerance, "{} {expected}", logp[i]);
        }
    }

    #[test]
    fn divergences_are_zero_to_oneself_and_never_negative(
        space in nested(closed_leaf()),
        seed in any::<u64>(),
    ) {
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let (mut rng, dim) = (Generator::from_seed(seed), dist.required_input_dim());
        let mut inputs = || tensor(&random_inputs(dim, ROWS, &mut rng), dim);
        let (p, q) = (inputs(), inputs());
        let own = to_f32(dist.kl(p.clone(), p.clone()).unwrap()).unwrap();
        prop_assert!(own.iter().all(|kl| kl.abs() < 1e-6), "{own:?}");
        let other = to_f32(dist.kl(p, q).unwrap()).unwrap();
        prop_assert!(other.iter().all(|kl| *kl > -1e-6), "{other:?}");
    }
}

fn leaves() -> Vec<Space> {
    vec![
        Space::discrete(4).unwrap(),
        Space::unbounded(&[2]).unwrap(),
        Space::multi_discrete([3, 2]).unwrap(),
        Space::multi_binary(3).unwrap(),
    ]
}

/// One space of each kind. The last space contains all others.
fn one_of_each() -> Vec<Space> {
    let all = Space::tuple(leaves()).unwrap();
    [leaves(), vec![Space::dict([("all", all), ("one", Space::discrete(2).unwrap())]).unwrap()]]
        .concat()
}

#[test]
fn batches_of_1_to_32_rows_are_sampled_inside_every_leaf_of_every_space() {
    let start = Space::Discrete(Discrete::with_start(3, -1).unwrap());
    let bounded = Space::box_between([-1.0, 5.0], [1.0, 6.0]).unwrap();
    let (box7, five) = (Space::unbounded(&[7]).unwrap(), Space::multi_discrete([5, 5, 5]).unwrap());
    let tuple = Space::tuple([five.clone(), Space::dict([("a", start.clone())]).unwrap()]).unwrap();
    let nested = Space::dict([("box", bounded.clone()), ("tuple", tuple)]).unwrap();
    for (space, name) in [
        (box7, "DiagGaussian"),
        (Space::discrete(5).unwrap(), "Categorical"),
        (start, "Categorical"),
        (five, "MultiCategorical"),
        (Space::multi_binary(4).unwrap(), "Bernoulli"),
        (bounded, "SquashedGaussian"),
        (nested, "MultiDistribution"),
    ] {
        let dist = Bounded.action_distribution(&space).unwrap();
        assert!(format!("{dist:?}").starts_with(name), "{dist:?}");
        let (mut rng, dim) = (Generator::from_seed(15), dist.required_input_dim());
        for rows in 1..=32 {
            let inputs = random_inputs(dim, rows, &mut rng);
            let mut actions = Buffer::zeros(&space, rows);
            for (i, row) in inputs.chunks_exact(dim).enumerate() {
                dist.sample(row, &mut rng, actions.row_mut(i)).unwrap();
            }
            // Rows are checked after all are written, because no row may change another.
            for i in 0..rows {
                let action = actions.row(i);
                assert!(space.contains_row(action), "{space}: row {i} of {rows}: {action:?}");
            }
        }
    }
}

#[test]
fn entropies_are_the_mean_of_minus_the_log_probability_of_samples() {
    let n = 20_000;
    for space in one_of_each() {
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let (mut rng, dim) = (Generator::from_seed(6), dist.required_input_dim());
        let inputs = random_inputs(dim, 1, &mut rng);
        let mut action = Buffer::zeros(&space, 1);
        let mut sum = 0f64;
        for _ in 0..n {
            let logp = dist.sample_and_logp(&inputs, &mut rng, action.row_mut(0)).unwrap();
            assert_eq!(logp, dist.row_logp(&inputs, action.row(0)).unwrap());
            sum -= f64::from(logp);
        }
        let entropy = to_f32(dist.entropy(tensor(&inputs, dim)).unwrap()).unwrap()[0];
        let estimate = sum / f64::from(n);
        assert!((estimate - f64::from(entropy)).abs() < 0.05, "{space}: {estimate} {entropy}");
    }
}

#[test]
fn log_probabilities_and_their_gradients_are_finite_for_extreme_inputs() {
    let device = Device::flex().autodiff();
    let extremes = [0.0, 1e34, -1e34, 1.1e-34, -1.1e-34, 1e8, -1e8, 1e-6, -1e-6, f32::MIN];
    for space in one_of_each() {
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let (mut rng, dim) = (Generator::from_seed(9), dist.required_input_dim());
        let mut action = Buffer::zeros(&space, 1);
        for _ in 0..300 {
            // Lift every other mask. Inputs whose choices are still all masked have no action.
            let mut inputs: Vec<f32> =
                (0..dim).map(|_| extremes[rng.integers(0, 10) as usize]).collect();
            inputs.iter_mut().filter(|x| **x == f32::MIN).step_by(2).for_each(|x| *x = 0.0);
            if dist.sample(&inputs, &mut rng, action.row_mut(0)).is_err() {
                continue;
            }
            let row = dist.row_logp(&inputs, action.row(0)).unwrap();
            assert!(row.is_finite() && space.contains_row(action.row(0)), "{space}: {inputs:?}");
            // Improbable actions, too.
            space.sample_into(&mut rng, action.row_mut(0)).unwrap();
            let tensor = Tensor::<1>::from_floats(&inputs[..], &device).require_grad();
            let column = upload(&action, &device).unwrap();
            let logp = dist.logp(tensor.clone().unsqueeze(), &column).unwrap();
            assert!(logp.clone().into_scalar::<f32>().is_finite(), "{space}: {inputs:?}");
            let gradient = to_f32(tensor.grad(&logp.sum().backward()).unwrap()).unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{space}: {inputs:?} {gradient:?}");
        }
    }
}

/// A space of each kind with a distribution over it, and whether −∞ masks one of its inputs.
fn acting() -> Vec<(Space, Arc<dyn Distribution>, bool)> {
    let leaf = |space: Space, masks| {
        let distribution = Bounded.action_distribution(&space).unwrap();
        (space, distribution, masks)
    };
    let tuple = Space::tuple([Space::discrete(2).unwrap(), Space::unbounded(&[1]).unwrap()]);
    vec![
        leaf(Space::discrete(3).unwrap(), true),
        leaf(Space::multi_discrete([2, 3]).unwrap(), true),
        leaf(Space::multi_binary(2).unwrap(), true),
        leaf(Space::unbounded(&[2]).unwrap(), false),
        leaf(Space::boxed(-2.0, 2.0, &[2]).unwrap(), false),
        leaf(tuple.unwrap(), true),
        (Space::unbounded(&[2]).unwrap(), Arc::new(rekindle_catalog::Deterministic::new(2)), false),
    ]
}

#[test]
fn inputs_that_are_not_finite_are_an_error_in_every_distribution() {
    for (space, distribution, masks) in acting() {
        let dim = distribution.required_input_dim();
        let mut action = Buffer::zeros(&space, 1);
        let mut rng = Generator::from_seed(0);
        for index in 0..dim {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut inputs = vec![0.1; dim];
                inputs[index] = value;
                let results = [
                    distribution.sample(&inputs, &mut rng, action.row_mut(0)).err(),
                    distribution.sample_and_logp(&inputs, &mut rng, action.row_mut(0)).err(),
                    distribution.deterministic(&inputs, action.row_mut(0)).err(),
                    distribution.row_logp(&inputs, action.row(0)).err(),
                ];
                for error in results {
                    match error {
                        Some(error) => {
                            let message = error.to_string();
                            assert!(message.contains(&format!("is {value}")), "{message}");
                            assert!(message.contains("diverged"), "{message}");
                        }
                        // Choices are masked by −∞.
                        None => assert!(masks && value == f32::NEG_INFINITY, "{space}: {value}"),
                    }
                }
            }
        }
    }
}

#[test]
fn actions_that_are_not_finite_are_an_error_in_every_distribution_over_a_box() {
    for (space, distribution, _) in acting() {
        let Space::Box(_) = space else { continue };
        let inputs = vec![0.1; distribution.required_input_dim()];
        for value in [f32::NAN, f32::INFINITY] {
            let action = Buffer::from_f32(vec![0.0, value], &[2]).unwrap();
            let message = distribution.row_logp(&inputs, action.row(0)).unwrap_err().to_string();
            assert!(message.contains(&format!("element 1 is {value}")), "{message}");
        }
    }
}

#[test]
fn the_divergence_of_a_squashed_gaussian_is_that_of_the_gaussians_under_it() {
    let dist = SquashedGaussian::new([-3.0], [40.0]).unwrap();
    let kl = dist.kl(tensor(&[0.3, -0.5], 2), tensor(&[-0.2, 0.1], 2)).unwrap();
    let kl = to_f32(kl).unwrap()[0];
    assert!((kl - 0.352_938).abs() < 1e-6, "{kl}");
}

/// Bounds, inputs, and the integral of −p·log p over the actions, by a rule of 24 000 points.
const ENTROPIES: [([f32; 2], [f32; 2], f32); 6] = [
    ([-1.0, 1.0], [0.0, 0.0], 0.669_804),
    ([-1.0, 1.0], [0.3, -0.5], 0.529_789),
    ([-2.0, 2.0], [1.5, -2.0], -1.602_148),
    ([0.0, 10.0], [-0.7, 1.0], 0.708_111),
    ([-1.0, 1.0], [0.0, 2.0], -7.074_345),
    ([-1.0, 1.0], [3.0, -1.0], -4.201_248),
];

#[test]
fn the_entropy_of_a_squashed_gaussian_is_that_of_its_samples() {
    for (bounds, inputs, expected) in ENTROPIES {
        let dist = SquashedGaussian::new([bounds[0]], [bounds[1]]).unwrap();
        let found = to_f32(dist.entropy(tensor(&inputs, 2)).unwrap()).unwrap()[0];
        assert!((found - expected).abs() < 7e-3, "{inputs:?}: {found} {expected}");
    }
}
