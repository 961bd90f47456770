//! Host operations as operations of Burn's CPU backend, with and without gradients.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::prelude::*;
use burn::tensor::DType;

use super::{HostOp, Pass};

type Tape = Autodiff<Flex, NoCheckpointing>;
type Plain = FloatTensor<Flex>;
type Tracked = FloatTensor<Tape>;

/// A tensor of Burn's CPU backend.
#[derive(Debug)]
pub(super) enum Operand {
    Plain(Plain),
    Tracked(Tracked),
}

impl Operand {
    pub(super) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 || tensor.device() != Device::flex() {
            return None;
        }
        if tensor.device().is_autodiff() {
            tensor.clone().try_into_primitive::<Tape>().ok().map(Self::Tracked)
        } else {
            tensor.clone().try_into_primitive::<Flex>().ok().map(Self::Plain)
        }
    }
}

pub(super) fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [Option<super::Operand>; N],
    shape: [usize; D],
) -> Option<(Tensor<D>, Arc<O::Saved>)> {
    let (mut plain, mut tracked) = (Vec::with_capacity(N), Vec::with_capacity(N));
    for operand in operands {
        match operand?.0 {
            Operand::Plain(tensor) => plain.push(contiguous(tensor)),
            Operand::Tracked(tensor) => tracked.push(tensor),
        }
    }
    if tracked.is_empty() {
        let inputs: [Plain; N] = plain.try_into().ok()?;
        let (output, saved) = op.forward(inputs.each_ref().map(elements), false);
        return Some((Tensor::from_primitive::<Flex>(host(output, shape)), Arc::new(saved)));
    }
    let (tensor, saved) = record(op, tracked.try_into().ok()?, shape);
    Some((Tensor::from_primitive::<Tape>(tensor), saved))
}

/// The tensor with its elements in row-major order.
fn contiguous(tensor: Plain) -> Plain {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a contiguous tensor.
fn elements(tensor: &Plain) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn host(elements: Vec<f32>, shape: impl Into<Shape>) -> Plain {
    Plain::from_data(TensorData::new(elements, shape))
}

/// The operation as a step of the backward pass.
#[derive(Debug)]
struct Step<O>(Arc<O>);

/// What the step finds then.
#[derive(Debug)]
struct Kept<S, const N: usize> {
    inputs: [Plain; N],
    output: Plain,
    saved: Arc<S>,
}

impl<S, const N: usize> Clone for Kept<S, N> {
    fn clone(&self) -> Self {
        let (inputs, output) = (self.inputs.clone(), self.output.clone());
        Self { inputs, output, saved: self.saved.clone() }
    }
}

impl<O: HostOp<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = Kept<O::Saved, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Kept { inputs, output, saved } = ops.state;
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let found = self.0.backward(Pass {
            inputs: inputs.each_ref().map(elements),
            output: elements(&output),
            saved: &saved,
            gradient: elements(&gradient),
            needs: ops.parents.each_ref().map(Option::is_some),
        });
        for ((parent, input), gradient) in ops.parents.into_iter().zip(&inputs).zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                let gradient = host(gradient, input.layout().shape().clone());
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

fn record<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    inputs: [Tracked; N],
    shape: [usize; D],
) -> (Tracked, Arc<O::Saved>) {
    let nodes = inputs.each_ref().map(Tracked::node);
    let inputs = inputs.map(|input| contiguous(input.into_parts().0));
    let run = |op: &O, inputs: &[Plain; N], tracked| {
        let (output, saved) = op.forward(inputs.each_ref().map(elements), tracked);
        (host(output, shape), Arc::new(saved))
    };
    let op = Arc::new(op);
    match Step(op.clone()).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let (output, saved) = run(&op, &inputs, true);
            let kept = Kept { inputs, output: output.clone(), saved: saved.clone() };
            (step.finish(kept, output), saved)
        }
        OpsKind::UnTracked(step) => {
            let (output, saved) = run(&op, &inputs, false);
            (step.finish(output), saved)
        }
    }
}
