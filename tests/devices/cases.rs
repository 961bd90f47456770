//! The cases of the comparison.

mod distributions;
mod encoders;
mod heads;
mod losses;
mod rollouts;
mod steps;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use rekindle::catalog::ModelBuilder;
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;

use super::case::{Case, Computed};
use super::{normal, samples};

/// Allowed difference for sums over a layer or two.
const TOLERANCE: f32 = 1e-5;
/// Allowed difference for sums over many layers, pixels or steps.
const DEEP: f32 = 1e-4;

pub(crate) fn all() -> Vec<Case> {
    [
        encoders::all(),
        heads::all(),
        distributions::all(),
        losses::all(),
        rollouts::all(),
        steps::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Builds modules with the same parameters on every device.
fn builder(device: &Device) -> ModelBuilder {
    ModelBuilder::new(device, Generator::from_seed(0))
}

/// Returns the output of a module, and the gradients of its sum with random weights.
fn of_module<M: Module>(
    module: M,
    device: &Device,
    forward: impl FnOnce(&M) -> Tensor<2>,
) -> Computed {
    struct Collect<'a>(&'a mut Gradients, Vec<f32>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad_remove(self.0).unwrap();
            self.1.extend(to_f32(gradient).unwrap());
        }
    }
    let module = module.fork(&device.clone().autodiff()).train();
    let out = forward(&module);
    let forward = to_f32(out.clone()).unwrap();
    let mut gradients = weighted(out).backward();
    let mut collect = Collect(&mut gradients, Vec::new());
    module.visit(&mut collect);
    Computed { forward, gradient: collect.1 }
}

/// Returns the output of a function of tensors, and the gradients of its sum with random weights.
fn of_function(
    inputs: &[Tensor<2>],
    function: impl FnOnce(&[Tensor<2>]) -> Vec<Tensor<1>>,
) -> Computed {
    let inputs: Vec<_> = inputs.iter().map(|input| input.clone().require_grad()).collect();
    let out = Tensor::cat(function(&inputs), 0);
    let forward = to_f32(out.clone()).unwrap();
    let gradients = weighted(out.unsqueeze::<2>()).backward();
    let of_inputs = inputs.iter().filter_map(|input| input.grad(&gradients));
    let gradient = of_inputs.flat_map(|gradient| to_f32(gradient).unwrap()).collect();
    Computed { forward, gradient }
}

fn weighted(out: Tensor<2>) -> Tensor<1> {
    let [rows, columns] = out.dims();
    let weights = normal(99, [rows, columns], &out.device());
    (out * weights).sum() / (rows as f32).sqrt()
}
