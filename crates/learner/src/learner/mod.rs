//! The learner: batches, losses, gradients, optimizers, in that order.

mod config;
mod state;
mod update;

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::metrics::{MetricsLogger, MetricsState};
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Generator, ModuleId};
use rekindle_env_runner::Rollout;
use rekindle_rl_module::{AnyRLModule, MultiRLModule};

use crate::{Objective, Optimizer, Result};

pub use config::LearnerConfig;

/// The experience of each module.
pub type ModuleRollouts = BTreeMap<ModuleId, Vec<Rollout>>;

/// Updates the weights of a multi-module by an [`Objective`].
///
/// Owns the trainable module, an optimizer per module, and the random order of the rows.
#[derive(Debug)]
pub struct Learner {
    config: LearnerConfig,
    objective: Box<dyn Objective>,
    /// On an autodiff device.
    module: MultiRLModule,
    device: Device,
    optimizers: BTreeMap<ModuleId, Optimizer>,
    shuffle_rng: Generator,
    weights_seq_no: u64,
    metrics: MetricsLogger,
}

impl Learner {
    /// A learner of `module` on `device`.
    ///
    /// # Errors
    /// If a setting is out of range, or a module lacks a role that the objective requires: the
    /// message names both.
    pub fn new(
        config: LearnerConfig,
        objective: Box<dyn Objective>,
        module: MultiRLModule,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let shuffle_rng = stream(config.seed, 0, 0, Purpose::Shuffle);
        let mut learner = Self {
            config,
            objective,
            module: MultiRLModule::new(),
            device: device.clone().autodiff(),
            optimizers: BTreeMap::new(),
            shuffle_rng,
            weights_seq_no: 0,
            metrics: MetricsLogger::new(),
        };
        for (id, module) in module.iter() {
            learner.add_module(id, module.clone())?;
        }
        Ok(learner)
    }

    /// Adds a module with a fresh optimizer.
    ///
    /// # Errors
    /// If the id is taken or the module lacks a role.
    pub fn add_module(&mut self, id: &str, module: AnyRLModule) -> Result<()> {
        for role in self.objective.required_roles() {
            module.require(role, &format!("the {} learner", self.objective.name()))?;
        }
        let module = module.fork(&self.device).train();
        self.module.add_module(id, module, false)?;
        let optimizer = self.objective.optimizer(id, &self.config);
        self.optimizers.insert(id.into(), Optimizer::new(optimizer));
        self.objective.add_module(id);
        Ok(())
    }

    /// Takes a module out, with its optimizer.
    ///
    /// # Errors
    /// If there is no such module.
    pub fn remove_module(&mut self, id: &str) -> Result<AnyRLModule> {
        let module = self.module.remove_module(id)?;
        self.optimizers.remove(id);
        self.objective.remove_module(id);
        Ok(module)
    }

    /// The module that learns.
    pub fn module(&self) -> &MultiRLModule {
        &self.module
    }

    /// The module to change: weights loaded here are what the next update starts from.
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

    /// The version of the weights: the number of updates.
    pub fn weights_seq_no(&self) -> u64 {
        self.weights_seq_no
    }

    /// What was logged since the last call.
    pub fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }
}
