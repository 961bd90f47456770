//! Recorded steps as the modules that learn read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rekindle_core::{Columns, ModuleId};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, RolloutStates, SegmentEnd};
use rekindle_learner::ops::returns_to_go;
use rekindle_learner::{Learner, ModuleRollouts};
use rekindle_offline::Recorded;

use crate::Result;

/// What each module that learns reads of recorded steps.
#[derive(Debug)]
pub(in super::super) struct Completion {
    modules: BTreeMap<ModuleId, Reads>,
}

/// What a module reads.
#[derive(Debug)]
pub(in super::super) struct Reads {
    /// Recorded outputs that its loss reads.
    pub(in super::super) columns: &'static [&'static str],
    /// The discount factor of returns.
    gamma: f64,
    /// The state before the first step of an episode, for a module with memory.
    pub(in super::super) initial_state: Option<Buffer>,
}

impl Completion {
    pub(in super::super) fn of(learner: &Learner, ids: &BTreeSet<ModuleId>) -> Result<Self> {
        let mut modules = BTreeMap::new();
        for id in ids {
            let loss = learner.loss(id);
            let columns = loss.map_or(&[][..], |loss| loss.required_columns());
            let gamma = loss.and_then(|loss| loss.transitions()).map_or(1.0, |spec| spec.gamma);
            let initial_state = learner.module().module(id)?.initial_state()?;
            modules.insert(id.clone(), Reads { columns, gamma, initial_state });
        }
        Ok(Self { modules })
    }

    pub(in super::super) fn reads(&self, id: &str) -> Option<&Reads> {
        self.modules.get(id)
    }

    /// Leaves out what no module reads, and adds the states and returns that modules read and the data lack.
    pub(in super::super) fn complete(&self, recorded: Recorded) -> Result<ModuleRollouts> {
        let mut rollouts = ModuleRollouts::new();
        for (id, of_module) in recorded {
            let Some(reads) = self.modules.get(&id) else { continue };
            let of_module = of_module.into_iter().map(|rollout| reads.complete(rollout));
            rollouts.insert(id, of_module.collect::<Result<_>>()?);
        }
        Ok(rollouts)
    }
}

/// Whether the recorded states have the layout of the module's own. Those of another module have no meaning for it.
fn has_states_like(rollout: &Rollout, initial: &Buffer) -> bool {
    let fits =
        |states: &Arc<RolloutStates>| initial.clone().extend_from(&states.state_in, 0..0).is_ok();
    rollout.states.as_ref().is_some_and(fits)
}

impl Reads {
    fn complete(&self, mut rollout: Rollout) -> Result<Rollout> {
        rollout.infos = None;
        rollout.extras.retain(|name, _| self.columns.contains(&name.as_str()));
        match &self.initial_state {
            None => rollout.states = None,
            Some(initial) if !has_states_like(&rollout, initial) => {
                let (rows, segments) = (rollout.rewards.len(), rollout.segments.len());
                let states = initial.gather(&vec![0; rows])?;
                let finals = initial.gather(&vec![0; segments])?;
                rollout.states = Some(Arc::new(RolloutStates::new(states, finals)));
            }
            Some(_) => {}
        }
        if self.columns.contains(&Columns::RETURNS_TO_GO) {
            let returns = self.returns(&rollout)?;
            rollout.extras.insert(Columns::RETURNS_TO_GO.into(), Buffer::from_f32(returns, &[])?);
        }
        // Rollouts of the data are not those of runners, whose segments may continue one another.
        rollout.runner = 0;
        // They are not those of a module that was replaced since.
        rollout.weights_seq_no = u64::MAX;
        for segment in &mut rollout.segments {
            segment.env = 0;
            segment.t_started = 0;
            if segment.end == SegmentEnd::Cut {
                segment.end = SegmentEnd::Truncated;
            }
        }
        Ok(rollout)
    }

    /// Computes the discounted rewards from each step to the end of its segment.
    fn returns(&self, rollout: &Rollout) -> Result<Vec<f32>> {
        let mut all = vec![0.0; rollout.rewards.len()];
        for segment in &rollout.segments {
            let rewards: Vec<f32> = segment.rows().map(|row| rollout.rewards[row]).collect();
            let returns = returns_to_go(&rewards, 0.0, self.gamma as f32);
            segment.rows().zip(returns).for_each(|(row, value)| all[row] = value);
        }
        Ok(all)
    }
}
