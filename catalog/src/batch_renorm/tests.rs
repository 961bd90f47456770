//! Batch renormalization against sb3-contrib's layer, recorded by `scripts/parity/record_sb3_actors.py`.

use rekindle_core::any_tensor::to_f32;
use rekindle_core::weights::state_dict;
use rekindle_core::{AnyTensor, Generator};
use serde::Deserialize;

use super::*;
use crate::ensemble::EnsembleMlp;
use crate::mlp::MlpConfig;

/// Layers that share the rows of each batch.
const MEMBERS: usize = 2;

#[derive(Deserialize)]
struct Recorded {
    warmup_steps: u64,
    weight: Vec<f32>,
    bias: Vec<f32>,
    batches: Vec<RecordedBatch>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

#[derive(Deserialize)]
struct RecordedBatch {
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
    gradient: Option<Vec<Vec<f32>>>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../../tests/golden/batch_renorm.json")).unwrap()
}

fn builder() -> ModelBuilder {
    ModelBuilder::new(&Device::flex().autodiff(), Generator::from_seed(0))
}

fn tensor(rows: &[Vec<f32>]) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, &Device::flex().autodiff())
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{what}: {found:?} {expected:?}");
    }
}

/// Writes running statistics to a layer, as a learner does.
fn keep(renorm: &mut EnsembleBatchRenorm, statistics: RunningStatistics) {
    let device = Device::flex().autodiff();
    let mut values = statistics.into_iter();
    let mut next = |id: ParamId| {
        let (of, value) = values.next().unwrap();
        assert_eq!(of, id);
        value
    };
    let param = |value: AnyTensor| {
        let tensor: Tensor<2> = value.into_float().unwrap();
        let shape = tensor.dims();
        Param::from_data(TensorData::new(to_f32(tensor).unwrap(), shape), &device)
    };
    renorm.running_mean = param(next(renorm.running_mean.id));
    renorm.running_var = param(next(renorm.running_var.id));
    let passes = to_f32(next(renorm.num_batches_tracked.id).into_float::<1>().unwrap()).unwrap();
    renorm.num_batches_tracked = Param::from_data(TensorData::new(passes, [1]), &device);
}

#[test]
fn outputs_gradients_and_running_statistics_are_those_of_sb3_contribs_crossq() {
    let (recorded, builder) = (recorded(), builder());
    let width = recorded.weight.len();
    let mut renorm = EnsembleBatchRenorm::new(&builder, MEMBERS, width, recorded.warmup_steps);
    let repeated = |values: &[f32]| builder.param(values.repeat(MEMBERS), [MEMBERS, width]);
    (renorm.weight, renorm.bias) = (repeated(&recorded.weight), repeated(&recorded.bias));
    let mut evaluated = 0;
    for (index, batch) in recorded.batches.iter().enumerate() {
        let x = tensor(&batch.x).require_grad();
        let of_layer = |y: Tensor<3>, member| y.narrow(0, member, 1).squeeze_dim::<2>(0);
        let Some(gradient) = &batch.gradient else {
            // A layer that computes nothing more.
            let identity = Tensor::<2>::eye(width, &x.device()).unsqueeze_dim::<3>(0);
            let identity = identity.expand([MEMBERS, width, width]);
            let (weight, bias) =
                renorm.fold(identity, Tensor::zeros([MEMBERS, width], &x.device()));
            let y = x.unsqueeze_dim::<3>(0).matmul(weight) + bias.unsqueeze_dim(1);
            close(&to_f32(of_layer(y, 1)).unwrap(), &batch.y.concat(), "evaluation");
            evaluated += 1;
            continue;
        };
        let (y, statistics) = renorm.forward_in_training(x.clone().unsqueeze_dim(0));
        assert_eq!(y.dims(), [MEMBERS, batch.x.len(), width]);
        keep(&mut renorm, statistics);
        for member in 0..MEMBERS {
            let y = to_f32(of_layer(y.clone(), member)).unwrap();
            close(&y, &batch.y.concat(), &format!("batch {index}"));
        }
        let factors = x.clone().detach().cos().unsqueeze_dim::<3>(0);
        let found = x.grad(&(y * factors).sum().backward()).unwrap() / MEMBERS as f32;
        let what = format!("gradient of batch {index}");
        close(&to_f32(found).unwrap(), &gradient.concat(), &what);
    }
    assert_eq!((evaluated, recorded.batches.len()), (1, 8));
    for (running, expected) in
        [(&renorm.running_mean, recorded.mean), (&renorm.running_var, recorded.var)]
    {
        close(&to_f32(running.val()).unwrap(), &expected.repeat(MEMBERS), "running statistics");
    }
    assert_eq!(to_f32(renorm.num_batches_tracked.val()).unwrap(), [7.0]);
}

#[test]
fn an_input_that_never_changes_has_a_finite_gradient_after_the_warm_up() {
    let mut renorm = EnsembleBatchRenorm::new(&builder(), 1, 2, 0);
    for _ in 0..3 {
        let x = tensor(&[vec![0.0, 1.0], vec![0.0, -1.0]]).require_grad();
        let (y, statistics) = renorm.forward_in_training(x.clone().unsqueeze_dim(0));
        keep(&mut renorm, statistics);
        let gradient = to_f32(x.grad(&y.square().sum().backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
}

#[test]
fn an_ensemble_normalizes_by_running_statistics_unless_it_trains_and_keeps_them_among_its_weights()
{
    let builder = builder();
    let members: Vec<_> =
        (0..3).map(|_| vec![MlpConfig::new(4, &[5], Some(1)).build(&builder)]).collect();
    let plain = EnsembleMlp::stack(&members, &builder).unwrap();
    let x = tensor(&[vec![1.0, -2.0, 0.5, 3.0], vec![0.3, 0.1, -0.7, 2.0]]);
    let (values, statistics) = plain.forward_in_training(x.clone());
    assert_eq!(to_f32(values).unwrap(), to_f32(plain.forward(x.clone())).unwrap());
    assert!(statistics.is_empty());

    let ensemble = plain.with_batch_renorm(&builder, 10);
    let (trained, statistics) = ensemble.forward_in_training(x.clone());
    assert_eq!((trained.dims(), statistics.len()), ([3, 2, 1], 2 * 3));
    let weights = state_dict(&ensemble).unwrap();
    let running = weights.iter().filter(|(name, _)| name.contains("running_"));
    let shapes: Vec<_> = running.map(|(name, array)| (name.as_str(), array.shape())).collect();
    let expected: [(&str, &[usize]); 4] = [
        ("renorms.0.running_mean", &[3, 4]),
        ("renorms.0.running_var", &[3, 4]),
        ("renorms.1.running_mean", &[3, 5]),
        ("renorms.1.running_var", &[3, 5]),
    ];
    assert_eq!(shapes, expected);
    // With mean 0 and variance 1, evaluation is almost the plain network; the batch's own statistics are not.
    let evaluated = to_f32(ensemble.forward(x)).unwrap();
    let trained = to_f32(trained).unwrap();
    assert!(evaluated.iter().zip(&trained).any(|(a, b)| (a - b).abs() > 1e-2));
}
