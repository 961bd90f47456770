//! Tests against the composition of Burn's operations.

use burn::tensor::Distribution;
use proptest::prelude::*;

use rekindle_core::any_tensor::to_f32;

use super::*;
use crate::eager;

fn random<const D: usize>(shape: [usize; D], bound: f64) -> Tensor<D> {
    let uniform = Distribution::Uniform(-bound, bound);
    Tensor::random(shape, uniform, &Device::flex().autodiff()).require_grad()
}

/// Operands of a layer.
struct Case {
    x: Tensor<3>,
    weight_ih: Tensor<2>,
    weight_hh: Tensor<2>,
    biases: Option<[Tensor<1>; 2]>,
    hidden: Tensor<2>,
    cell: Option<Tensor<2>>,
}

impl Case {
    fn new(is_lstm: bool, [sequences, steps, inputs, hidden]: [usize; 4], has_bias: bool) -> Self {
        let gates = if is_lstm { 4 * hidden } else { 3 * hidden };
        Self {
            x: random([sequences, steps, inputs], 1.0),
            weight_ih: random([gates, inputs], 0.5),
            weight_hh: random([gates, hidden], 0.5),
            biases: has_bias.then(|| [random([gates], 0.5), random([gates], 0.5)]),
            hidden: random([sequences, hidden], 1.0),
            cell: is_lstm.then(|| random([sequences, hidden], 1.0)),
        }
    }

    fn layer(&self) -> RecurrentLayer {
        let (weight_ih, weight_hh) = (self.weight_ih.clone(), self.weight_hh.clone());
        RecurrentLayer::new(weight_ih, weight_hh, self.biases.clone()).unwrap()
    }

    fn fused(&self) -> (Tensor<3>, Tensor<2>, Option<Tensor<2>>) {
        self.layer().forward(&self.x, &self.hidden, self.cell.as_ref()).unwrap()
    }

    /// The composition of Burn's operations.
    fn plain(&self) -> (Tensor<3>, Tensor<2>, Option<Tensor<2>>) {
        let sigmoid = burn::tensor::activation::sigmoid::<2>;
        let width = self.hidden.dims()[1];
        let gate = |of: &Tensor<2>, index: usize| of.clone().narrow(1, index * width, width);
        let add = |x: Tensor<2>, index: usize| match &self.biases {
            Some(biases) => x + biases[index].clone().unsqueeze(),
            None => x,
        };
        let (mut hidden, mut cell) = (self.hidden.clone(), self.cell.clone());
        let mut outputs = Vec::new();
        for step in 0..self.x.dims()[1] {
            let x = self.x.clone().narrow(1, step, 1).squeeze_dim::<2>(1);
            let x = add(x.matmul(self.weight_ih.clone().transpose()), 0);
            let h = add(hidden.clone().matmul(self.weight_hh.clone().transpose()), 1);
            match cell {
                Some(before) => {
                    let gates = x + h;
                    let new = sigmoid(gate(&gates, 1)) * before
                        + sigmoid(gate(&gates, 0)) * gate(&gates, 2).tanh();
                    hidden = sigmoid(gate(&gates, 3)) * new.clone().tanh();
                    cell = Some(new);
                }
                None => {
                    let [reset, update] = [0, 1].map(|i| sigmoid(gate(&x, i) + gate(&h, i)));
                    let new = (gate(&x, 2) + reset * gate(&h, 2)).tanh();
                    hidden = (hidden - new.clone()) * update + new;
                }
            }
            outputs.push(hidden.clone());
        }
        (Tensor::stack(outputs, 1), hidden, cell)
    }

    /// Results and all gradients of a loss that reads all of them.
    fn run(
        &self,
        (outputs, hidden, cell): (Tensor<3>, Tensor<2>, Option<Tensor<2>>),
    ) -> Vec<Vec<f32>> {
        let mut loss = outputs.clone().square().sum() + (hidden.clone() * 0.3).sum();
        let mut found = vec![to_f32(outputs).unwrap(), to_f32(hidden).unwrap()];
        if let Some(cell) = cell {
            loss = loss + cell.clone().square().sum() * 0.5;
            found.push(to_f32(cell).unwrap());
        }
        let gradients = loss.backward();
        let of = |tensor: &Tensor<2>| to_f32(tensor.grad(&gradients).unwrap()).unwrap();
        found.push(to_f32(self.x.grad(&gradients).unwrap()).unwrap());
        found.extend([of(&self.weight_ih), of(&self.weight_hh), of(&self.hidden)]);
        found.extend(self.cell.as_ref().map(of));
        for bias in self.biases.iter().flatten() {
            found.push(to_f32(bias.grad(&gradients).unwrap()).unwrap());
        }
        found
    }

    fn check(&self, name: &str) {
        let (fused, plain) = (self.run(self.fused()), self.run(self.plain()));
        assert_eq!(fused.len(), plain.len());
        for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
            assert_eq!(a.len(), b.len());
            let largest = b.iter().fold(0f32, |max, x| max.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                let close = (a - b).abs() < 1e-5 * (1.0 + largest);
                assert!(close, "tensor {index} of {name}: {a} and {b}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn values_and_gradients_equal_the_plain_composition(
        sequences in 1usize..20,
        steps in 1usize..9,
        inputs in 1usize..40,
        hidden in LEAST_HIDDEN..40,
        is_lstm in any::<bool>(),
        has_bias in any::<bool>(),
    ) {
        let sizes = [sequences, steps, inputs, hidden];
        let name = format!("{sizes:?}, LSTM: {is_lstm}, bias: {has_bias}");
        Case::new(is_lstm, sizes, has_bias).check(&name);
    }
}

#[test]
fn the_sizes_that_are_split_among_threads_equal_the_plain_composition() {
    for is_lstm in [true, false] {
        Case::new(is_lstm, [33, 6, 70, 100], true).check("wide");
    }
}

#[test]
fn outputs_alone_give_the_gradients_of_the_whole_sequence() {
    let case = Case::new(true, [3, 4, 5, 16], true);
    let of = |outputs: Tensor<3>| {
        let gradients = outputs.square().sum().backward();
        to_f32(case.weight_hh.grad(&gradients).unwrap()).unwrap()
    };
    let (fused, plain) = (of(case.fused().0), of(case.plain().0));
    assert!(fused.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())));
}

#[test]
fn a_sequence_equals_its_steps_one_by_one_bit_for_bit() {
    for is_lstm in [true, false] {
        let case = Case::new(is_lstm, [5, 3, 7, 24], true);
        let layer = case.layer();
        let (outputs, last, last_cell) = case.fused();
        let (mut hidden, mut cell) = (case.hidden.clone(), case.cell.clone());
        for step in 0..3 {
            let x = case.x.clone().narrow(1, step, 1);
            let (output, after, after_cell) = layer.forward(&x, &hidden, cell.as_ref()).unwrap();
            let expected = outputs.clone().narrow(1, step, 1);
            assert_eq!(to_f32(output).unwrap(), to_f32(expected).unwrap());
            (hidden, cell) = (after, after_cell);
        }
        assert_eq!(to_f32(hidden).unwrap(), to_f32(last).unwrap());
        assert_eq!(cell.map(|c| to_f32(c).unwrap()), last_cell.map(|c| to_f32(c).unwrap()));
    }
}

#[test]
fn narrow_layers_other_sizes_and_eager_scopes_are_left_to_the_caller() {
    let forward = |case: &Case| case.layer().forward(&case.x, &case.hidden, case.cell.as_ref());
    assert!(forward(&Case::new(true, [2, 3, 4, LEAST_HIDDEN - 1], true)).is_none());
    let case = Case::new(true, [2, 3, 4, 8], true);
    assert!(forward(&case).is_some());
    assert!(forward(&Case { cell: None, ..Case::new(true, [2, 3, 4, 8], true) }).is_none());
    assert!(forward(&Case { x: random([2, 3, 5], 1.0), ..case }).is_none());
    let _eager = eager::scope(true);
    assert!(forward(&Case::new(true, [2, 3, 4, 8], true)).is_none());
}

#[test]
fn single_steps_sequences_and_odd_widths_equal_the_plain_composition() {
    for is_lstm in [true, false] {
        for sizes in [[1, 1, 1, 8], [7, 1, 3, 9], [1, 50, 2, 17], [2, 3, 1, 31], [40, 1, 33, 65]] {
            Case::new(is_lstm, sizes, true).check(&format!("{sizes:?}, LSTM: {is_lstm}"));
        }
    }
}

#[test]
fn layers_without_steps_or_sequences_are_left_to_the_caller() {
    for is_lstm in [true, false] {
        for sizes in [[3, 0, 4, 8], [0, 3, 4, 8]] {
            let case = Case::new(is_lstm, sizes, true);
            let found = case.layer().forward(&case.x, &case.hidden, case.cell.as_ref());
            assert!(found.is_none());
        }
    }
}

/// A sequence with NaN or an infinity does not change other sequences, nor its own earlier steps.
#[test]
fn numbers_that_are_not_finite_stay_in_their_sequence_as_in_plain_operations() {
    for is_lstm in [true, false] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::new(is_lstm, [6, 5, 7, 19], true);
            let mut x = to_f32(case.x.clone()).unwrap();
            x[(2 * 5 + 3) * 7 + 1] = bad;
            case.x = Tensor::from_data(TensorData::new(x, [6, 5, 7]), &case.x.device());
            let [fused, plain] = [case.fused(), case.plain()].map(|(y, ..)| to_f32(y).unwrap());
            for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
                let same = (a - b).abs() < 1e-5 || (a.is_nan() && b.is_nan());
                assert!(same, "{bad} at {index}: {a} and {b}");
            }
            if bad.is_nan() {
                assert!(fused[(2 * 5 + 3) * 19..3 * 5 * 19].iter().all(|y| y.is_nan()));
            }
            assert!(fused[..(2 * 5 + 3) * 19].iter().all(|y| y.is_finite()));
            assert!(fused[3 * 5 * 19..].iter().all(|y| y.is_finite()));
        }
    }
}
