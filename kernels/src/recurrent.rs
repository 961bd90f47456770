//! Recurrent layers: LSTM and GRU.

use std::array;

use burn::prelude::*;

use crate::cpu::{CellKind, RecurrentOp, RecurrentShape, pack_gates};
use crate::eager::is_eager;
use crate::host_op::apply;
use crate::packed::packed;
use rekindle_core::AnyTensor;

/// Minimum width of a fused layer. Operations on narrower layers do not fill vectors.
const LEAST_HIDDEN: usize = 8;

/// The weights of a recurrent layer, in PyTorch's layout: gates are stacked as input, forget, cell, output in an
/// LSTM, and as reset, update, new in a GRU.
#[derive(Debug, Clone)]
pub struct RecurrentLayer {
    weight_ih: AnyTensor,
    weight_hh: AnyTensor,
    biases: Option<[AnyTensor; 2]>,
    /// `[gates · hidden, inputs]`.
    dims: [usize; 2],
    hidden: usize,
}

impl RecurrentLayer {
    /// Creates a layer. Returns `None` if the sizes of the weights differ.
    ///
    /// # Shapes
    /// `weight_ih`: `[gates · hidden, inputs]`; `weight_hh`: `[gates · hidden, hidden]`; `biases`, of inputs and state:
    /// `[gates · hidden]`.
    #[must_use]
    pub fn new(
        weight_ih: Tensor<2>,
        weight_hh: Tensor<2>,
        biases: Option<[Tensor<1>; 2]>,
    ) -> Option<Self> {
        let (dims, [gates, hidden]) = (weight_ih.dims(), weight_hh.dims());
        let biases_fit = biases.iter().flatten().all(|bias| bias.dims() == [gates]);
        let (weight_ih, weight_hh) = (weight_ih.into(), weight_hh.into());
        let biases = biases.map(|biases| biases.map(AnyTensor::from));
        (dims[0] == gates && biases_fit).then_some(Self {
            weight_ih,
            weight_hh,
            biases,
            dims,
            hidden,
        })
    }

    /// Runs sequences through the layer, on the CPU. An LSTM starts from a hidden and a cell state, a GRU from a hidden
    /// state alone. Returns the hidden state after each step, and the states after the last step.
    ///
    /// Returns `None` on other devices, in an [`eager`](crate::eager) scope, for layers of fewer than 8 units, and for
    /// operands that do not fit together.
    ///
    /// # Shapes
    /// `x`: `[S, T, inputs]`; states: `[S, hidden]`; result: `[S, T, hidden]`.
    #[must_use]
    pub fn forward(
        &self,
        x: &Tensor<3>,
        hidden: &Tensor<2>,
        cell: Option<&Tensor<2>>,
    ) -> Option<(Tensor<3>, Tensor<2>, Option<Tensor<2>>)> {
        let [sequences, steps, inputs] = x.dims();
        let kind = if cell.is_some() { CellKind::Lstm } else { CellKind::Gru };
        let has_bias = self.biases.is_some();
        let shape =
            RecurrentShape { kind, sequences, steps, inputs, hidden: self.hidden, has_bias };
        let states = [sequences, self.hidden];
        let fits = self.dims == [shape.gates(), inputs]
            && hidden.dims() == states
            && cell.is_none_or(|cell| cell.dims() == states);
        let is_empty = sequences * steps * inputs == 0;
        if !fits || self.hidden < LEAST_HIDDEN || is_empty || is_eager() {
            return None;
        }
        let packed = [&self.weight_ih, &self.weight_hh]
            .map(|weight| packed(weight, |weight| pack_gates(shape, weight)));
        let op = RecurrentOp { shape, packed };
        let x = AnyTensor::from(x.clone());
        let state = [Some(hidden), cell].map(|state| state.cloned().map(AnyTensor::from));
        let operands: Vec<&AnyTensor> = [&x, &self.weight_ih, &self.weight_hh]
            .into_iter()
            .chain(self.biases.iter().flatten())
            .chain(state.iter().flatten())
            .collect();
        let flat = match operands.len() {
            4 => run::<4>(op, &operands),
            5 => run::<5>(op, &operands),
            6 => run::<6>(op, &operands),
            _ => run::<7>(op, &operands),
        }?;
        let rows = sequences * steps * self.hidden;
        let (outputs, cell) = match kind {
            CellKind::Gru => (flat, None),
            CellKind::Lstm => {
                let cell = flat.clone().narrow(0, rows, sequences * self.hidden);
                (flat.narrow(0, 0, rows), Some(cell.reshape(states)))
            }
        };
        let outputs = outputs.reshape([sequences, steps, self.hidden]);
        let last = match steps {
            1 => outputs.clone().reshape(states),
            _ => outputs.clone().narrow(1, steps - 1, 1).reshape(states),
        };
        Some((outputs, last, cell))
    }
}

fn run<const N: usize>(op: RecurrentOp, operands: &[&AnyTensor]) -> Option<Tensor<1>> {
    let operands: [&AnyTensor; N] = array::from_fn(|index| operands[index]);
    let len = op.shape.output_len();
    apply::<_, N, 1>(op, operands, [len]).map(|(y, _)| y)
}

#[cfg(test)]
mod tests {
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
        fn new(
            is_lstm: bool,
            [sequences, steps, inputs, hidden]: [usize; 4],
            has_bias: bool,
        ) -> Self {
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
                let (output, after, after_cell) =
                    layer.forward(&x, &hidden, cell.as_ref()).unwrap();
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
}
