use std::collections::BTreeMap;

use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::prelude::*;

use super::*;

enum ScalarFamily {}
impl Family for ScalarFamily {
    type Dyn = dyn Scalar;
}
trait Scalar: ErasedModule<ScalarFamily> {
    fn value(&self, x: Tensor<2>) -> Tensor<1>;
}
impl<M: Scalar + Module + Sync + 'static> Erase<M> for ScalarFamily {
    fn erase(module: M) -> Box<dyn Scalar> {
        Box::new(module)
    }
}

#[derive(Module, Debug)]
struct One {
    layer: Linear,
}
impl Scalar for One {
    fn value(&self, x: Tensor<2>) -> Tensor<1> {
        self.layer.forward(x).sum()
    }
}

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    scale: Param<Tensor<1>>,
}
impl Scalar for Two {
    fn value(&self, x: Tensor<2>) -> Tensor<1> {
        self.first.forward(x).sum() * self.scale.val()
    }
}

#[derive(Module, Debug)]
struct Holder {
    parts: Vec<Erased<ScalarFamily>>,
}

fn holder(device: &Device) -> Holder {
    let one = One { layer: LinearConfig::new(3, 2).init(device) };
    let two = Two {
        first: LinearConfig::new(3, 1).init(device),
        scale: Param::from_data([2.0f32], device),
    };
    Holder { parts: vec![Erased::new(one), Erased::new(two)] }
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    seen: BTreeMap<String, Vec<usize>>,
}
impl ModuleVisitor for Names {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.seen.insert(self.path.join("."), param.val().dims().to_vec());
    }
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
}

#[test]
fn a_visitor_sees_every_parameter_with_its_path_and_rank() {
    let mut names = Names::default();
    holder(&Device::flex()).visit(&mut names);
    let names: Vec<_> = names.seen.into_iter().collect();
    assert_eq!(
        names,
        [
            ("parts.0.layer.bias".to_string(), vec![2]),
            ("parts.0.layer.weight".to_string(), vec![3, 2]),
            ("parts.1.first.bias".to_string(), vec![1]),
            ("parts.1.first.weight".to_string(), vec![3, 1]),
            ("parts.1.scale".to_string(), vec![1]),
        ]
    );
}

#[test]
fn one_optimizer_trains_modules_of_different_types() {
    let device = Device::flex().autodiff();
    let mut module = holder(&device);
    assert_eq!(module.num_params(), 6 + 2 + 3 + 1 + 1);
    let mut optimizer = SgdConfig::new().init();
    let x = Tensor::<2>::ones([4, 3], &device);
    let loss = |module: &Holder| {
        let values: Vec<_> =
            module.parts.iter().map(|m| (m.value(x.clone()) - 1.0).square()).collect();
        Tensor::cat(values, 0).mean()
    };
    let before = loss(&module).into_scalar::<f32>();
    for _ in 0..50 {
        let grads = GradientsParams::from_grads(loss(&module).backward(), &module);
        assert_eq!(grads.len(), 5);
        module = optimizer.step(1e-3, module, grads);
    }
    let after = loss(&module).into_scalar::<f32>();
    assert!(after < 0.1 * before, "{before} -> {after}");
}

#[test]
fn valid_and_train_switch_gradients() {
    let device = Device::flex().autodiff();
    let module = holder(&device);
    let out = module.valid().parts[0].value(Tensor::ones([1, 3], &Device::flex()));
    assert!(!out.is_require_grad() && !out.device().is_autodiff());
    assert_eq!(module.valid().train().num_params(), module.num_params());
}

#[derive(Module, Debug)]
struct Wide {
    known: Param<Tensor<1>>,
    cube: Param<Tensor<7>>,
}
impl Scalar for Wide {
    fn value(&self, x: Tensor<2>) -> Tensor<1> {
        x.sum() * self.known.val()
    }
}

#[test]
fn a_parameter_with_too_many_dimensions_is_an_error_that_names_it() {
    let device = Device::flex();
    let wide = || Wide {
        known: Param::from_data([2.0f32], &device),
        cube: Param::from_tensor(Tensor::ones([1; 7], &device)),
    };
    let name = |result| match result {
        Err(crate::CoreError::ParameterRank { name, max: 6 }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(crate::initialize(&wide())), "cube");
    let mut holder = holder(&device);
    crate::initialize(&holder).unwrap();
    holder.parts.push(Erased::new(wide()));
    assert_eq!(name(crate::initialize(&holder)), "parts.2.cube");
    // What was skipped in one module says nothing of the next.
    holder.parts[2].num_params();
    holder.parts.truncate(2);
    crate::initialize(&holder).unwrap();
}
