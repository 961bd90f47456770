//! What the other learners of a group take over from the first one.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_checkpoint::State;
use rekindle_core::{Generator, ModuleId};
use rekindle_metrics::MetricsLogger;
use rekindle_rl_module::MultiRLModule;

use crate::error::Result;
use crate::learner::member::Member;
use crate::learner::optimizers::Optimizers;
use crate::learner::{Learner, LearnerConfig};
use crate::scalars::Scalars;
use crate::tracked::Tracked;

/// Everything on which an update depends beside its data.
#[derive(Debug)]
pub(super) struct Snapshot {
    config: LearnerConfig,
    /// Modules and optimizers; `None` if the other learner has them already.
    large: Option<(MultiRLModule, Optimizers)>,
    losses: BTreeMap<ModuleId, SavedLoss>,
    replaced: BTreeMap<ModuleId, u64>,
    shuffle_rng: Generator,
    weights_seq_no: u64,
}

#[derive(Debug)]
struct SavedLoss {
    state: State,
    scalars: Scalars,
    rng: Generator,
}

impl Snapshot {
    /// Reads a learner; with modules and optimizers if `renew` is true.
    pub(super) fn of(learner: &Learner, renew: bool) -> Result<Self> {
        let mut losses = BTreeMap::new();
        for (id, of_module) in &learner.losses {
            let (scalars, rng) = (of_module.scalars.clone(), of_module.rng.clone());
            let state = of_module.loss.get_state()?;
            losses.insert(id.clone(), SavedLoss { state, scalars, rng });
        }
        let large =
            || (MultiRLModule::clone(&learner.module), Optimizers::clone(&learner.optimizers));
        Ok(Self {
            config: learner.config.clone(),
            large: renew.then(large),
            losses,
            replaced: learner.replaced.clone(),
            shuffle_rng: learner.shuffle_rng.clone(),
            weights_seq_no: learner.weights_seq_no,
        })
    }
}

impl Learner {
    /// Creates a learner with the same settings and losses on a device, for updates that both share. It takes over
    /// everything else by [`follow`](Self::follow).
    pub(super) fn replica(&self, device: Device, member: Member) -> Self {
        Self {
            config: self.config.clone(),
            new_loss: self.new_loss.clone(),
            losses: BTreeMap::new(),
            module: Tracked::new(MultiRLModule::new()),
            device,
            optimizers: Tracked::default(),
            replaced: BTreeMap::new(),
            shuffle_rng: self.shuffle_rng.clone(),
            weights_seq_no: self.weights_seq_no,
            metrics: MetricsLogger::new(),
            member: Some(member),
            group: None,
        }
    }

    /// Takes over what has changed on another learner. No number is copied on the same device, but parameters are
    /// leaves of their own: Burn's graphs of threads that share leaves are merged, and may wait for each other forever.
    pub(super) fn follow(&mut self, snapshot: Snapshot) -> Result<()> {
        let Snapshot { config, large, losses, replaced, shuffle_rng, weights_seq_no } = snapshot;
        if let Some((module, optimizers)) = large {
            *self.module = module.fork(&self.device);
            *self.optimizers = optimizers;
            let device = self.device.clone().inner();
            self.optimizers.move_to(&device)?;
        }
        let is_current = self.config == config
            && self.replaced == replaced
            && self.losses.keys().eq(losses.keys());
        (self.config, self.replaced) = (config, replaced);
        if !is_current {
            self.losses.clear();
            for id in losses.keys() {
                let loss = self.new_module_loss(id, self.module.module(id)?)?;
                self.losses.insert(id.clone(), loss);
            }
        }
        for (id, SavedLoss { state, scalars, rng }) in losses {
            if let Some(of_module) = self.losses.get_mut(&id) {
                of_module.scalars = scalars.fork(&self.device);
                of_module.rng = rng;
                of_module.loss.set_state(&state)?;
            }
        }
        (self.shuffle_rng, self.weights_seq_no) = (shuffle_rng, weights_seq_no);
        // The first learner reports.
        self.metrics = MetricsLogger::new();
        Ok(())
    }
}
