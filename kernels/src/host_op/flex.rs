//! Host operations on tensors of Burn's CPU backend, with and without gradients.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy,
};
use burn::prelude::*;
use burn::tensor::DType;

use super::{HostOp, Pass};
use crate::cpu::give_back;
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

/// Changes tensors in place where a storage has one owner, given another one. Returns them unchanged as an error
/// if they are not all in host memory and of one shape.
pub(crate) fn in_place<const N: usize>(
    changed: [AnyTensor; N],
    given: &AnyTensor,
    change: impl FnOnce([&mut [f32]; N], &[f32]),
) -> Result<[AnyTensor; N], [AnyTensor; N]> {
    let tensor = |plain: Result<Plain, AnyTensor>| plain.map_or_else(|same| same, from_plain);
    let given = as_plain(given).map(row_major);
    let mut changed = changed.map(into_plain);
    let shape = given.as_ref().map(|given| given.layout().shape());
    let fits = |t: &Result<Plain, _>| t.as_ref().ok().map(|plain| plain.layout().shape()) == shape;
    match given {
        Some(ref given) if changed.iter().all(fits) => {
            let elements = changed.each_mut().map(|plain| match plain {
                Ok(plain) => plain.storage_mut(),
                Err(_) => &mut [][..],
            });
            change(elements, given.as_slice().unwrap_or_default());
            Ok(changed.map(tensor))
        }
        _ => Err(changed.map(tensor)),
    }
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

/// Keeps the memory of a large tensor that is no longer needed for later results of kernels, if it has no other owner.
pub(crate) fn recycle(tensor: Plain) {
    let layout = tensor.layout();
    let len = layout.shape().num_elements();
    let is_whole = layout.is_contiguous() && layout.start_offset() == 0;
    if tensor.dtype() == DType::F32
        && tensor.is_unique()
        && is_whole
        && tensor.bytes().len() == len * size_of::<f32>()
    {
        let (bytes, ..) = tensor.into_data().into_parts();
        if let Ok(elements) = bytes.try_into_vec::<f32>() {
            give_back(elements);
        }
    }
}

fn host(elements: Vec<f32>, shape: impl Into<Shape>) -> Plain {
    Plain::from_data(TensorData::new(elements, shape))
}

/// The backward step of an operation on `N` inputs.
#[derive(Debug)]
struct Step<O, const N: usize>(Arc<O>);

/// State saved for the backward pass.
#[derive(Debug)]
struct Kept<S, const N: usize> {
    inputs: [Plain; N],
    /// The ids of the inputs that need a gradient.
    tracked: [Option<NodeId>; N],
    output: Plain,
    saved: Arc<S>,
}

impl<S, const N: usize> Clone for Kept<S, N> {
    fn clone(&self) -> Self {
        let (inputs, output) = (self.inputs.clone(), self.output.clone());
        Self { inputs, tracked: self.tracked, output, saved: self.saved.clone() }
    }
}

impl<O: HostOp<N>, const N: usize, const PARENTS: usize> Backward<Flex, PARENTS> for Step<O, N> {
    type State = Kept<O::Saved, N>;

    fn backward(
        self,
        ops: Ops<Self::State, PARENTS>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Kept { inputs, tracked, output, saved } = ops.state;
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let found = self.0.backward(Pass {
            inputs: inputs.each_ref().map(elements),
            output: elements(&output),
            saved: &saved,
            gradient: elements(&gradient),
            needs: tracked.map(|id| id.is_some()),
        });
        for ((id, input), gradient) in tracked.into_iter().zip(&inputs).zip(found) {
            if let (Some(id), Some(gradient)) = (id, gradient) {
                let gradient = host(gradient, input.layout().shape().clone());
                gradients.register::<Flex>(id, gradient);
            }
        }
        inputs.into_iter().chain([output, gradient]).for_each(recycle);
    }
}

fn record<O: HostOp<N>, const N: usize, const D: usize>(
    op: O,
    inputs: [&Tracked; N],
    shape: [usize; D],
) -> (Tracked, Arc<O::Saved>) {
    match few_parents(inputs) {
        Some(parents) => record_below(op, inputs, parents, shape),
        None => record_below(op, inputs, inputs, shape),
    }
}

/// Returns two inputs that suffice as parents in Burn's graph, if there are.
///
/// A parent costs microseconds: its graph is merged into that of the others, and all graphs are searched after
/// a backward pass. A leaf, such as a parameter, has nothing behind it. Its gradient is registered under its
/// id, so that one leaf stands for all.
fn few_parents<const N: usize>(inputs: [&Tracked; N]) -> Option<[&Tracked; 2]> {
    let is_leaf = |input: &&Tracked| Tape::float_is_require_grad(input);
    let mut leaves = inputs.into_iter().filter(is_leaf);
    let (first, second) = (leaves.next()?, leaves.next()?);
    let mut others = inputs.into_iter().filter(|input| input.is_tracked() && !is_leaf(input));
    match (others.next(), others.next()) {
        (other, None) => Some([first, other.unwrap_or(second)]),
        _ => None,
    }
}

/// Records an operation whose node has some of its inputs as parents.
fn record_below<O: HostOp<N>, const N: usize, const PARENTS: usize, const D: usize>(
    op: O,
    inputs: [&Tracked; N],
    parents: [&Tracked; PARENTS],
    shape: [usize; D],
) -> (Tracked, Arc<O::Saved>) {
    let tracked = inputs.map(|input| input.is_tracked().then(|| input.id()));
    let inputs = inputs.map(|input| contiguous(input.primitive().clone()));
    let run = |op: &O, inputs: &[Plain; N], tracked| {
        let (output, saved) = op.forward(inputs.each_ref().map(elements), tracked);
        (host(output, shape), Arc::new(saved))
    };
    let op = Arc::new(op);
    let step = Step(op.clone()).prepare::<NoCheckpointing>(parents.map(Tracked::node));
    match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let (output, saved) = run(&op, &inputs, true);
            let kept = Kept { inputs, tracked, output: output.clone(), saved: saved.clone() };
            (step.finish(kept, output), saved)
        }
        OpsKind::UnTracked(step) => {
            let (output, saved) = run(&op, &inputs, false);
            (step.finish(output), saved)
        }
    }
}
