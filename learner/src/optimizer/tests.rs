use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use rekindle_checkpoint::{Array, State};
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
fn a_sum_of_parameters_has_gradients_of_one_and_sgd_subtracts_100_lr() {
    let mut net = net();
    let gradients = gradients_of_ones(&net);
    assert_eq!(gradients.len(), 4);
    let all = gradients.get(net.a.weight.id).unwrap().to_f32().unwrap();
    assert!(all.iter().all(|g| *g == 1.0));

    let before = values(&state_dict(&net).unwrap());
    let mut optimizer = Optimizer::new(OptimizerConfig::sgd());
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

/// A parameter whose gradient is a given one.
#[derive(Module, Debug)]
struct Vector {
    values: Param<Tensor<1>>,
}

fn numbers(json: &serde_json::Value) -> Vec<f32> {
    serde_json::from_value(json.clone()).unwrap()
}

/// Recorded by `scripts/parity/record_optimizers.py`.
#[test]
fn twenty_steps_of_every_rule_follow_the_path_of_pytorch() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/golden/optimizers.json")).unwrap();
    let device = Device::flex().autodiff();
    let rules = recorded["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 8);
    for rule in rules {
        let config: OptimizerConfig = serde_json::from_value(rule["rule"].clone()).unwrap();
        let (lr, path) = (rule["lr"].as_f64().unwrap(), rule["path"].as_array().unwrap());
        // The guard accepts, so that it changes nothing.
        let accepts = StepGuard::new(Tensor::from_data([true], &Device::flex()));
        for guard in [None, Some(&accepts)] {
            let mut optimizer = Optimizer::new(config);
            let start = Tensor::from_floats(&numbers(&recorded["start"])[..], &device);
            let mut net = Vector { values: Param::from_tensor(start) };
            let gradients = recorded["gradients"].as_array().unwrap();
            assert_eq!((gradients.len(), path.len()), (20, 20));
            for (number, (gradient, expected)) in gradients.iter().zip(path).enumerate() {
                let gradient = Tensor::<1>::from_floats(&numbers(gradient)[..], &device);
                let loss = (net.values.val() * gradient).sum();
                let gradients = Gradients::take(&net, &mut loss.backward());
                let outcome;
                (net, outcome) = optimizer.step(lr, guard, net, gradients);
                outcome.unwrap();
                let found = values(&state_dict(&net).unwrap());
                for (f, e) in found.iter().zip(numbers(expected)) {
                    let error = (f - e).abs() / e.abs().max(1.0);
                    assert!(error < 1e-5, "{config:?}, step {number}: {f} for {e}");
                }
            }
        }
    }
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
    let state = optimizer.get_state(&first).unwrap();
    let mut restored = Optimizer::new(OptimizerConfig::default());
    restored.load_state(&state, &first).unwrap();
    let second = step(first.clone(), &mut restored);
    first = step(first, &mut optimizer);
    assert_eq!(state_dict(&first).unwrap(), state_dict(&second).unwrap());

    let other = LinearConfig::new(3, 4).init(&Device::flex());
    let message = restored.load_state(&state, &other).unwrap_err().to_string();
    assert!(message.contains("no parameter `a."), "{message}");
}

#[test]
fn settings_that_make_weights_not_finite_are_refused() {
    let adam = |beta_1, beta_2, epsilon| OptimizerConfig::Adam { beta_1, beta_2, epsilon };
    for (config, expected) in [
        (adam(1.0, 0.999, 1e-8), "`optimizer.beta_1` is 1, but it must be at least 0 and below 1"),
        (adam(0.9, 1.0, 1e-8), "`optimizer.beta_2` is 1,"),
        (adam(0.9, 1.5, 1e-8), "`optimizer.beta_2` is 1.5,"),
        (adam(-0.1, 0.999, 1e-8), "`optimizer.beta_1` is -0.1,"),
        (adam(f32::NAN, 0.999, 1e-8), "`optimizer.beta_1` is NaN,"),
        (adam(0.9, 0.999, -1e-8), "`optimizer.epsilon` is -0.00000001, but it must be positive"),
        (adam(0.9, 0.999, 0.0), "`optimizer.epsilon` is 0,"),
        (adam(0.9, 0.999, f32::INFINITY), "`optimizer.epsilon` is inf,"),
    ] {
        let message = config.validate().unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    // 0.99999999 is 1 in single precision.
    let rounded: OptimizerConfig =
        serde_json::from_str(r#"{"type": "adam", "beta_2": 0.99999999}"#).unwrap();
    assert!(rounded.validate().is_err());
    adam(0.0, 0.0, 1e-8).validate().unwrap();
    OptimizerConfig::sgd().validate().unwrap();
}

#[test]
fn rules_are_read_by_their_type_and_other_forms_are_refused_with_an_example() {
    let read = |json: &str| serde_json::from_str::<OptimizerConfig>(json);
    assert_eq!(read(r#"{"type": "adam"}"#).unwrap(), OptimizerConfig::default());
    assert_eq!(read(r#"{"type": "adam", "epsilon": 0.5}"#).unwrap(), OptimizerConfig::adam(0.5));
    for config in [
        OptimizerConfig::sgd(),
        OptimizerConfig::Sgd { momentum: 0.9 },
        OptimizerConfig::adam(1e-5),
        OptimizerConfig::adam_w(0.1),
        OptimizerConfig::r_adam(),
        OptimizerConfig::rms_prop(1e-5),
    ] {
        assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    for (json, expected) in [
        (r#""adam""#, r#"an optimizer is an object with a type, `{"type": "adam"}`"#),
        (r#"{"type": 1}"#, "an optimizer is an object with a type"),
        (r#"{"type": "adamw"}"#, "unknown variant `adamw`, expected one of `adam`, `adam_w`,"),
        (r#"{"type": "adam", "beta": 1}"#, "unknown field `beta`"),
        (r#"{"type": "sgd", "epsilon": 1}"#, "unknown field `epsilon`"),
    ] {
        let message = read(json).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn moments_are_saved_in_the_names_and_layout_of_the_weights_and_version_0_is_converted() {
    let gradients = |net: &Net| Gradients::take(net, &mut loss(net).backward());
    let first = net();
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let (first, _) = optimizer.step(1e-2, None, first.clone(), gradients(&first));
    let state = optimizer.get_state(&first).unwrap();
    assert_eq!(state.data["version"], 1);
    for (name, weight) in state_dict(&first).unwrap() {
        for moment in ["moment_1", "moment_2"] {
            let found = state.tensor(&format!("{name}.{moment}")).unwrap();
            assert_eq!(found.shape(), weight.shape(), "{name}");
        }
    }

    // Version 0 has no version, and Burn's layout: `[in, out]` for the weights of linear layers.
    let mut old = State::new();
    old.data = state.data.clone();
    old.data.as_object_mut().unwrap().remove("version");
    for (name, array) in &state.tensors {
        let (shape, values) = (array.shape(), array.as_slice::<f32>().unwrap());
        let array = match *shape {
            [rows, columns] => {
                let of = |c: usize| (0..rows).map(move |r| values[r * columns + c]);
                Array::new([columns, rows], (0..columns).flat_map(of).collect::<Vec<_>>()).unwrap()
            }
            _ => array.clone(),
        };
        old.insert_tensor(name.clone(), array);
    }
    let mut restored = Optimizer::new(OptimizerConfig::default());
    restored.load_state(&old, &first).unwrap();
    assert_eq!(restored.get_state(&first).unwrap(), state);
}

#[test]
fn states_of_a_later_version_and_of_another_rule_are_refused() {
    let net = net();
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let mut state = optimizer.get_state(&net).unwrap();
    let mut other = Optimizer::new(OptimizerConfig::rms_prop(1e-5));
    let message = other.load_state(&state, &net).unwrap_err().to_string();
    assert!(message.contains("it belongs to Adam, and this optimizer is RMSprop"), "{message}");
    state.data["version"] = 2.into();
    state.data["what_comes_later"] = true.into();
    let message = optimizer.load_state(&state, &net).unwrap_err().to_string();
    assert!(
        message.contains("it has version 2, and this release reads versions up to 1"),
        "{message}"
    );
}

#[test]
fn moments_that_are_not_finite_are_not_loaded() {
    let net = net();
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let gradients = Gradients::take(&net, &mut loss(&net).backward());
    let (net, _) = optimizer.step(1e-2, None, net, gradients);
    let mut state = optimizer.get_state(&net).unwrap();
    let moment = Array::new([4], vec![0.0, f32::INFINITY, 0.0, 0.0]).unwrap();
    state.insert_tensor("a.bias.moment_2", moment);
    let message = optimizer.load_state(&state, &net).unwrap_err().to_string();
    assert!(message.contains("a moment of `a.bias` is inf"), "{message}");
}
