//! The learner: data, losses, gradients, optimizers, in that order.

mod config;
mod dry_run;
mod gradients;
mod group;
mod member;
mod module_loss;
mod modules;
mod optimizers;
mod own_learning;
mod own_loss;
mod state;
mod update;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Generator, ModuleId};
use rekindle_env_runner::Rollout;
use rekindle_metrics::{MetricsLogger, MetricsState};
use rekindle_rl_module::MultiRLModule;

use crate::error::Result;
use crate::loss::Loss;
use crate::tracked::Tracked;

use member::Member;
use module_loss::ModuleLoss;
use optimizers::Optimizers;

pub use config::LearnerConfig;
pub use gradients::LearnerGradients;
pub use group::{LearnerGroup, RemoteLearners};
pub use modules::AddedModule;
pub use update::{ModuleData, UpdateReport};

/// Experience by module.
pub type ModuleRollouts = BTreeMap<ModuleId, Vec<Rollout>>;

/// Creates the loss of a module from its id.
pub(crate) type LossFactory = Arc<dyn Fn(&str) -> Box<dyn Loss> + Send + Sync>;

/// Updates the weights of a multi-module by a [`Loss`] for each module.
///
/// A module with the role [`LearnOnBatch`](rekindle_rl_module::LearnOnBatch) has no loss: it learns from the
/// experience of each update by itself.
///
/// Several learners can share each update ([`add_learners`](Self::add_learners)).
///
/// It owns the trainable modules, their losses and optimizers (common ones for modules that share
/// parameters), and the random stream that orders the rows.
pub struct Learner {
    config: LearnerConfig,
    new_loss: LossFactory,
    losses: BTreeMap<ModuleId, ModuleLoss>,
    /// On an autodiff device.
    module: Tracked<MultiRLModule>,
    device: Device,
    optimizers: Tracked<Optimizers>,
    /// For modules that were replaced, the version of the weights then. Runners may be late with
    /// experience of the old module.
    replaced: BTreeMap<ModuleId, u64>,
    shuffle_rng: Generator,
    weights_seq_no: u64,
    metrics: MetricsLogger,
    /// The place of this learner among several that share updates.
    member: Option<Member>,
    /// The other learners, which this one leads.
    group: Option<LearnerGroup>,
}

impl fmt::Debug for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learner")
            .field("config", &self.config)
            .field("losses", &self.losses)
            .field("optimizers", &self.optimizers)
            .field("weights_seq_no", &self.weights_seq_no)
            .finish_non_exhaustive()
    }
}

impl Learner {
    /// Creates a learner of `module` on `device`. `new_loss` creates the loss of a module from its id,
    /// also for modules that are added later.
    ///
    /// # Errors
    /// If a setting is out of range, a learner connector is not registered, or a module that learns lacks a
    /// role that its loss requires (the message names both), does not pass its check, or was built for
    /// inference only.
    pub fn new(
        config: LearnerConfig,
        new_loss: impl Fn(&str) -> Box<dyn Loss> + Send + Sync + 'static,
        module: MultiRLModule,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let shuffle_rng = stream(config.seed, 0, 0, Purpose::Shuffle);
        let mut learner = Self {
            config,
            new_loss: Arc::new(new_loss),
            losses: BTreeMap::new(),
            module: Tracked::new(module.fork(&device.clone().autodiff()).train()),
            device: device.clone().autodiff(),
            optimizers: Tracked::default(),
            replaced: BTreeMap::new(),
            shuffle_rng,
            weights_seq_no: 0,
            metrics: MetricsLogger::new(),
            member: None,
            group: None,
        };
        let ids: Vec<ModuleId> = learner.module.keys().cloned().collect();
        let known: Vec<&str> = ids.iter().map(String::as_str).collect();
        learner.config.connectors.iter().try_for_each(|connector| connector.check(&known))?;
        for id in ids {
            let loss = learner.new_module_loss(&id, learner.module.module(&id)?)?;
            learner.losses.insert(id, loss);
        }
        learner.set_policies_to_train(learner.config.policies_to_train.clone())?;
        *learner.optimizers = learner.fitting_optimizers(&learner.module, &learner.losses)?;
        Ok(learner)
    }

    /// Returns the modules.
    #[must_use]
    pub fn module(&self) -> &MultiRLModule {
        &self.module
    }

    /// Returns the modules, to change their parameters: the next update starts from the changed weights.
    /// Modules are added and removed by the learner's own methods, together with their optimizers.
    pub fn module_mut(&mut self) -> &mut MultiRLModule {
        &mut self.module
    }

    /// Returns the loss of a module, or `None` for an unknown id. A module that learns from a batch
    /// by itself has one without optimizers in its place.
    #[must_use]
    pub fn loss(&self, id: &str) -> Option<&dyn Loss> {
        self.losses.get(id).map(|of_module| &*of_module.loss)
    }

    /// Returns the current settings.
    #[must_use]
    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    /// Returns the version of the weights: the number of updates so far.
    #[must_use]
    pub fn weights_seq_no(&self) -> u64 {
        self.weights_seq_no
    }

    /// Returns the metrics logged since the last call.
    pub fn take_metrics(&mut self) -> MetricsState {
        self.metrics.take()
    }
}
