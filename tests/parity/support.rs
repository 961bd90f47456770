//! Reads recorded arrays and compares results with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use rekindle::checkpoint::{Array, ArrayData};
use rekindle::core::AnyTensor;
use rekindle::core::weights::{Weights, state_dict};
use rekindle::learner::Gradients;
use rekindle::prelude::*;
use serde_json::Value;

/// The largest accepted difference, relative to the recorded number. For numbers close to zero it
/// is relative to the largest number of the array or to one, whichever is smaller.
const TOLERANCE: f32 = 1e-5;

/// The path of a file of recorded data.
pub(crate) fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/parity/data", name].iter().collect()
}

/// The CPU.
pub(crate) fn cpu() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// The named arrays of a file.
pub(crate) struct Recorded(pub(crate) Weights);

impl Recorded {
    /// Reads `tests/parity/data/<name>.safetensors`.
    pub(crate) fn read(name: &str) -> Self {
        Self(read_safetensors(path(&format!("{name}.safetensors"))).unwrap())
    }

    /// The arrays whose names begin with `prefix` and a dot, under the rest of their names.
    pub(crate) fn part(&self, prefix: &str) -> Weights {
        let strip = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
        self.0.iter().filter_map(|(name, array)| Some((strip(name)?, array.clone()))).collect()
    }

    /// One array as a tensor on a device; bytes become floats.
    pub(crate) fn tensor(&self, name: &str, device: &Device) -> AnyTensor {
        let array = &self.0[name];
        let shape = array.shape().to_vec();
        let data = match array.data() {
            ArrayData::F32(values) => TensorData::new(values.clone(), shape),
            ArrayData::I64(values) => TensorData::new(values.clone(), shape),
            ArrayData::U8(values) => {
                TensorData::new(values.iter().map(|&x| f32::from(x)).collect::<Vec<_>>(), shape)
            }
            other => panic!("{name}: {other:?}"),
        };
        AnyTensor::from_data(data, device).unwrap()
    }

    /// The steps of sequences `[B, T, …]` one after the other, `[B * T, …]`; booleans become
    /// floats.
    pub(crate) fn steps(&self, name: &str, device: &Device) -> AnyTensor {
        let array = &self.0[name];
        let shape = [&[array.shape()[..2].iter().product()], &array.shape()[2..]].concat();
        let data = match array.data() {
            ArrayData::F32(values) => TensorData::new(values.clone(), shape),
            ArrayData::I64(values) => TensorData::new(values.clone(), shape),
            ArrayData::Bool(values) => {
                TensorData::new(values.iter().map(|&x| f32::from(x)).collect::<Vec<_>>(), shape)
            }
            other => panic!("{name}: {other:?}"),
        };
        AnyTensor::from_data(data, device).unwrap()
    }

    /// One array as a float tensor on a device.
    pub(crate) fn float<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        self.tensor(name, device).into_float().unwrap()
    }

    /// The states under `<column>.<key>` or `<column>.<network>.<key>`.
    fn state(&self, column: &str, device: &Device) -> Batch {
        let (mut state, mut networks) = (Batch::new(), BTreeMap::<String, Batch>::new());
        for name in self.part(column).keys() {
            let tensor = self.tensor(&format!("{column}.{name}"), device);
            match name.split_once('.') {
                Some((network, key)) => {
                    let part = networks.entry(network.into()).or_default();
                    part.insert(key.to_owned(), tensor);
                }
                None => state.insert(name.clone(), tensor),
            }
        }
        networks.into_iter().fold(state, |state, (network, part)| state.with(network, part))
    }

    /// Checks outputs, values and states of a recurrent module.
    pub(crate) fn check_memory(&self, module: &AnyRLModule) {
        let device = cpu().autodiff();
        let batch = Batch::new()
            .with(Columns::OBS, self.tensor("obs", &device))
            .with(Columns::STATE_IN, self.state("state_in", &device));
        let out = module.forward_exploration(&batch, &mut ExplorationContext::default()).unwrap();
        self.check("logits", out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap());
        self.check("values", module.compute_values(&batch, None).unwrap());
        let after = out.nested(Columns::STATE_OUT).unwrap();
        for name in self.part("state_out").keys() {
            let found = match name.split_once('.') {
                Some((network, key)) => after.nested(network).unwrap().float::<3>(key),
                None => after.float::<3>(name),
            };
            self.check(&format!("state_out.{name}"), found.unwrap());
        }
    }

    /// Checks outputs and values of a module for observations of `D` dimensions.
    pub(crate) fn check_outputs<const D: usize>(&self, module: &AnyRLModule) {
        let obs = self.float::<D>("obs", &cpu().autodiff());
        let (logits, values) = forward_any(module, obs);
        self.check("logits", logits);
        self.check("values", values);
    }

    /// Checks a tensor against the array of that name.
    pub(crate) fn check<const D: usize>(&self, name: &str, found: Tensor<D>) {
        assert_eq!(found.dims(), self.0[name].shape(), "{name}");
        let found = rekindle::core::any_tensor::to_f32(found).unwrap();
        assert_close(name, &found, &self.0[name]);
    }
}

/// Checks numbers against recorded ones.
pub(crate) fn assert_close(name: &str, found: &[f32], expected: &Array) {
    let expected = expected.as_slice::<f32>().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    let floor = expected.iter().fold(0f32, |floor, x| floor.max(x.abs())).min(1.0);
    let mut largest = 0f32;
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs() / expected.abs().max(floor);
        assert!(
            difference <= TOLERANCE,
            "{name}[{row}]: found {found}, recorded {expected}: off by {difference:e}"
        );
        largest = largest.max(difference);
    }
    println!("{name}: within {largest:.1e}");
}

/// Checks all parameters, or gradients, of a module against recorded ones.
pub(crate) fn assert_weights_close(found: &Weights, expected: &Weights) {
    assert!(found.keys().eq(expected.keys()), "{:?} {:?}", found.keys(), expected.keys());
    for (name, array) in found {
        assert_eq!(array.shape(), expected[name].shape(), "{name}");
        assert_close(name, array.as_slice().unwrap(), &expected[name]);
    }
}

/// The gradients of a loss by the names of the parameters, in PyTorch's layout.
pub(crate) fn gradients(module: &AnyRLModule, loss: &Tensor<1>) -> Weights {
    gradients_of(module, &mut loss.backward())
}

/// Returns the gradients of the parameters that have any. Those of the others are left out.
pub(crate) fn present_gradients(
    module: &AnyRLModule,
    tape: &mut burn::tensor::Gradients,
) -> Weights {
    /// Replaces every parameter by its gradient, and those without one by nothing.
    struct Replacer(Gradients);
    impl ModuleMapper for Replacer {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = match self.0.remove(param.id) {
                Some(gradient) => gradient.into_float().unwrap(),
                None => Tensor::zeros([0; D], &cpu()),
            };
            Param::initialized(param.id, gradient)
        }
    }
    let gradients = Gradients::take(module, tape);
    let mut all = state_dict(&module.clone().map(&mut Replacer(gradients))).unwrap();
    all.retain(|_, gradient| !gradient.shape().contains(&0));
    all
}

/// Returns the gradients from a tape that the caller also reads other gradients from.
pub(crate) fn gradients_of<M: Module>(module: &M, tape: &mut burn::tensor::Gradients) -> Weights {
    /// Replaces every parameter by its gradient, so that the state dict names the gradients.
    struct Replacer(Gradients);
    impl ModuleMapper for Replacer {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = self.0.remove(param.id).expect("every parameter has a gradient");
            Param::initialized(param.id, gradient.into_float().unwrap())
        }
    }
    let gradients = Gradients::take(module, tape);
    state_dict(&module.clone().map(&mut Replacer(gradients))).unwrap()
}

/// Builds an actor-critic for vectors of four numbers and two actions, with autodiff.
pub(crate) fn actor_critic(model_config: Value) -> AnyRLModule {
    actor_critic_for(Space::discrete(2).unwrap(), model_config)
}

/// Builds an actor-critic for vectors of four numbers, with autodiff.
pub(crate) fn actor_critic_for(actions: Space, model_config: Value) -> AnyRLModule {
    let vectors = Space::boxed(f32::NEG_INFINITY, f32::INFINITY, &[4]).unwrap();
    actor_critic_on(vectors, actions, model_config)
}

/// Builds an actor-critic with autodiff.
pub(crate) fn actor_critic_on(
    observations: Space,
    actions: Space,
    model_config: Value,
) -> AnyRLModule {
    RLModuleSpec::default()
        .observation_space(observations)
        .action_space(actions)
        .model_config(model_config)
        .build(&cpu().autodiff())
        .unwrap()
}

/// Builds an actor-critic with the recorded weights of another library.
pub(crate) fn import(
    weights: &str,
    names: &NameMap,
    [observations, actions]: [Space; 2],
    model_config: Value,
) -> AnyRLModule {
    let mut module = actor_critic_on(observations, actions, model_config);
    module.load_state_dict(&names.apply(&Recorded::read(weights).0).unwrap()).unwrap();
    module
}

/// Returns the inputs of the action distribution, and the values, for vectors.
pub(crate) fn forward(module: &AnyRLModule, obs: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
    forward_any(module, obs)
}

/// Returns the inputs of the action distribution, and the values, for observations of any shape.
pub(crate) fn forward_any<const D: usize>(
    module: &AnyRLModule,
    obs: Tensor<D>,
) -> (Tensor<2>, Tensor<1>) {
    let batch = Batch::new().with(Columns::OBS, obs);
    let out = module.forward_train(&batch).unwrap();
    let embeddings = out.contains(Columns::EMBEDDINGS).then(|| out.float(Columns::EMBEDDINGS));
    let values = module.compute_values(&batch, embeddings.transpose().unwrap()).unwrap();
    (out.float(Columns::ACTION_DIST_INPUTS).unwrap(), values)
}
