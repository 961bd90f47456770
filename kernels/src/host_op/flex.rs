//! Host operations on tensors of Burn's CPU backend, with and without gradients.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy,
};
use burn::prelude::*;
use burn::tensor::DType;

use super::{HostOp, Pass};
use rekindle_core::AnyTensor;

type Tape = Autodiff<Flex, NoCheckpointing>;
pub(crate) type Plain = FloatTensor<Flex>;
type Tracked = FloatTensor<Tape>;

/// Returns the backend's tensor if it has 32-bit floats in host memory and tracks no gradients.
pub(crate) fn as_plain(tensor: &AnyTensor) -> Option<&Plain> {
    match &tensor.as_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(plain)) if plain.dtype() == DType::F32 => {
            Some(plain)
        }
        _ => None,
    }
}

/// As [`as_plain`], by value, with the elements in row-major order.
#[expect(clippy::result_large_err, reason = "the tensor itself is the error")]
pub(crate) fn into_plain(tensor: AnyTensor) -> Result<Plain, AnyTensor> {
    if as_plain(&tensor).is_none() {
        return Err(tensor);
    }
    match tensor.into_dispatch() {
        DispatchTensor { kind: DispatchTensorKind::Flex(BackendTensor::Float(plain)), .. } => {
            Ok(contiguous(plain))
        }
        other => Err(AnyTensor::from_float_dispatch(other)),
    }
}

/// The inverse of [`into_plain`].
pub(crate) fn from_plain(tensor: Plain) -> AnyTensor {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(tensor));
    AnyTensor::from_float_dispatch(DispatchTensor {
        kind,
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// Returns the backend's tensor if it has 32-bit floats in host memory and tracks gradients.
fn as_tracked(tensor: &AnyTensor) -> Option<&Tracked> {
    let tensor = tensor.as_dispatch();
    let strategy = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Disabled);
    match &tensor.kind {
        DispatchTensorKind::Autodiff(kind) if tensor.autodiff == strategy => match &**kind {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tracked)) => {
                (tracked.primitive().dtype() == DType::F32).then_some(tracked)
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn applies<const N: usize>(operands: [&AnyTensor; N]) -> bool {
    all(operands.map(as_plain)).is_some() || all(operands.map(as_tracked)).is_some()
}

pub(super) fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    operands: [&AnyTensor; N],
    shape: [usize; D],
) -> Option<(Tensor<D>, Arc<O::Saved>)> {
    if let Some(inputs) = all(operands.map(as_plain)) {
        let inputs = inputs.map(row_major);
        let (output, saved) = op.forward(inputs.each_ref().map(|input| elements(input)), false);
        return Some((Tensor::from_primitive::<Flex>(host(output, shape)), Arc::new(saved)));
    }
    let (tensor, saved) = record(op, all(operands.map(as_tracked))?, shape);
    Some((Tensor::from_primitive::<Tape>(tensor), saved))
}

/// Returns the values of the options if all have one.
fn all<T: Copy, const N: usize>(options: [Option<T>; N]) -> Option<[T; N]> {
    let mut all = [options.first().copied()??; N];
    for (slot, option) in all.iter_mut().zip(options) {
        *slot = option?;
    }
    Some(all)
}

/// Returns the tensor with its elements in row-major order.
fn contiguous(tensor: Plain) -> Plain {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// As [`contiguous`], of a borrowed tensor.
pub(crate) fn row_major(tensor: &Plain) -> Cow<'_, Plain> {
    match tensor.as_slice::<f32>() {
        Some(_) => Cow::Borrowed(tensor),
        None => Cow::Owned(tensor.to_contiguous()),
    }
}

/// Returns the elements of a contiguous tensor.
fn elements(tensor: &Plain) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn host(elements: Vec<f32>, shape: impl Into<Shape>) -> Plain {
    Plain::from_data(TensorData::new(elements, shape))
}

/// The backward step of an operation.
#[derive(Debug)]
struct Step<O>(Arc<O>);

/// State saved for the backward pass.
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
    inputs: [&Tracked; N],
    shape: [usize; D],
) -> (Tracked, Arc<O::Saved>) {
    let nodes = inputs.map(Tracked::node);
    let inputs = inputs.map(|input| contiguous(input.primitive().clone()));
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
