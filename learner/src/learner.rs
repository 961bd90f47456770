//! The learner: batches, losses, gradients, optimizers, in that order.

mod config;
mod modules;
mod state;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Generator, ModuleId};
use rekindle_env_runner::Rollout;
use rekindle_metrics::{MetricsLogger, MetricsState};
use rekindle_rl_module::MultiRLModule;

use crate::{Objective, Optimizer, Result};

pub use config::LearnerConfig;

/// Experience by module.
pub type ModuleRollouts = BTreeMap<ModuleId, Vec<Rollout>>;

/// Updates the weights of a multi-module by an [`Objective`].
///
/// It owns the trainable modules, one optimizer for each (or one for all modules that share
/// parameters), and the random stream that orders the rows.
#[derive(Debug)]
pub struct Learner {
    config: LearnerConfig,
    objective: Box<dyn Objective>,
    /// On an autodiff device.
    module: MultiRLModule,
    device: Device,
    /// Keyed by the name of the parameters; see [`MultiRLModule::parameter_group`].
    optimizers: BTreeMap<String, Optimizer>,
    /// Modules that learn; `None` for all.
    policies_to_train: Option<BTreeSet<ModuleId>>,
    shuffle_rng: Generator,
    weights_seq_no: u64,
    metrics: MetricsLogger,
}

impl Learner {
    /// Creates a learner of `module` on `device`.
    ///
    /// # Errors
    /// If a setting is out of range, or a module that learns lacks a role that the objective requires
    /// (the message names both), does not pass its check, or was built for inference only.
    pub fn new(
        config: LearnerConfig,
        objective: Box<dyn Objective>,
        module: MultiRLModule,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let shuffle_rng = stream(config.seed, 0, 0, Purpose::Shuffle);
        let mut learner = Self {
            policies_to_train: config.policies_to_train.clone(),
            config,
            objective,
            module: module.fork(&device.clone().autodiff()).train(),
            device: device.clone().autodiff(),
            optimizers: BTreeMap::new(),
            shuffle_rng,
            weights_seq_no: 0,
            metrics: MetricsLogger::new(),
        };
        learner.set_policies_to_train(learner.policies_to_train.clone())?;
        let ids: Vec<ModuleId> = learner.module.keys().cloned().collect();
        ids.iter().for_each(|id| learner.objective.add_module(id));
        learner.fit_optimizers();
        learner.optimizers.values().try_for_each(|optimizer| optimizer.config().validate())?;
        Ok(learner)
    }

    /// The modules.
    pub fn module(&self) -> &MultiRLModule {
        &self.module
    }

    /// The modules, to change their parameters: the next update starts from the changed weights.
    /// Modules are added and removed by the learner's own methods, together with their optimizers.
    pub fn module_mut(&mut self) -> &mut MultiRLModule {
        &mut self.module
    }

    /// The objective.
    pub fn objective(&self) -> &dyn Objective {
        &*self.objective
    }

    /// The settings.
    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    /// The version of the weights: the number of updates so far.
    pub fn weights_seq_no(&self) -> u64 {
        self.weights_seq_no
    }

    /// Returns the metrics logged since the last call.
    pub fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }
}
