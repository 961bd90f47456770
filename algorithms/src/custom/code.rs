//! The code that a user gives to an algorithm. Checkpoints record its name only.

use std::fmt;
use std::sync::Arc;

use burn::prelude::Tensor;
use rekindle_core::Batch;
use rekindle_learner::{GlobalNorm, Gradients, Loss, LossContext, Losses, OptimizerGroup, Result};
use rekindle_offline::{OfflineSource, Recorder};
use serde::{Deserialize, Serialize};

use super::Trajectory;
use super::loss::CustomLoss;
use crate::execution_plan::ExecutionPlan;

pub(super) type LossFn = Arc<dyn Fn(&LossContext<'_>, &Batch) -> Result<Losses> + Send + Sync>;
pub(super) type PostprocessFn = Arc<dyn Fn(&mut Trajectory<'_>) -> Result<()> + Send + Sync>;
/// Terms to report by name, `[1]` each.
pub(super) type Stats = Vec<(&'static str, Tensor<1>)>;
pub(super) type StatsFn = Arc<dyn Fn(&LossContext<'_>, &Batch) -> Result<Stats> + Send + Sync>;
pub(super) type GradientsFn =
    Arc<dyn Fn(Gradients, &GlobalNorm) -> Result<Gradients> + Send + Sync>;
type PlanFn = Arc<dyn Fn() -> Box<dyn ExecutionPlan> + Send + Sync>;

/// The code that replaces parts of an algorithm.
#[derive(Clone, Default)]
pub(crate) struct Code {
    pub(crate) name: Option<String>,
    pub(crate) loss: Option<LossFn>,
    pub(crate) postprocess: Option<PostprocessFn>,
    pub(crate) stats: Option<StatsFn>,
    pub(crate) gradients: Option<GradientsFn>,
    pub(crate) optimizers: Option<Vec<OptimizerGroup>>,
    /// Columns of the module's outputs that the code reads.
    pub(crate) reads: Option<&'static [&'static str]>,
    pub(crate) plan: Option<PlanFn>,
    /// The data to learn from.
    pub(crate) source: Option<Arc<dyn OfflineSource>>,
    /// The recorder of a running algorithm.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

/// What a checkpoint records of the code: which parts there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedCode {
    pub(crate) name: Option<String>,
    /// The methods of the configuration that gave the parts.
    pub(crate) parts: Vec<String>,
}

impl Code {
    pub(crate) fn recorded(&self) -> RecordedCode {
        let parts = [
            ("with_loss", self.loss.is_some()),
            ("with_postprocess", self.postprocess.is_some()),
            ("stats", self.stats.is_some()),
            ("gradients", self.gradients.is_some()),
            ("optimizers", self.optimizers.is_some()),
            ("reads", self.reads.is_some()),
            ("with_execution_plan", self.plan.is_some()),
            ("offline_source", self.source.is_some()),
        ];
        let parts = parts.into_iter().filter(|(_, given)| *given);
        RecordedCode {
            name: self.name.clone(),
            parts: parts.map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// Returns the loss of a module: that of the algorithm, with the parts that the code replaces.
    pub(crate) fn wrap(&self, loss: Box<dyn Loss>) -> Box<dyn Loss> {
        let replaces = self.loss.is_some()
            || self.postprocess.is_some()
            || self.stats.is_some()
            || self.gradients.is_some()
            || self.optimizers.is_some()
            || self.reads.is_some();
        match replaces {
            true => Box::new(CustomLoss::new(loss, self.clone())),
            false => loss,
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recorded().fmt(f)
    }
}

/// Code cannot be compared: names and the parts that are given are.
impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.recorded() == other.recorded()
    }
}
