//! A loss with parts that a user replaced.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use rekindle_checkpoint::State;
use rekindle_core::{Columns, CoreError};
use rekindle_learner::replay::TransitionSpec;
use rekindle_learner::{
    AfterMinibatch, AfterUpdate, GlobalNorm, Gradients, LearnerError, Loss, LossContext, Losses,
    OptimizerGroup, Phase, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::{Code, Trajectory};

/// The loss of an algorithm, with the parts that a user replaced.
#[derive(Debug)]
pub(super) struct CustomLoss {
    inner: Box<dyn Loss>,
    code: Code,
    name: String,
}

/// The reason for refusing a postprocessing function under replay.
const NO_TRAJECTORIES: &str = "a postprocessing function reads trajectories, and the steps that a replay buffer draws are none; compute the column in the loss instead of `with_postprocess`";

impl CustomLoss {
    pub(super) fn new(inner: Box<dyn Loss>, code: Code) -> Self {
        let name = code.name.clone().unwrap_or_else(|| inner.name().to_owned());
        Self { inner, code, name }
    }

    /// Lets the user's function see each trajectory, and collects the columns that it adds.
    fn postprocess(&self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        let Some(postprocess) = &self.code.postprocess else { return Ok(data) };
        // Trajectories are read on the host.
        data.host()?;
        if data.segments.is_empty() && data.rows() > 0 {
            return Err(LearnerError::custom(NO_TRAJECTORIES));
        }
        let values = OnceCell::new();
        let mut added: BTreeMap<&'static str, Vec<f32>> = BTreeMap::new();
        let mut rows = 0;
        for index in 0..data.segments.len() {
            let mut trajectory = Trajectory::new(cx, &data, index, &values);
            postprocess(&mut trajectory)?;
            let len = trajectory.len();
            for (name, column) in trajectory.into_added() {
                let all = added.entry(name).or_default();
                if all.len() != rows {
                    return Err(LearnerError::ColumnOfSomeRollouts { column: name.into() });
                }
                all.extend(column);
            }
            rows += len;
            if let Some((name, _)) = added.iter().find(|(_, column)| column.len() != rows) {
                return Err(LearnerError::ColumnOfSomeRollouts { column: (*name).into() });
            }
        }
        for (name, column) in added {
            data.insert_f32(name, column)?;
        }
        Ok(data)
    }
}

impl Loss for CustomLoss {
    fn name(&self) -> &str {
        &self.name
    }

    fn required_roles(&self) -> Vec<Role> {
        match self.code.loss {
            Some(_) => Vec::new(),
            None => self.inner.required_roles(),
        }
    }

    fn required_columns(&self) -> &'static [&'static str] {
        match (self.code.reads, &self.code.loss, &self.code.postprocess) {
            (Some(columns), ..) => columns,
            // Nothing of the algorithm's own loss is left.
            (None, Some(_), Some(_)) => &[],
            _ => self.inner.required_columns(),
        }
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        match self.code.loss {
            Some(_) => Ok(()),
            None => self.inner.check_module(cx),
        }
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.code.optimizers.clone().unwrap_or_else(|| self.inner.optimizers())
    }

    fn phases(&self) -> Vec<Phase> {
        let phases = self.inner.phases();
        // The algorithm's own loss computes a part of it in each of several phases.
        let keeps = self.code.optimizers.is_none() || phases.len() > 1;
        if self.code.loss.is_none() && keeps {
            return phases;
        }
        let names = self.optimizers().into_iter().map(|optimizer| optimizer.name);
        vec![Phase::new("total", names)]
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        self.inner.transitions()
    }

    fn gradients_apart(&self) -> bool {
        // What the algorithm's own loss keeps does not count where it is replaced.
        self.code.loss.is_some() || self.inner.gradients_apart()
    }

    fn rows_are_independent(&self) -> bool {
        self.code.loss.is_some() || self.inner.rows_are_independent()
    }

    fn reads_other_agents(&self) -> bool {
        self.code.postprocess.is_some() || self.inner.reads_other_agents()
    }

    fn before_update(&mut self, env_steps: u64) {
        self.inner.before_update(env_steps);
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, data: TrainData) -> Result<TrainData> {
        let data = self.postprocess(cx, data)?;
        match (&self.code.loss, &self.code.postprocess) {
            // A loss with a postprocessing of its own replaces the preparation of the algorithm.
            (Some(_), Some(_)) => Ok(data),
            _ => self.inner.prepare(cx, data),
        }
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let mut losses = match &self.code.loss {
            Some(loss) => loss(cx, cx.batch()).map_err(|error| advise(error, cx, &self.name))?,
            None => self.inner.compute(cx)?,
        };
        if let Some(stats) = &self.code.stats {
            losses.metrics.extend(stats(cx, cx.batch())?);
        }
        Ok(losses)
    }

    fn stops_early(&mut self, losses: &Losses) -> Result<bool> {
        self.inner.stops_early(losses)
    }

    fn postprocess_gradients(
        &mut self,
        optimizer: &OptimizerGroup,
        gradients: Gradients,
        global_norm: &GlobalNorm,
    ) -> Result<Gradients> {
        match &self.code.gradients {
            Some(change) => change(gradients, global_norm),
            None => self.inner.postprocess_gradients(optimizer, gradients, global_norm),
        }
    }

    fn changes_gradients(&self) -> bool {
        self.code.gradients.is_some() || self.inner.changes_gradients()
    }

    fn skips_phase(&self, phase: usize) -> bool {
        self.code.loss.is_none() && self.inner.skips_phase(phase)
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.inner.after_minibatch(cx)
    }

    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<()> {
        self.inner.after_update(cx)
    }

    fn get_state(&self) -> Result<State> {
        self.inner.get_state()
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.inner.set_state(state)
    }
}

/// Says how to add a column that the user's loss reads and the batch lacks, if a method of [`Trajectory`] computes it.
fn advise(error: LearnerError, cx: &LossContext<'_>, loss: &str) -> LearnerError {
    let LearnerError::Core(CoreError::MissingColumn { column, .. }) = &error else { return error };
    let (column, hint) = match column.as_str() {
        Columns::RETURNS_TO_GO => (
            Columns::RETURNS_TO_GO,
            "add it with `.with_postprocess(|trajectory| trajectory.add_returns_to_go(gamma))`",
        ),
        Columns::ADVANTAGES => (Columns::ADVANTAGES, ADD_ADVANTAGES),
        Columns::VALUE_TARGETS => (Columns::VALUE_TARGETS, ADD_ADVANTAGES),
        _ => return error,
    };
    let module = cx.module.spec().module().into();
    LearnerError::MissingColumn { module, column, loss: loss.into(), hint }
}

const ADD_ADVANTAGES: &str =
    "add it with `.with_postprocess(|trajectory| trajectory.add_advantages(gamma, lambda))`";
