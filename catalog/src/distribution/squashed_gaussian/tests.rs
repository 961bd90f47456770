//! Figures of the reference, bounds, saturation.

use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_env::{Buffer, Space};

use super::*;

fn unit(dim: usize) -> SquashedGaussian {
    SquashedGaussian::new(vec![-1.0; dim], vec![1.0; dim]).unwrap()
}

fn action(numbers: &[f32]) -> Buffer {
    Buffer::from_f32(numbers.to_vec(), &[numbers.len()]).unwrap()
}

/// Rows of `[loc, …, log_std, …]`.
fn inputs(loc: f32, log_std: f32, [rows, dim]: [usize; 2], device: &Device) -> Tensor<2> {
    let halves = [loc, log_std].map(|value| Tensor::full([rows, dim], value, device));
    Tensor::cat(halves.to_vec(), 1)
}

#[test]
fn log_densities_equal_the_reference_figures() {
    let device = Device::flex();
    for (a, expected) in [(0.5f32.tanh(), -0.803710), (0.0, -0.918939)] {
        let row = unit(1).row_logp(&[0.0, 0.0], action(&[a]).row(0)).unwrap();
        assert!((row - expected).abs() < 1e-6, "{row}");
        let column = upload(&action(&[a]), &device).unwrap();
        let tensor = unit(1).logp(inputs(0.0, 0.0, [1, 1], &device), &column).unwrap();
        assert!((to_f32(tensor).unwrap()[0] - expected).abs() < 1e-6);
    }
    let drawn = inputs(10.0, -2.0, [1, 1], &device);
    let (_, logp) = unit(1).rsample_and_logp(drawn, Tensor::zeros([1, 1], &device)).unwrap();
    let logp = to_f32(logp).unwrap()[0];
    assert!((logp - 19.694767).abs() < 1e-5, "{logp}");
}

#[test]
fn densities_of_samples_count_in_the_units_of_the_bounds_and_do_not_cancel() {
    let device = Device::flex();
    let noise = Tensor::from_floats([[0.3 / (-1f32).exp()]], &device);
    let parameters = inputs(0.2, -1.0, [1, 1], &device);
    for ([low, high], action, expected) in [
        ([-1.0, 1.0], 0.462_117, -0.011_217),
        ([-2.0, 2.0], 0.924_234, -0.704_364),
        ([-1.0, 3.0], 1.924_234, -0.704_364),
    ] {
        let dist = SquashedGaussian::new([low], [high]).unwrap();
        let (a, logp) = dist.rsample_and_logp(parameters.clone(), noise.clone()).unwrap();
        let (a, logp) = (to_f32(a).unwrap()[0], to_f32(logp).unwrap()[0]);
        assert!((a - action).abs() < 1e-5 && (logp - expected).abs() < 1e-5, "{a} {logp}");
    }
    // Without noise and with a deviation of 1, what is left is −log(1 − tanh² u).
    for (u, expected) in
        [(5.0, -8.613_796), (10.0, -18.613_706), (20.0, -38.613_706), (40.0, -78.613_71)]
    {
        let at = inputs(u, 0.0, [1, 1], &device);
        let zero = Tensor::zeros([1, 1], &device);
        let (_, logp) = unit(1).rsample_and_logp(at, zero).unwrap();
        let found = -(to_f32(logp).unwrap()[0] + 0.918_938_5);
        assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found}");
    }
}

#[test]
fn saturated_samples_have_finite_log_densities_of_the_expected_mean() {
    let device = Device::flex();
    let shape = [1024, 6];
    let mut rng = Generator::from_seed(0);
    let noise: Vec<f32> = (0..1024 * 6).map(|_| rng.standard_normal() as f32).collect();
    let noise = Tensor::from_data(TensorData::new(noise, shape), &device);
    let (actions, logp) =
        unit(6).rsample_and_logp(inputs(10.0, -2.0, shape, &device), noise).unwrap();
    assert_eq!(actions.dims(), shape);
    let mean = |logp: &[f32]| {
        assert!(logp.iter().all(|l| l.is_finite()));
        logp.iter().sum::<f32>() / logp.len() as f32
    };
    let tensor = mean(&to_f32(logp).unwrap());
    assert!((tensor - 115.17).abs() < 0.5, "{tensor}");

    let row = [[10.0; 6], [-2.0; 6]].concat();
    let mut drawn = action(&[0.0; 6]);
    let host: Vec<f32> = (0..1024)
        .map(|_| unit(6).sample_and_logp(&row, &mut rng, drawn.row_mut(0)).unwrap())
        .collect();
    assert!((mean(&host) - 115.17).abs() < 0.5);
}

#[test]
fn samples_are_within_the_bounds_and_finite_for_extreme_inputs() {
    let space = Space::box_between([-2.0, 0.1], [2.0, 0.3]).unwrap();
    let bounds = space.as_box().unwrap();
    let dist = SquashedGaussian::new(bounds.low(), bounds.high()).unwrap();
    let device = Device::flex().autodiff();
    let mut rng = Generator::from_seed(8);
    let mut drawn = Buffer::zeros(&space, 1);
    let extremes = [0.0, 1e34, -1e34, 1.1e-34, -1.1e-34, 1e8, -1e8, 1e-6, -1e-6];
    for loc in extremes {
        for log_std in extremes {
            let row = [loc, -loc, log_std, -log_std];
            let own = dist.sample_and_logp(&row, &mut rng, drawn.row_mut(0)).unwrap();
            let given = dist.row_logp(&row, drawn.row(0)).unwrap();
            assert!(space.contains_row(drawn.row(0)), "{row:?} {drawn:?}");
            assert!(own.is_finite() && given.is_finite(), "{row:?} {own} {given}");

            let inputs = Tensor::<2>::from_floats([row], &device).require_grad();
            let noise = Tensor::from_floats([[0.7, -0.7]], &device);
            let (actions, own) = dist.rsample_and_logp(inputs.clone(), noise).unwrap();
            let given = dist.logp(inputs.clone(), &upload(&drawn, &device).unwrap()).unwrap();
            let loss = actions.sum() + own.sum() + given.sum();
            assert!(loss.clone().into_scalar::<f32>().is_finite(), "{row:?}");
            let gradient = to_f32(inputs.grad(&loss.backward()).unwrap()).unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{row:?} {gradient:?}");
        }
    }
}

#[test]
fn the_deterministic_twin_is_the_squashed_mean() {
    let dist = SquashedGaussian::new([-2.0, 0.0], [2.0, 1.0]).unwrap();
    let mut twin = action(&[0.0; 2]);
    dist.deterministic(&[1.5, 3.0, 0.0, 0.0], twin.row_mut(0)).unwrap();
    let expected = [2.0 * 1.5f32.tanh(), 0.5 * (3f32.tanh() + 1.0)];
    let found = twin.as_f32().unwrap();
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
}

#[test]
fn the_density_has_the_term_of_the_affine_map_and_integrates_to_one() {
    let wide = SquashedGaussian::new([-2.0], [2.0]).unwrap();
    let at = |dist: &SquashedGaussian, a: f32, loc: f32, log_std: f32| {
        dist.row_logp(&[loc, log_std], action(&[a]).row(0)).unwrap()
    };
    let difference = at(&wide, 0.8, 0.3, -0.2) - at(&unit(1), 0.4, 0.3, -0.2);
    assert!((difference + std::f32::consts::LN_2).abs() < 1e-6, "{difference}");

    for (low, high) in [(-2.0, 2.0), (0.0, 1.0), (-1.0, 1.0), (-3.0, 40.0)] {
        let dist = SquashedGaussian::new([low], [high]).unwrap();
        for (loc, log_std) in [(0.0, 0.0), (0.7, -1.0), (-1.0, -0.5)] {
            let (steps, width) = (20_000, f64::from(high - low));
            let density = |i: i32| {
                let a = f64::from(low) + (f64::from(i) + 0.5) / f64::from(steps) * width;
                f64::from(at(&dist, a as f32, loc, log_std)).exp()
            };
            let integral = (0..steps).map(density).sum::<f64>() * width / f64::from(steps);
            assert!((integral - 1.0).abs() < 1e-3, "[{low}, {high}] {loc} {log_std}: {integral}");
        }
    }
}

#[test]
fn drawn_and_given_log_densities_agree_away_from_the_bounds() {
    let dist = SquashedGaussian::new([-2.0, 0.0], [2.0, 5.0]).unwrap();
    let row = [0.3, -0.8, -0.5, 0.1];
    let (mut rng, mut drawn) = (Generator::from_seed(3), action(&[0.0; 2]));
    for _ in 0..500 {
        let own = dist.sample_and_logp(&row, &mut rng, drawn.row_mut(0)).unwrap();
        let given = dist.row_logp(&row, drawn.row(0)).unwrap();
        assert!((own - given).abs() < 1e-2, "{drawn:?}: {own} {given}");
    }
}

#[test]
fn bounds_that_nothing_can_be_squashed_into_are_refused() {
    for (low, high) in [(0.0, f32::INFINITY), (1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0)] {
        let message = SquashedGaussian::new([-1.0, low], [1.0, high]).unwrap_err().to_string();
        assert!(message.contains("finite bounds with low < high, but element 1"), "{message}");
    }
    assert!(SquashedGaussian::new([0.0], [1.0, 2.0]).is_err());
}

#[test]
fn entropies_and_divergences_are_sums_over_the_dimensions_and_have_gradients() {
    let device = Device::flex().autodiff();
    let row = |numbers: [f32; 4]| Tensor::<2>::from_floats([numbers], &device);
    let dist = SquashedGaussian::new([-1.0, -1.0], [1.0, 1.0]).unwrap();
    let inputs = row([0.0, 0.3, 0.0, -0.5]).require_grad();
    let entropy = dist.entropy(inputs.clone()).unwrap();
    let expected = 0.669_804 + 0.529_789;
    assert!((to_f32(entropy.clone()).unwrap()[0] - expected).abs() < 1e-4);
    // A mean away from 0 and a smaller deviation mean less entropy here.
    let gradient = to_f32(inputs.grad(&entropy.backward()).unwrap()).unwrap();
    assert!(gradient[0].abs() < 1e-5 && gradient[1] < -0.1 && gradient[3] > 0.1, "{gradient:?}");

    let kl = dist.kl(row([0.3, 1.0, -0.5, 0.0]), row([-0.2, 1.0, 0.1, 0.0])).unwrap();
    assert!((to_f32(kl).unwrap()[0] - 0.352_938).abs() < 1e-6);
}
