//! Results are equal bit for bit for every length of vectors and number of threads.

use std::array;
use std::process::Command;

use super::arch;
use super::*;
use crate::activation::DenseActivation;
use crate::adam::AdamStep;
use crate::host_op::{HostOp, Pass};

/// Numbers between -1 and 1 without structure.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Every bit of some numbers in one (FNV-1a).
fn digest(numbers: impl IntoIterator<Item = u64>) -> u64 {
    let step = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    numbers.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn bits(numbers: &[f32]) -> u64 {
    digest(numbers.iter().map(|x| u64::from(x.to_bits())))
}

/// An MLP whose rows and parameters are `N` slices, forward and backward.
fn mlp<const N: usize>(rows: usize, widths: &[usize], by: DenseActivation) -> Vec<(String, u64)> {
    let layer = |pair: &[usize]| Layer { inputs: pair[0], outputs: pair[1], activation: by };
    let op = MlpOp { layers: widths.windows(2).map(layer).collect() };
    let data: [Vec<f32>; N] = array::from_fn(|index| match index {
        0 => numbers(rows * widths[0], 1),
        _ => {
            let layer = op.layers[(index - 1) / 2];
            let len = if index % 2 == 1 { layer.inputs * layer.outputs } else { layer.outputs };
            numbers(len, index as u64 + 1).iter().map(|x| x * 0.3).collect()
        }
    });
    both_passes(&format!("{rows} rows, {widths:?}, {by:?}"), &op, &data)
}

/// Digests of the output of an operation and of the gradients of all inputs.
fn both_passes<O: HostOp<N>, const N: usize>(
    name: &str,
    op: &O,
    data: &[Vec<f32>; N],
) -> Vec<(String, u64)> {
    let inputs = data.each_ref().map(|data| &data[..]);
    let (output, saved) = op.forward(inputs, true);
    let (untracked, _) = op.forward(inputs, false);
    assert_eq!(bits(&output), bits(&untracked));
    let gradient = numbers(output.len(), 99);
    let needs = [true; N];
    let pass = Pass { inputs, output: &output, saved: &saved, gradient: &gradient, needs };
    let gradients = op.backward(pass);
    let mut found = vec![(format!("{name}, output"), bits(&output))];
    for (index, gradient) in gradients.iter().enumerate() {
        let gradient = gradient.as_ref().unwrap();
        found.push((format!("{name}, gradient {index}"), bits(gradient)));
    }
    found
}

/// Convolutions whose images and parameters are `N` slices, forward and backward.
fn conv<const N: usize>(images: usize, shapes: &[ConvShape]) -> Vec<(String, u64)> {
    let scale = Some(Scale { low: -0.5, width: 3.0 });
    let op = ConvOp { layers: shapes.to_vec(), scale, bytes: None, packed: Vec::new() };
    let data: [Vec<f32>; N] = array::from_fn(|index| match index {
        0 => numbers(images * shapes[0].input_len(), 1),
        _ => {
            let ConvShape { input, kernel, output, .. } = shapes[(index - 1) / 2];
            let weights = kernel[0] * kernel[1] * input[2] * output[2];
            let len = if index % 2 == 1 { weights } else { output[2] };
            numbers(len, index as u64 + 1).iter().map(|x| x * 0.2).collect()
        }
    });
    both_passes(&format!("{images} images, {shapes:?}"), &op, &data)
}

/// A recurrent layer whose operands are `N` slices, forward and backward.
fn recurrent<const N: usize>(shape: RecurrentShape) -> Vec<(String, u64)> {
    let gates = shape.gates();
    let states = shape.sequences * shape.hidden;
    let lens = [
        states * shape.steps / shape.hidden * shape.inputs,
        gates * shape.inputs,
        gates * shape.hidden,
    ];
    let biases = if shape.has_bias { vec![gates; 2] } else { Vec::new() };
    let lens: Vec<usize> = lens.into_iter().chain(biases).chain([states; 2]).collect();
    let data: [Vec<f32>; N] = array::from_fn(|index| {
        numbers(lens[index], index as u64 + 1).iter().map(|x| x * 0.4).collect()
    });
    both_passes(&format!("{shape:?}"), &RecurrentOp { shape, packed: [None, None] }, &data)
}

/// Digests of convolutions, recurrent layers and layers with many weights.
fn results_of_images_and_memory() -> Vec<(String, u64)> {
    let shape = |input, output, kernel, stride, padding, activation| ConvShape {
        input,
        kernel,
        stride,
        padding,
        output,
        activation,
    };
    let (relu, tanh) = (DenseActivation::Relu, DenseActivation::Tanh);
    let nature = [
        shape([84, 84, 4], [20, 20, 32], [8, 8], [4, 4], [0, 0], relu),
        shape([20, 20, 32], [9, 9, 64], [4, 4], [2, 2], [0, 0], relu),
        shape([9, 9, 64], [7, 7, 64], [3, 3], [1, 1], [0, 0], relu),
    ];
    let padded = [
        shape([10, 9, 3], [10, 9, 20], [4, 3], [1, 1], [1, 1], tanh),
        shape([10, 9, 20], [5, 3, 7], [5, 5], [2, 3], [1, 1], DenseActivation::Linear),
    ];
    let mut found = conv::<7>(1, &nature);
    found.extend(conv::<7>(21, &nature));
    found.extend(conv::<5>(37, &padded));
    for (kind, has_bias) in [(CellKind::Lstm, true), (CellKind::Gru, true), (CellKind::Lstm, false)]
    {
        let sizes = |sequences, steps, inputs, hidden| RecurrentShape {
            kind,
            sequences,
            steps,
            inputs,
            hidden,
            has_bias,
        };
        for sizes in [sizes(3, 5, 7, 9), sizes(33, 6, 70, 100), sizes(1, 1, 64, 64)] {
            found.extend(match (kind, has_bias) {
                (CellKind::Lstm, true) => recurrent::<7>(sizes),
                (CellKind::Lstm, false) => recurrent::<5>(sizes),
                (CellKind::Gru, _) => recurrent::<6>(sizes),
            });
        }
    }
    for rows in [1, 3, 4, 7, 67] {
        found.extend(mlp::<7>(rows, &[33, 1000, 300, 6], relu));
    }
    found.extend(mlp::<5>(50, &[3136, 100, 700], tanh));
    found
}

/// Digests of the results of every kernel, for sizes that fill vectors and sizes that do not, on one thread
/// and on several.
fn results() -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for by in [DenseActivation::Tanh, DenseActivation::Relu, DenseActivation::Linear] {
        found.extend(mlp::<7>(600, &[4, 64, 64, 2], by));
        found.extend(mlp::<7>(300, &[64, 256, 100, 6], by));
        found.extend(mlp::<5>(37, &[17, 33, 5], by));
        found.extend(mlp::<5>(1, &[250, 9, 1], by));
        found.extend(mlp::<3>(5, &[3, 8], by));
    }
    for len in [1, 7, 8, 15, 16, 17, 31, 255, 257, 1000, 8192, 8193, 70_001] {
        let values = numbers(len, 5);
        let sum = square_sum(&values).to_bits();
        found.push((format!("square sum of {len}"), sum));

        let step = AdamStep { lr: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, time: 3 };
        let (mut parameters, mut first) = (numbers(len, 6), numbers(len, 7));
        let mut second: Vec<f32> = numbers(len, 8).iter().map(|x| x.abs()).collect();
        let moments = [&mut first[..], &mut second[..]];
        adam(&step, [1e-3, 1e-8], &mut parameters, &values, moments);
        for (name, values) in [("parameters", parameters), ("first", first), ("second", second)] {
            found.push((format!("Adam's {name}, {len}"), bits(&values)));
        }

        let (y, ()) = HostOp::<1>::forward(&Tanh, [&values], false);
        found.push((format!("tanh of {len}"), bits(&y)));
        let (mut exponentials, mut logarithms) = (values.clone(), values);
        exp(&mut exponentials);
        logarithms.iter_mut().for_each(|x| *x = x.abs() + 1e-6);
        ln(&mut logarithms);
        found.push((format!("exp of {len}"), bits(&exponentials)));
        found.push((format!("ln of {len}"), bits(&logarithms)));
    }
    found
}

#[track_caller]
fn assert_same(found: &[(String, u64)], expected: &[(String, u64)], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
    }
}

fn all_results() -> Vec<(String, u64)> {
    let mut found = results();
    found.extend(results_of_images_and_memory());
    found
}

/// On a processor with AVX-512, this test compares vectors of 8 and 16 lanes.
#[test]
fn results_do_not_depend_on_the_length_of_vectors() {
    let expected = all_results();
    for arch in arch::fused() {
        assert_same(&arch::with(arch, all_results), &expected, &format!("{arch:?}"));
    }
}

/// The digest of all results on x86-64 with AVX2 or AVX-512: a change of this number changes the figures
/// of every recorded run.
#[cfg(target_arch = "x86_64")]
#[test]
fn results_are_those_of_other_machines() {
    for arch in arch::fused() {
        let digest = |found: Vec<(String, u64)>| {
            format!("{:016x}", digest(found.into_iter().map(|(_, digest)| digest)))
        };
        assert_eq!(digest(arch::with(arch, results)), "19b05f83a9d4ee50", "{arch:?}");
        let found = arch::with(arch, results_of_images_and_memory);
        assert_eq!(digest(found), "a67db0ada76ab91a", "{arch:?}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let expected = all_results();
    for threads in ["1", "2", "3", "8"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["cpu::tests::child", "--exact", "--ignored", "--nocapture"])
            .env("REKINDLE_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let found: Vec<(String, u64)> = text
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, digest)| (name.to_owned(), digest.parse().unwrap()))
            .collect();
        assert_same(&found, &expected, &format!("{threads} threads"));
    }
}

/// Not a test: the process that the test above starts with other numbers of threads.
#[test]
#[ignore = "the child process of `results_do_not_depend_on_the_number_of_threads`"]
fn child() {
    println!();
    for (name, digest) in all_results() {
        println!("{name} = {digest}");
    }
}
