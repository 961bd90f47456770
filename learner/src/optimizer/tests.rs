use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use rekindle_core::weights::{Weights, state_dict};

use super::*;

#[derive(Module, Debug)]
struct Net {
    a: Linear,
    b: Linear,
}

fn net() -> Net {
    let device = Device::flex().autodiff();
    Net { a: LinearConfig::new(3, 4).init(&device), b: LinearConfig::new(4, 2).init(&device) }
}

/// Loss = sum of all parameters, so that every gradient is 1.
struct SumOfParameters(Option<Tensor<1>>);
impl burn::module::ModuleVisitor for SumOfParameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let sum = param.val().sum();
        self.0 = Some(match self.0.take() {
            Some(total) => total + sum,
            None => sum,
        });
    }
}

fn gradients_of_ones(net: &Net) -> Gradients {
    let mut sum = SumOfParameters(None);
    net.visit(&mut sum);
    Gradients::take(net, &mut sum.0.unwrap().backward())
}

fn values(weights: &Weights) -> Vec<f32> {
    weights.values().flat_map(|array| array.as_slice::<f32>().unwrap().to_vec()).collect()
}

#[test]
fn a45_a_sum_of_parameters_has_gradients_of_one_and_sgd_subtracts_100_lr() {
    let mut net = net();
    let gradients = gradients_of_ones(&net);
    assert_eq!(gradients.len(), 4);
    let all = gradients.get(net.a.weight.id).unwrap().to_f32().unwrap();
    assert!(all.iter().all(|g| *g == 1.0));

    let before = values(&state_dict(&net).unwrap());
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd);
    for _ in 0..100 {
        let gradients = gradients_of_ones(&net);
        let outcome;
        (net, outcome) = optimizer.step(0.01, None, net, gradients);
        outcome.unwrap();
    }
    for (after, before) in values(&state_dict(&net).unwrap()).iter().zip(before) {
        assert!((after - (before - 1.0)).abs() < 1e-4);
    }
}

fn loss(net: &Net) -> Tensor<1> {
    let x = Tensor::<2>::ones([5, 3], &Device::flex().autodiff());
    (net.b.forward(net.a.forward(x).tanh()) - 0.5).square().mean()
}

#[test]
fn adam_steps_equal_burns_own_module_optimizer() {
    let (mut ours, mut theirs) = (net(), None::<Net>);
    theirs.get_or_insert(ours.clone());
    let mut theirs = theirs.unwrap();
    let mut optimizer = Optimizer::new(OptimizerConfig::adam(1e-5));
    let mut reference: ModuleOptimizer = AdamConfig::new().with_epsilon(1e-5).init();
    for _ in 0..20 {
        let gradients = Gradients::take(&ours, &mut loss(&ours).backward());
        (ours, _) = optimizer.step(1e-2, None, ours, gradients);
        let grads = GradientsParams::from_grads(loss(&theirs).backward(), &theirs);
        theirs = reference.step(1e-2, theirs, grads);
    }
    // The fused kernel rounds less often than the composition.
    let (ours, theirs) =
        (values(&state_dict(&ours).unwrap()), values(&state_dict(&theirs).unwrap()));
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} {theirs:?}");
}

#[test]
fn a_saved_optimizer_continues_exactly_and_refuses_another_modules_state() {
    let mut first = net();
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let step = |net: Net, optimizer: &mut Optimizer| {
        let gradients = Gradients::take(&net, &mut loss(&net).backward());
        optimizer.step(1e-2, None, net, gradients).0
    };
    for _ in 0..3 {
        first = step(first, &mut optimizer);
    }
    let state = optimizer.get_state().unwrap();
    let mut restored = Optimizer::new(OptimizerConfig::default());
    restored.load_state(&state, &first).unwrap();
    let second = step(first.clone(), &mut restored);
    first = step(first, &mut optimizer);
    assert_eq!(state_dict(&first).unwrap(), state_dict(&second).unwrap());

    let other = LinearConfig::new(3, 4).init(&Device::flex());
    let message = restored.load_state(&state, &other).unwrap_err().to_string();
    assert!(message.contains("no parameter `a."), "{message}");
}
