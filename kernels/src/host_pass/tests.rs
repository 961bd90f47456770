use burn::prelude::*;
use burn::tensor::Distribution;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;

use super::*;
use crate::{ConvLayer, DenseActivation, DenseLayer, RecurrentLayer, conv, mlp};

fn random<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(-0.5, 0.5), device)
}

fn dense(widths: &[usize], device: &Device) -> Vec<DenseLayer> {
    let layer = |pair: &[usize]| {
        let (weight, bias) = (random([pair[0], pair[1]], device), random([pair[1]], device));
        DenseLayer::new(weight, bias, DenseActivation::Tanh).unwrap()
    };
    widths.windows(2).map(layer).collect()
}

fn ran(pass: &HostPass, x: HostRows<'_>, rows: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * pass.outputs()];
    assert!(pass.run(x, rows, None, &mut out));
    out
}

/// Layers of 600 units are wider than the cache, and layers of fewer than 8 have kernels of their own.
#[test]
fn fully_connected_layers_equal_their_operation() {
    let device = Device::flex();
    for widths in [&[3, 2][..], &[4, 64, 64, 3], &[5, 600, 600, 7, 2], &[2, 9, 9, 9, 9, 9, 9, 9, 4]]
    {
        let layers = dense(widths, &device);
        let pass = HostPass::dense(layers.clone()).unwrap();
        let (first, second) = layers.split_at(layers.len() / 2);
        let joined = HostPass::dense(first.to_vec()).map_or_else(
            || HostPass::dense(second.to_vec()),
            |pass| pass.then(HostPass::dense(second.to_vec())?),
        );
        for rows in [1, 8, 100] {
            let x = random([rows, widths[0]], &device);
            let expected = to_f32(mlp(x.clone(), &layers)).unwrap();
            let x = to_f32(x).unwrap();
            assert_eq!(ran(&pass, HostRows::Floats(&x), rows), expected, "{widths:?}, {rows} rows");
            assert_eq!(ran(joined.as_ref().unwrap(), HostRows::Floats(&x), rows), expected);
        }
    }
}

#[test]
fn convolutions_equal_their_operation() {
    let device = Device::flex();
    let filters = [(4, 3, 4, 2, true), (6, 4, 3, 1, false)];
    let layers: Vec<_> = filters
        .map(|(out, inputs, kernel, stride, is_padded)| {
            let weight = random([out, inputs, kernel, kernel], &device);
            let bias = random([out], &device);
            let activation = DenseActivation::Relu;
            ConvLayer::new(weight, bias, [stride; 2], is_padded, activation).unwrap()
        })
        .into();
    let (dims, scale) = ([40, 41, 3], Some([0.0, 255.0]));
    let pass = HostPass::conv(dims, scale, layers.clone()).unwrap();
    for rows in [1, 3, 20] {
        let bytes: Vec<u8> = (0..rows * 40 * 41 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let images = AnyTensor::from_bytes(bytes.clone(), vec![rows, 40, 41, 3], &device).unwrap();
        let expected = to_f32(conv(&images, dims, scale, &layers).unwrap()).unwrap();
        assert_eq!(ran(&pass, HostRows::Bytes(&bytes), rows), expected, "{rows} rows");
        let floats: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte)).collect();
        assert_eq!(ran(&pass, HostRows::Floats(&floats), rows), expected, "{rows} rows");
    }
}

#[test]
fn recurrent_layers_equal_their_operation_and_return_their_states() {
    let device = Device::flex();
    let (inputs, hidden) = (5, 11);
    for (has_cell, has_bias) in [(true, true), (false, true), (true, false), (false, false)] {
        let gates = if has_cell { 4 } else { 3 } * hidden;
        let biases = has_bias.then(|| [0, 1].map(|_| random([gates], &device)));
        let weights = (random([gates, inputs], &device), random([gates, hidden], &device));
        let layer = RecurrentLayer::new(weights.0, weights.1, biases).unwrap();
        let head = dense(&[hidden, 3], &device);
        let before = HostPass::dense(dense(&[inputs, inputs], &device)).unwrap();
        let alone = HostPass::recurrent(layer.clone(), has_cell).unwrap();
        assert!(alone.clone().then(alone.clone()).is_none());
        let pass = before.clone().then(alone).unwrap();
        let pass = pass.then(HostPass::dense(head.clone()).unwrap()).unwrap();
        assert!(pass.is_recurrent());
        for rows in [1, 64] {
            let x = random([rows, inputs], &device);
            let states = [0, 1].map(|_| random([rows, hidden], &device));
            let fed = ran(&before, HostRows::Floats(&to_f32(x.clone()).unwrap()), rows);
            let fed = Tensor::<3>::from_data(TensorData::new(fed, [rows, 1, inputs]), &device);
            let cell = has_cell.then_some(&states[1]);
            let (features, last, last_cell) = layer.forward(&fed, &states[0], cell).unwrap();
            let expected = to_f32(mlp(features.reshape([rows, hidden]), &head)).unwrap();

            let states = states.map(|state| to_f32(state).unwrap());
            let cell: &[f32] = if has_cell { &states[1] } else { &[] };
            let (mut hidden, mut after) = (vec![0.0; states[0].len()], vec![0.0; cell.len()]);
            let mut out = vec![0.0; rows * 3];
            let state = HostState { before: [&states[0], cell], after: [&mut hidden, &mut after] };
            assert!(pass.run(HostRows::Floats(&to_f32(x).unwrap()), rows, Some(state), &mut out));
            assert_eq!(out, expected, "{has_cell} {has_bias} {rows} rows");
            assert_eq!(hidden, to_f32(last).unwrap());
            assert_eq!(after, last_cell.map_or(Vec::new(), |cell| to_f32(cell).unwrap()));
        }
    }
}

#[test]
fn log_standard_deviations_follow_the_means_and_are_clipped() {
    let device = Device::flex();
    let layers = dense(&[2, 4], &device);
    let means = HostPass::dense(layers).unwrap();
    let x = [3.0, -7.0];
    let plain = ran(&means, HostRows::Floats(&x), 1);
    let free = means.clone().with_log_stds(Some(vec![0.5, -3.0, 9.0, 0.0]), Some(2.0)).unwrap();
    let found = ran(&free, HostRows::Floats(&x), 1);
    assert_eq!(found, [&plain[..], &[0.5, -2.0, 2.0, 0.0]].concat());
    let clipped = means.clone().with_log_stds(None, Some(0.1)).unwrap();
    let found = ran(&clipped, HostRows::Floats(&x), 1);
    assert_eq!(found[..2], plain[..2]);
    assert!(found[2..].iter().all(|log_std| log_std.abs() <= 0.1));
    assert!(means.with_log_stds(Some(vec![0.0]), None).is_none());
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::flex();
    let pass = HostPass::dense(dense(&[3, 2], &device)).unwrap();
    let mut out = [0.0; 2];
    assert!(!pass.run(HostRows::Floats(&[0.0; 4]), 1, None, &mut out));
    assert!(!pass.run(HostRows::Floats(&[0.0; 3]), 1, None, &mut out[..1]));
    assert!(!pass.run(HostRows::Bytes(&[0; 3]), 1, None, &mut out));
    assert!(!pass.run(HostRows::Floats(&[]), 0, None, &mut []));
    assert!(pass.clone().then(pass).is_none());
    let tracked = dense(&[3, 2], &device.clone().autodiff());
    let layer = |_| {
        let weight = random([3, 2], &device.clone().autodiff()).require_grad();
        DenseLayer::new(weight, random([2], &device.clone().autodiff()), DenseActivation::Linear)
    };
    assert!(HostPass::dense(tracked.iter().filter_map(layer).collect()).is_none());
    assert!(HostPass::dense(Vec::new()).is_none());
}
