//! Modules that learn from a batch by themselves.

use std::ops::Range;

use rekindle_checkpoint::State;
use rekindle_core::{ALL_MODULES, ModuleId};
use rekindle_env_runner::Segment;
use rekindle_metrics::Reducer;
use rekindle_rl_module::{AnyRLModule, LearnContext, LearnStats};

use super::Learner;
use super::update::ModuleData;
use crate::error::{LearnerError, Result};
use crate::loss::{Loss, LossContext, Losses, Phase, PrepareContext};
use crate::optimizer_group::OptimizerGroup;
use crate::train_data::TrainData;

/// Takes the place of the loss of a module that learns by itself: it has no optimizer, and completes the
/// experience.
#[derive(Debug)]
pub(super) struct OwnLearning;

impl Loss for OwnLearning {
    fn name(&self) -> &'static str {
        "learn_on_batch"
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        Vec::new()
    }

    fn phases(&self) -> Vec<Phase> {
        Vec::new()
    }

    /// Adds the columns that [`LearnOnBatch`](rekindle_rl_module::LearnOnBatch) lists.
    fn prepare(&mut self, _: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        data.insert_steps()?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        Err(LearnerError::InvalidLoss {
            id: cx.module_id.into(),
            loss: self.name().into(),
            reason: "does not exist: the module learns from a batch by itself".into(),
        })
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}

/// What one module has learned, before it takes effect.
struct Learned {
    id: ModuleId,
    module: AnyRLModule,
    rng: rekindle_core::Generator,
    stats: LearnStats,
    rows: usize,
}

impl Learner {
    /// Lets the modules learn that do so by themselves, and takes their experience out of `data`. If one of
    /// them fails, none has changed.
    pub(super) fn learn_on_batches(&mut self, data: &mut ModuleData, env_steps: u64) -> Result<()> {
        let mut all = Vec::new();
        for (id, of_module) in self.losses.iter().filter(|(_, of)| of.learns_by_itself()) {
            let Some(data) = data.remove(id) else { continue };
            let trajectories: Vec<Range<usize>> =
                data.segments.iter().map(Segment::range).filter(|rows| !rows.is_empty()).collect();
            let mut rng = of_module.rng.clone();
            let mut cx = LearnContext::new(env_steps, &trajectories, &mut rng);
            let learned = self.module.module(id)?.learn_on_batch(data.host()?, &mut cx);
            let (module, stats) = learned.map_err(|source| {
                let (id, source) = (id.clone(), Box::new(source));
                LearnerError::LearnOnBatch { id, source }
            })?;
            all.push(Learned { id: id.clone(), module, rng, stats, rows: data.rows() });
        }
        // A number that cannot be logged is an error, too. No module changes before all are logged.
        for Learned { id, stats, rows, .. } in &all {
            for (name, value) in stats {
                self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
            }
            self.log_trained(id, *rows)?;
        }
        for Learned { id, module, rng, .. } in all {
            self.module.add_module(&id, module, true)?;
            if let Some(of_module) = self.losses.get_mut(&id) {
                of_module.rng = rng;
            }
        }
        Ok(())
    }

    /// Counts rows that a module has learned from, once for each epoch, for it and for all modules.
    pub(super) fn log_trained(&mut self, id: &str, rows: usize) -> Result<()> {
        for id in [id, ALL_MODULES] {
            let key = format!("{id}/num_module_steps_trained");
            self.metrics.log_value(&key, rows as f64, Reducer::SUM)?;
            let key = format!("{key}_lifetime");
            self.metrics.log_value(&key, rows as f64, Reducer::LifetimeSum)?;
        }
        Ok(())
    }
}
