//! PPO's loss on a recorded batch.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle::algorithms::ppo::PpoLoss;
use rekindle::prelude::*;

use crate::support::{Recorded, cpu};

/// The columns of a recorded batch.
pub(crate) const COLUMNS: [&str; 6] = [
    Columns::OBS,
    Columns::ACTIONS,
    Columns::ACTION_DIST_INPUTS,
    Columns::ACTION_LOGP,
    Columns::ADVANTAGES,
    Columns::VALUE_TARGETS,
];

/// Returns the loss of a recorded batch with the settings of the recording scripts.
pub(crate) fn loss(module: &AnyRLModule, recorded: &Recorded) -> Losses {
    let device = cpu().autodiff();
    let column = |name| (name, recorded.tensor(name, &device));
    let batch = COLUMNS.map(column).into_iter();
    loss_of(module, &batch.fold(Batch::new(), |batch, (name, column)| batch.with(name, column)))
}

/// Returns the loss of any batch with the settings of the recording scripts.
pub(crate) fn loss_of(module: &AnyRLModule, batch: &Batch) -> Losses {
    let device = cpu().autodiff();
    let settings = PpoTraining::default()
        .clip_param(0.2)
        .vf_clip_param(10.0)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .kl_coeff(0.2);
    let at = PrepareContext::new(DEFAULT_MODULE_ID, module, &device);
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    PpoLoss::new(settings).compute(&LossContext::new(at, batch, &scalars, &mut rng)).unwrap()
}

/// Returns a term of a loss by its metric name.
pub(crate) fn term(loss: &Losses, name: &str) -> Tensor<1> {
    loss.metrics.iter().find(|(key, _)| *key == name).unwrap().1.clone()
}
