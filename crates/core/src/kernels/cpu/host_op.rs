//! Operations computed on host memory in one pass, with a gradient written by hand.
//!
//! Burn's CPU backend runs a composition of operations one by one, each with its own buffer, and
//! its own node of the autodiff graph. What a policy does thousands of times a second is one
//! operation here.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::prelude::*;
use burn::tensor::DType;

type Tape = Autodiff<Flex, NoCheckpointing>;
type Plain = FloatTensor<Flex>;
type Tracked = FloatTensor<Tape>;

/// An operation over `N` tensors in host memory.
pub(in crate::kernels) trait HostOp<const N: usize>: Debug + Send + Sync + 'static {
    /// What the forward pass leaves for the backward pass.
    type Saved: Debug + Send + Sync + 'static;

    /// The result in row-major order; `tracked` says whether a backward pass may follow.
    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved);

    /// The gradients of the inputs that need one.
    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N];
}

/// What a backward pass starts from; all elements in row-major order.
pub(in crate::kernels) struct Pass<'a, S, const N: usize> {
    pub(in crate::kernels) inputs: [&'a [f32]; N],
    pub(in crate::kernels) output: &'a [f32],
    pub(in crate::kernels) saved: &'a S,
    /// The gradient of the output.
    pub(in crate::kernels) gradient: &'a [f32],
    /// Which inputs need a gradient.
    pub(in crate::kernels) needs: [bool; N],
}

/// A tensor in host memory.
pub(in crate::kernels) enum Operand {
    Plain(Plain),
    Tracked(Tracked),
}

impl Operand {
    /// The tensor, if it is of 32-bit floats in host memory, and of no unexpected form
    /// (checkpointed autodiff).
    pub(in crate::kernels) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
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

/// Applies an operation; `None` if only some of the operands are tracked.
///
/// # Shapes
/// The result has shape `shape`.
pub(in crate::kernels) fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [Operand; N],
    shape: [usize; D],
) -> Option<(Tensor<D>, Arc<O::Saved>)> {
    let (mut plain, mut tracked) = (Vec::new(), Vec::new());
    for operand in operands {
        match operand {
            Operand::Plain(tensor) => plain.push(tensor.to_contiguous()),
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

fn elements(tensor: &Plain) -> &[f32] {
    tensor.storage::<f32>()
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
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
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
    let inputs = inputs.map(|input| input.into_parts().0.to_contiguous());
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
