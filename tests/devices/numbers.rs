//! NaN and infinity: behavior that the library relies on, and behavior that differs between backends.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::activation::{relu, softmax};
use rekindle::algorithms::TrainingConfig as _;
use rekindle::catalog::mask_logits;
use rekindle::core::any_tensor::{to_f32, to_i64};
use rekindle::prelude::*;

use super::training::{bits, flat, weights};
use super::{cpu, difference, normal, subject, subject_spec};

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_floats(values, device)
}

#[cfg_attr(test, test)]
pub(super) fn numbers_at_the_edge_are_the_same_everywhere() {
    for device in [cpu(), subject()] {
        let t = |values: &[f32]| tensor(values, &device);
        let edge = [NAN, INF, -INF, f32::MIN, 0.0];
        assert_eq!(to_i64(t(&edge).is_nan().int()).unwrap(), [1, 0, 0, 0, 0]);
        assert_eq!(to_i64(t(&edge).is_finite().int()).unwrap(), [0, 0, 0, 1, 1]);
        // The guard against non-finite updates reads this.
        assert!(to_f32(t(&[1.0, NAN, 2.0]).sum()).unwrap()[0].is_nan());
        assert!(to_f32(t(&[1.0, INF, -INF]).sum()).unwrap()[0].is_nan());
        assert!(to_f32(t(&[NAN, 1.0]).square().sum()).unwrap()[0].is_nan());

        let clamped = to_f32(t(&[-INF, -3.0, -1.0, 0.5, 7.0, INF]).clamp(-1.0, 2.0)).unwrap();
        assert_eq!(clamped, [-1.0, -1.0, -1.0, 0.5, 2.0, 2.0]);
        // Comparisons with NaN are false.
        assert_eq!(to_i64(t(&[NAN]).lower_equal_elem(1.0).int()).unwrap(), [0]);
        assert_eq!(to_i64(t(&[NAN]).greater_equal_elem(1.0).int()).unwrap(), [0]);

        assert_eq!(to_f32(t(&[100.0, -200.0]).exp()).unwrap(), [INF, 0.0]);
        assert_eq!(to_f32(t(&[0.0]).log()).unwrap(), [-INF]);
        let masked = mask_logits(t(&[1.0, f32::MIN]).unsqueeze(), t(&[0.0, 0.0]).unsqueeze());
        assert_eq!(to_f32(masked).unwrap(), [f32::MIN; 2]);
        let probabilities = softmax(t(&[f32::MIN, 3.0]).unsqueeze::<2>(), 1);
        assert_eq!(to_f32(probabilities).unwrap(), [0.0, 1.0]);
    }
}

/// Operations in which backends may differ. The CPU returns NaN. Other devices return NaN or one of the
/// other arguments, and nothing may rely on either. `tanh` returns NaN everywhere.
#[cfg_attr(test, test)]
pub(super) fn the_cpu_keeps_nan_and_other_devices_may_lose_it_in_clamps_and_choices() {
    let one = |device: &Device| {
        let nan = || tensor(&[NAN], device);
        let two = || tensor(&[2.0], device);
        let ops: [(&'static str, Tensor<1>, [f32; 2]); 5] = [
            ("clamp(NaN, -1, 2)", nan().clamp(-1.0, 2.0), [-1.0, 2.0]),
            ("max(NaN, 2)", nan().max_pair(two()), [2.0, 2.0]),
            ("min(NaN, 2)", nan().min_pair(two()), [2.0, 2.0]),
            ("relu(NaN)", relu(nan()), [0.0, 0.0]),
            ("tanh(NaN)", rekindle::kernels::tanh(nan()), [NAN, NAN]),
        ];
        ops.map(|(name, tensor, allowed)| (name, to_f32(tensor).unwrap()[0], allowed))
    };
    for (name, value, allowed) in one(&subject()) {
        println!("{name} = {value} on {}", subject_spec());
        assert!(value.is_nan() || allowed.contains(&value), "{name} = {value}");
    }
    for (name, value, _) in one(&cpu()) {
        assert!(value.is_nan(), "{name} = {value} on cpu");
    }
}

/// Returns eight rows after `spoil` has changed them.
fn batch(device: &Device, spoil: impl FnOnce(&mut [Vec<f32>; 3])) -> BTreeMap<String, TrainData> {
    let mut columns = [vec![0.1f32; 32], vec![1.0; 8], vec![0.5; 8]];
    spoil(&mut columns);
    let [obs, advantages, targets] = columns.map(|values| tensor(&values, device));
    let batch = Batch::new()
        .with(Columns::OBS, obs.reshape([8, 4]))
        .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([8], device))
        .with(Columns::ACTION_DIST_INPUTS, normal(1, [8, 2], device))
        .with(Columns::ACTION_LOGP, tensor(&[-0.7; 8], device))
        .with(Columns::ADVANTAGES, advantages)
        .with(Columns::VALUE_TARGETS, targets);
    BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), TrainData::from(batch))])
}

/// A non-finite update changes nothing and is counted, even if a device's clamp loses NaN.
#[cfg_attr(test, test)]
pub(super) fn updates_that_are_not_finite_are_skipped_on_every_device() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.minibatch_size(None).train_batch_size(8).num_epochs(1).grad_clip(0.5))
        .seed(0);
    let mut later = Vec::new();
    for spec in [DeviceSpec::Cpu, subject_spec()] {
        let device = spec.open().unwrap();
        for (column, bad) in [(0, NAN), (1, NAN), (2, INF)] {
            let algo = config.build(&device).unwrap();
            let before = weights(&algo);
            let module = algo.learner().module().clone();
            let (settings, training) = (algo.learner().config().clone(), config.training.clone());
            let new_loss = move |_: &str| training.loss();
            let mut learner = Learner::new(settings, new_loss, module, &device).unwrap();
            let now = |learner: &Learner| {
                learner.module().module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()
            };
            learner.learn(batch(&device, |_| ()), 8).unwrap();
            let good = now(&learner);
            assert_ne!(bits(&good), bits(&before), "it learns");
            let spoilt = batch(&device, |columns| columns[column][3] = bad);
            learner.learn(spoilt, 16).unwrap();
            assert_eq!(bits(&now(&learner)), bits(&good), "column {column} on {spec}");
            let metrics = format!("{:?}", learner.take_metrics());
            assert!(metrics.contains("num_non_finite_updates_lifetime"), "{metrics}");
            // Later updates are as if it had not happened.
            learner.learn(batch(&device, |_| ()), 24).unwrap();
            later.push(flat(&now(&learner)));
        }
    }
    for found in &later {
        assert!(difference(found, &later[0]) < 1e-5, "{found:?} {:?}", later[0]);
    }
}
