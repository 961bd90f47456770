//! Modules with convolutions and memory compute the same with fused kernels and with plain operations.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Buffer, Space};
use rekindle_kernels::eager;
use rekindle_rl_module::{AnyRLModule, ExplorationContext, RLModuleSpec};
use serde_json::{Value as Json, json};

/// Rows of a batch: sequences and their steps. Rows of a module without memory are independent.
const SEQUENCES: usize = 3;
const STEPS: usize = 3;

fn build(space: &Space, model: &Json) -> AnyRLModule {
    RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(5).unwrap())
        .model_config(model.clone())
        .build_seeded(&Device::flex().autodiff(), Generator::from_seed(3))
        .unwrap()
}

/// Random observations, and states: zeros for the sequences that begin with an episode, numbers for the others.
fn batch(module: &AnyRLModule, space: &Space, device: &Device) -> Batch {
    let mut rng = Generator::from_seed(5);
    let mut observations = Buffer::with_capacity(space, SEQUENCES * STEPS);
    for _ in 0..SEQUENCES * STEPS {
        observations.push_value(&space.sample(&mut rng)).unwrap();
    }
    let batch = Batch::new().with(Columns::OBS, upload(&observations, device).unwrap());
    let Some(initial) = module.initial_state().unwrap() else { return batch };
    let mut states = initial.gather(&[0; SEQUENCES]).unwrap();
    let paths: Vec<String> = states.leaves().into_iter().map(|(path, _)| path).collect();
    for path in paths {
        let leaf = path.split('.').fold(&mut states, |part, key| part.part_mut(key).unwrap());
        let values = leaf.as_f32_mut().unwrap();
        let of_sequence = values.len() / SEQUENCES;
        for (index, value) in values.iter_mut().enumerate() {
            if index / of_sequence % 2 == 1 {
                *value = rng.uniform(-0.8, 0.8) as f32;
            }
        }
    }
    batch.with(Columns::STATE_IN, upload(&states, device).unwrap())
}

/// The gradients of all parameters, in their order.
struct Collect<'a>(&'a mut Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.0).unwrap();
        self.1.push(to_f32(gradient).unwrap());
    }
}

/// The outputs of passes with and without gradients, and the gradients of all parameters.
fn run(space: &Space, model: &Json, is_eager: bool) -> Vec<Vec<f32>> {
    let _scope = eager::scope(is_eager);
    let module = build(space, model);
    let device = Device::flex().autodiff();
    let inputs = batch(&module, space, &device);
    let out = module.forward_train(&inputs).unwrap();
    let logits = out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
    let embeddings = out.float::<2>(Columns::EMBEDDINGS).ok();
    let values = module.compute_values(&inputs, embeddings).unwrap();
    let mut found = vec![to_f32(logits.clone()).unwrap(), to_f32(values.clone()).unwrap()];
    let mut gradients = (logits.square().mean() + values.square().mean()).backward();
    let mut collect = Collect(&mut gradients, Vec::new());
    module.visit(&mut collect);
    found.extend(collect.1);

    let (acting, device) = (module.valid(), Device::flex());
    let rows = batch(&acting, space, &device);
    let mut cx = ExplorationContext::from_seed(0);
    for out in [
        acting.forward_inference(&rows).unwrap(),
        acting.forward_exploration(&rows, &mut cx).unwrap(),
    ] {
        found.push(to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap());
    }
    found
}

fn agree(space: &Space, model: &Json) {
    let [fused, plain] = [false, true].map(|is_eager| run(space, model, is_eager));
    assert_eq!(fused.len(), plain.len());
    assert_ne!(fused, plain, "{model} computes the same bits, so that one of the two was not run");
    for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(0f32, |max, x| max.max(x.abs()));
        assert!(largest > 0.0, "tensor {index} of {model} is zero");
        for (a, b) in a.iter().zip(b) {
            // Gradients of filters are sums of thousands of terms of both signs.
            let close = (a - b).abs() <= 2e-3 * largest;
            assert!(close, "tensor {index} of {model} for {space}: {a} and {b}");
        }
    }
}

/// Bytes and floats of a size.
fn images(shape: [usize; 3]) -> [Space; 2] {
    [Space::image(&shape).unwrap(), Space::boxed(-1.0, 2.0, &shape).unwrap()]
}

#[test]
fn networks_for_images_agree() {
    for padding in ["same", "valid"] {
        let nature = json!({
            "conv_filters": [[32, 8, 4, padding], [64, 4, 2, padding], [64, 3, 1, padding]],
            "head_fcnet_hiddens": [64], "vf_share_layers": true,
        });
        for space in images([84, 84, 4]) {
            agree(&space, &nature);
        }
        for (shape, activation) in [([10, 10, 4], "relu"), ([9, 12, 3], "tanh")] {
            let small = json!({
                "conv_filters": [[16, 3, 1, padding], [33, [3, 2], 2, padding]],
                "conv_activation": activation, "conv_fcnet_hiddens": [40],
            });
            for space in images(shape) {
                agree(&space, &small);
            }
        }
    }
}

#[test]
fn networks_with_memory_agree() {
    let vectors = Space::unbounded(&[7]).unwrap();
    for kind in ["lstm", "gru"] {
        for (cells, layers) in [(64, 1), (13, 2)] {
            for shares in [true, false] {
                let model = json!({
                    "fcnet_hiddens": [24], "use_lstm": true, "recurrent_layer_type": kind,
                    "lstm_cell_size": cells, "recurrent_num_layers": layers, "max_seq_len": STEPS,
                    "vf_share_layers": shares,
                });
                agree(&vectors, &model);
            }
        }
        let of_images = json!({
            "conv_filters": [[16, 3, 2]], "use_lstm": true, "recurrent_layer_type": kind,
            "lstm_cell_size": 32, "max_seq_len": STEPS, "vf_share_layers": true,
        });
        for space in images([10, 10, 3]) {
            agree(&space, &of_images);
        }
    }
}
