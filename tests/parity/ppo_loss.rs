//! The loss of the PPO objective on a recorded batch.

use burn::prelude::*;
use rekindle::algorithms::ppo::PpoObjective;
use rekindle::learner::{LearnerConfig, Loss};
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
pub(crate) fn loss(module: &AnyRLModule, recorded: &Recorded) -> Loss {
    let device = cpu().autodiff();
    let column = |name| (name, recorded.tensor(name, &device));
    let batch = COLUMNS.map(column).into_iter();
    loss_of(module, &batch.fold(Batch::new(), |batch, (name, column)| batch.with(name, column)))
}

/// Returns the loss of any batch with the settings of the recording scripts.
pub(crate) fn loss_of(module: &AnyRLModule, batch: &Batch) -> Loss {
    let device = cpu().autodiff();
    let settings = PpoTraining::default()
        .clip_param(0.2)
        .vf_clip_param(10.0)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .kl_coeff(0.2);
    let mut objective = PpoObjective::new(settings);
    let config = LearnerConfig::default();
    let cx = UpdateContext {
        module_id: DEFAULT_MODULE_ID,
        module,
        device: &device,
        config: &config,
        env_steps: 0,
    };
    let outputs = module.forward_train(batch).unwrap();
    objective.compute_loss(cx, batch, &outputs).unwrap()
}

/// Returns a term of a loss by its metric name.
pub(crate) fn term(loss: &Loss, name: &str) -> Tensor<1> {
    loss.metrics.iter().find(|(key, _)| *key == name).unwrap().1.clone()
}
