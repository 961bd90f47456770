//! The number of kernels that an update launches.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::Int;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::device::is_host;
use rekindle::core::launches::count_launches;
use rekindle::prelude::*;

use super::training::ppo;
use super::{normal, subject};

/// Kernels that a minibatch may launch: separate networks of two layers, 12 parameters, Adam.
const MOST: usize = 151;

/// Rows of a minibatch.
const ROWS: usize = 32;

/// Launches of an update by the name of the kernel, after one that warms up.
fn launches(minibatches: usize, device: &Device) -> BTreeMap<String, usize> {
    let rows = ROWS * minibatches;
    let config = ppo("CartPole-v1").model("fcnet_hiddens", vec![16, 16]).training(|t| {
        t.train_batch_size(rows)
            .minibatch_size(ROWS)
            .num_epochs(1)
            .use_kl_loss(false)
            .optimizer(OptimizerConfig::adam(1e-8))
    });
    let algo = config.build(device).unwrap();
    let (settings, training) = (algo.learner().config().clone(), config.training.clone());
    let module = algo.learner().module().clone();
    let mut learner = Learner::new(settings, move |_| training.loss(), module, device).unwrap();
    let column = |seed| normal(seed, [rows, 1], device).squeeze_dim::<1>(1);
    let batch = Batch::new()
        .with(Columns::OBS, normal(0, [rows, 4], device))
        .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([rows], device))
        .with(Columns::ACTION_DIST_INPUTS, normal(1, [rows, 2], device))
        .with(Columns::ACTION_LOGP, column(2))
        .with(Columns::ADVANTAGES, column(3))
        .with(Columns::VALUE_TARGETS, column(4));
    let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), TrainData::from(batch))]);
    learner.learn(data.clone(), 0).unwrap();
    count_launches(|| learner.learn(data, 0).unwrap()).1
}

/// Other tests launch kernels at the same time.
fn others_launch_nothing_that_is_counted(device: &Device) {
    let elsewhere = device.clone();
    let ((), launches) = count_launches(|| {
        std::thread::spawn(move || to_f32(normal(5, [4, 4], &elsewhere).exp()).unwrap())
            .join()
            .map(drop)
            .unwrap();
    });
    assert!(launches.is_empty(), "{launches:?}");
}

#[cfg_attr(test, test)]
pub(super) fn a_minibatch_of_ppo_launches_few_kernels() {
    let device = subject();
    let (one, three) = (launches(1, &device), launches(3, &device));
    if is_host(&device) {
        assert_eq!((one.len(), three.len()), (0, 0));
        return;
    }
    others_launch_nothing_that_is_counted(&device);
    let of_one = |name: &String| one.get(name).copied().unwrap_or_default();
    let of_minibatch: BTreeMap<&String, f64> = three
        .iter()
        .map(|(name, count)| (name, (*count as f64 - of_one(name) as f64) / 2.0))
        .filter(|(_, count)| *count != 0.0)
        .collect();
    let all: f64 = of_minibatch.values().sum();
    println!("{all} launches a minibatch: {of_minibatch:#?}");
    assert!(all >= 1.0, "nothing was counted: {three:?}");
    assert!(all <= MOST as f64, "{all} launches: {of_minibatch:#?}");
}
